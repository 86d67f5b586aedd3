"""The documents say what is so: examples run, commands and settings exist and are all told, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.supervisord import STAYS, supervisord
from uici.catalog import UniversalConfigLoader
from uici.catalog.schemas import schema
from uici.cli.group import COMMANDS, load

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = [
    CHECKOUT / "README.md",
    CHECKOUT / "monitoring" / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *sorted((CHECKOUT / "executors").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILES = {
    "operations": "operations",
    "translations": "command_translations",
    "environments": "environments",
    "runbooks": "runbooks",
    "protected": "policies",
    "rules": "policies",
    "brakes": "policies",
    "blast_radius": "policies",
    "journal": "platform",
    "server": "platform",
}


def _name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def _blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(path.read_text()) if kind == language]


def _catalog(path: Path, folder: Path) -> None:
    """All YAML examples of a document as one catalog; what it does not show is the starter's."""
    texts = {name: ["version: 1\ninclude: [starter]\n"] for name in set(_FILES.values()) - {"platform"}}
    texts["environments"] = [
        'version: 1\nenvironments: {docker: {executor: docker, settings: {base_url: "unix:///nowhere"}}}\n'
    ]
    texts["platform"] = ["version: 1\n"]
    shown: dict[str, list[str]] = {}
    for text in _blocks(path, "yaml"):
        document = yaml.safe_load(text)
        if "version" not in document:
            continue  # another program's file
        for name in {_FILES[key] for key in document if key in _FILES}:
            shown.setdefault(name, []).append(text)
    for name, parts in (texts | shown).items():
        if len(parts) == 1:
            (folder / f"{name}.yml").write_text(parts[0])
        else:
            (folder / name).mkdir()
            for number, part in enumerate(parts):
                (folder / name / f"{number}.yml").write_text(part)


def _shows_catalogs(path: Path) -> bool:
    """The reference of problems shows wrong ones on purpose, and has a test of its own."""
    return bool(_blocks(path, "yaml")) and path.parent.name != "reference"


@pytest.mark.parametrize("path", [one for one in DOCUMENTS if _shows_catalogs(one)], ids=_name)
def test_yaml_examples_are_a_catalog_that_the_check_accepts(path: Path, tmp_path: Path) -> None:
    _catalog(path, tmp_path)
    problems = [one for one in UniversalConfigLoader(tmp_path).check() if one.severity == "error"]
    assert problems == []


@pytest.mark.engine("supervisord")
@pytest.mark.parametrize("path", [one for one in DOCUMENTS if _blocks(one, "python")], ids=_name)
def test_python_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "infrastructure" / "config"
    folder.mkdir(parents=True)
    with supervisord({"web": STAYS}) as engine:
        environment = {"executor": "supervisor", "settings": {"url": engine.url}, "autonomy": "change"}
        documents: dict[str, Mapping[str, Any]] = {
            "platform": {"version": 1},
            "environments": {"version": 1, "environments": {"local": environment}},
        }
        for name in ("operations", "command_translations", "runbooks", "policies"):
            documents[name] = {"version": 1, "include": ["starter"]}
        for name, document in documents.items():
            (folder / f"{name}.yml").write_text(yaml.safe_dump(document))
        for text in _blocks(path, "python"):
            exec(compile(text, _name(path), "exec"), {"__name__": "__main__"})  # noqa: S102  the document's own words
    assert "failed" not in capsys.readouterr().out


def _commands(path: Path) -> Iterator[list[str]]:
    for block in _blocks(path, "console"):
        for line in block.splitlines():
            if line.startswith("$ ") and "uici " in line:
                for part in line.removeprefix("$ ").partition("#")[0].split("&&"):
                    words = shlex.split(part)
                    if words[:1] == ["uici"]:
                        yield words[1:]


@pytest.mark.parametrize("path", [one for one in DOCUMENTS if list(_commands(one))], ids=_name)
def test_commands_in_examples_exist_with_their_options(path: Path) -> None:
    for name, *words in _commands(path):
        assert name in COMMANDS, f"{_name(path)}: uici {name}"
        options = {option for parameter in load(name).params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in options, f"{_name(path)}: uici {name} has no {word}"


def test_every_command_is_told_somewhere() -> None:
    told = " ".join(path.read_text() for path in DOCUMENTS)
    assert [name for name in COMMANDS if f"uici {name}" not in told] == []


def _settings(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, one in properties.items():
        if name in ("version", "include") or name.startswith("x-"):
            continue
        if one.get("properties"):
            yield from _settings(one["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_of_the_daemon_is_told_in_its_guide() -> None:
    guide = (CHECKOUT / "docs" / "guide" / "daemon.md").read_text()
    settings = list(_settings(schema("platform")["properties"]))
    assert len(settings) > 8
    assert [name for name in settings if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{_name(path)}: {target}"

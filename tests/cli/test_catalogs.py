"""The commands for a catalog as processes: init, check, schema and doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Uici
from tests.engine.rehearsal import PLUGIN, write_world
from uici.cli import where

pytestmark = pytest.mark.engine("supervisord")


@pytest.mark.parametrize("more", [[], ["--full"]])
def test_init_gives_a_catalog_that_holds(uici: Uici, tmp_path: Path, more: list[str]) -> None:
    said = uici("init", "shop", "--executor", "supervisor", *more)
    assert said.returncode == 0, said.stderr
    for path in (tmp_path / "shop").rglob("*.yml"):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        schema = json.loads((path.parent / first.partition("=")[2]).read_text())
        assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12/")
    checked = uici("check", "shop")
    assert (checked.returncode, checked.stdout) == (0, "no problems\n"), checked.stdout
    assert uici("operations", "--config", "shop", "--json").returncode == 0


def test_init_names_the_cluster(uici: Uici, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{apiVersion: v1, kind: Config, current-context: shop-eu}\n")
    said = uici("init", "shop", "--executor", "kubernetes", environ={"KUBECONFIG": f"{tmp_path}/none:{config}"})
    assert said.returncode == 0, said.stderr
    assert "a catalog for kubernetes (the context shop-eu of your kubeconfig)" in said.stdout
    environments = (tmp_path / "shop" / "environments.yml").read_text()
    assert 'settings: {context: "shop-eu"}' in environments
    assert "default: kubernetes" in environments
    checked = uici("check", "shop")
    assert (checked.returncode, checked.stdout) == (0, "no problems\n"), checked.stdout


def test_check_formats(uici: Uici, catalog: Path) -> None:
    (catalog / "runbooks.yml").write_text("version: 1\nrunbook: []\n")
    text = uici("check", str(catalog))
    assert text.returncode == 2
    assert "runbooks.yml:2:1" in text.stdout
    as_json = uici("check", str(catalog), "--format", "json")
    assert as_json.returncode == 2
    assert {"file", "line", "column", "code", "message", "hint"} <= set(json.loads(as_json.stdout)[0])
    assert uici("check", str(catalog), "--json").stdout == as_json.stdout
    assert uici("check", str(catalog), "--format", "github").stdout.startswith("::error file=")


def test_schemas(uici: Uici, tmp_path: Path) -> None:
    assert "operations" in uici("schema").stdout
    assert json.loads(uici("schema", "operations").stdout)["title"] == "UICI operations.yml"
    assert uici("schema", "--write", "here").returncode == 0
    assert json.loads((tmp_path / "here" / "runbooks.json").read_text())["title"] == "UICI runbooks.yml"


def test_doctor_finds_what_is_wrong(uici: Uici, catalog: Path) -> None:
    well = uici("doctor", "--config", str(catalog))
    assert well.returncode == 0, well.stdout
    environments = json.loads((catalog / "environments.yml").read_text())
    environments["environments"]["local"]["settings"] = {"url": "${env:NOT_SET_ANYWHERE}"}
    (catalog / "environments.yml").write_text(json.dumps(environments))
    ill = uici("doctor", "--config", str(catalog), "--json")
    assert ill.returncode == 1
    problems = [one for one in json.loads(ill.stdout) if one["verdict"] == "problem"]
    assert any("NOT_SET_ANYWHERE" in one["message"] for one in problems)


def test_doctor_tells_of_a_journal_that_nobody_named(uici: Uici, catalog: Path) -> None:
    (catalog / "platform.yml").write_text('version: 1\njournal: {url: "${env:NO_SUCH_JOURNAL}"}\n')
    ill = uici("doctor", "--config", str(catalog), "--json")
    assert ill.returncode == 1, ill.stderr
    (found,) = [one for one in json.loads(ill.stdout) if one["about"] == "journal"]
    assert (found["verdict"], "NO_SUCH_JOURNAL" in found["message"]) == ("problem", True), found


def test_doctor_says_where_every_change_would_be_refused(uici: Uici, tmp_path: Path) -> None:
    world = tmp_path / "world.json"
    places = {"environments": {"stage": {"executor": "rehearsal", "settings": {"world": str(world)}}}}
    folder = tmp_path / "rehearsed"
    folder.mkdir()
    for name, data in {"environments": places, "operations": {}, "command_translations": {}}.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **data}))
    write_world(world, identity="unknown")
    said = uici("doctor", "--config", str(folder), environ={"PYTHONPATH": PLUGIN})
    (line,) = [line for line in said.stdout.splitlines() if "every change there is refused" in line]
    assert line.startswith("warning  environment stage:")
    assert "the rehearsal does not tell" in line
    write_world(world)
    assert "is refused" not in uici("doctor", "--config", str(folder), environ={"PYTHONPATH": PLUGIN}).stdout


@pytest.mark.parametrize("name", ["platform.yml", "platform.yaml", "platform/journal.yml", "platform/journal.yaml"])
def test_a_daemon_is_looked_for_beside_its_journal_however_the_file_is_called(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"version: 1\njournal: {{url: 'sqlite:///{tmp_path}/of-mine.db'}}\n")
    assert where.local_socket(str(tmp_path)) == tmp_path / "of-mine.db.sock"

"""Folders to catalogs: what is found, included, replaced and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.catalog.conftest import Make
from uici.catalog import CatalogError, ParametersError, UniversalConfigLoader
from uici.catalog.gather import gather
from uici.catalog.registry import OperationRegistry
from uici.executor import load, names
from uici.model import ConfigurationError, Operation

STARTER = Path(__file__).parent.parent.parent / "infrastructure" / "config"


def test_the_starter_has_no_problems() -> None:
    assert [str(problem) for problem in UniversalConfigLoader(STARTER).check()] == []


@pytest.mark.parametrize("executor", names())
def test_the_starter_has_no_problems_wherever_it_is_used(tmp_path: Path, executor: str) -> None:
    places = [f"{one}: {{executor: {executor}, dialect: {one}}}" for one in load(executor).dialects]
    (tmp_path / "environments.yml").write_text(f"version: 1\nenvironments: {{{', '.join(places)}}}\n")
    for section in ("operations", "command_translations", "runbooks"):
        (tmp_path / f"{section}.yml").write_text("version: 1\ninclude: [starter]\n")
    assert [str(problem) for problem in UniversalConfigLoader(tmp_path).check()] == []


def test_a_catalog_is_typed(make: Make) -> None:
    loader = make(
        {"environments.yml": "version: 1\ndefault: containers\n", "platform.yml": "version: 1\nworker: {settle: 5m}\n"}
    )
    catalog = loader.load()
    assert catalog.default == "containers"
    assert catalog.operations.names == ("list_services", "restart_service", "service_status")
    assert catalog.operations["restart_service"].risk == "change"
    assert catalog.platform.settle == 300
    containers = catalog.environments["containers"]
    translation = catalog.translator.translation("restart_service", containers)
    assert translation is not None
    assert [step.call for step in translation.steps] == ["containers.get", "container.restart"]
    assert catalog.translator.translation("restart_service", catalog.environments["processes"]) is None
    assert catalog.translator.offered(containers) == ("list_services", "restart_service", "service_status")
    roots = {"parameters": {"grace_seconds": 3}, "target": {"id": "4f1c", "name": "web"}}
    assert catalog.translator.arguments(translation.steps[1], roots) == {"timeout": 3}
    assert catalog.translator.answer(translation, roots) == {"service": "web"}


def test_an_error_keeps_a_catalog_from_being_loaded_with_all_its_problems(make: Make) -> None:
    text = "version: 1\nenvironments:\n  shop: {executor: docker, stag: x}\n  shap: {executor: dokcer}\n"
    with pytest.raises(CatalogError) as caught:
        make({"environments.yml": text}).load()
    assert [problem.code for problem in caught.value.problems] == ["unknown-key", "unknown-executor"]
    assert "environments.yml:3:28" in str(caught.value)


def test_a_warning_does_not(make: Make) -> None:
    loader = make({"runbook.yml": "version: 1\n"})
    assert [problem.severity for problem in loader.check()] == ["warning"]
    assert loader.load().operations


def test_own_entries_replace_included_ones_whole(make: Make) -> None:
    mine = "{summary: Mine., risk: observe, parameters: {type: object, additionalProperties: false}}"
    own = f"version: 1\ninclude: [starter]\noperations: {{list_services: {mine}}}\n"
    translations = (
        "version: 1\ninclude: [starter]\ntranslations:\n  list_services: {docker: {steps: [{call: containers.list}]}}\n"
    )
    loader = make(
        {
            "environments.yml": "version: 1\nenvironments: {here: {executor: docker}}\n",
            "operations.yml": own,
            "command_translations.yml": translations,
        },
        without=("operations", "command_translations", "environments"),
    )
    loader.check()
    assert loader.replaced == (
        "operation list_services of starter by its own",
        "translation list_services for docker of starter by its own",
    )


def test_an_include_may_replace_what_it_includes_itself(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = tmp_path / "acme"
    acme.mkdir()
    mine = "{summary: SUMMARY, risk: observe, parameters: {type: object, additionalProperties: false}}"
    text = "version: 1\ninclude: [INCLUDED]\noperations: {list_services: " + mine + "}\n"
    (acme / "operations.yml").write_text(text.replace("INCLUDED", "starter").replace("SUMMARY", "Acme's."))
    monkeypatch.setattr("uici.catalog.gather.catalogs", lambda *_: {"acme": acme, "starter": STARTER})
    included = "version: 1\ninclude: [acme]\n"
    loader = make({"operations.yml": included}, without=("operations", "command_translations"))
    gathered = gather(loader.path)
    assert gathered.operations["list_services"].definition["summary"] == "Acme's."
    assert [one.message for one in gathered.found() if one.code == "duplicate-name"] == []
    assert gathered.replaced == ["operation list_services of starter by acme"]

    (loader.path / "operations.yml").write_text(text.replace("INCLUDED", "acme").replace("SUMMARY", "Ours."))
    assert gather(loader.path).replaced == [
        "operation list_services of acme by its own",
        "operation list_services of starter by its own",
    ]

    (acme / "operations").mkdir()
    (acme / "operations" / "more.yml").write_text("version: 1\noperations: {list_services: " + mine + "}\n")
    (loader.path / "operations.yml").write_text(included)
    twice = [one for one in gather(loader.path).found() if one.code == "duplicate-name"]
    assert [one.file for one in twice] == [str(acme / "operations" / "more.yml")]


def test_own_lists_come_first_and_what_has_no_name_adds_up(make: Make, fake: Any) -> None:
    loader = make(
        {
            "runbooks.yml": "version: 1\ninclude: [fake]\nrunbooks:\n  - {name: shared, match: ['a=\"1\"'], steps: []}\n",
            "policies.yml": "version: 1\ninclude: [starter]\nprotected: [{name: db}]\n",
        },
        without=("policies",),
    )
    catalog = loader.load()
    assert [runbook.name for runbook in catalog.runbooks] == ["shared", "last"]
    assert str(catalog.runbooks[0].match[0]) == 'a="1"'
    assert catalog.replaced == ("runbook shared of fake by its own",)
    assert catalog.policies.protected[0].name == "db"
    assert len(catalog.policies.protected) > 1


def test_policies(make: Make) -> None:
    starters = make(without=("policies",)).load().policies
    assert starters.protected
    assert starters.brakes
    loader = make({"policies.yml": "version: 1\nprotected: []\n"}, without=("policies",))
    found = loader.check()
    assert [(problem.code, problem.message) for problem in found] == [
        ("missing-key", "stands alone and does not say 'blast_radius'"),
        ("missing-key", "stands alone and does not say 'brakes'"),
    ]


def test_the_owners_keys_are_ignored_but_not_inside_of_data(make: Make) -> None:
    text = (
        "version: 1\nx-top: 1\nenvironments:\n  x-none: {}\n"
        "  shop: {executor: docker, x-a: no, variables: {x-kept: 1},"
        " inventory: {services: {x-web: {}}, x-b: 1}}\n"
    )
    catalog = make({"environments.yml": text}).load()
    assert set(catalog.environments) == {"containers", "processes", "shop"}
    assert catalog.environments["shop"].variables == {"x-kept": 1}
    assert "x-a" not in catalog.environments["shop"].definition
    assert not catalog.environments["shop"].services


def test_folders_are_read_in_order_of_names(make: Make) -> None:
    files = {f"runbooks/{n}.yml": f"version: 1\nrunbooks: [{{name: r{n}, match: ['a=\"{n}\"']}}]\n" for n in (3, 1, 2)}
    catalog = make({**files, "runbooks.yml": "version: 1\nrunbooks: [{name: first, match: ['b=\"1\"']}]\n"}).load()
    assert [runbook.name for runbook in catalog.runbooks] == ["first", "r1", "r2", "r3"]


def test_a_misspelt_folder_is_told(make: Make, tmp_path: Path) -> None:
    loader = make({"runbook/a.yml": "version: 1\n", "..data/runbooks.yml": "version: 1\n", "notes/a.md": "#\n"})
    found = [(one.file, one.code, one.hint, one.severity) for one in loader.check()]
    assert found == [(str(loader.path / "runbook"), "unknown-file", "did you mean 'runbooks'?", "warning")]


def test_the_default_is_said_once(make: Make) -> None:
    one, two = "version: 1\ndefault: containers\n", "version: 1\ndefault: processes\n"
    found = make({"environments.yml": one, "environments/more.yml": two}).check()
    assert [(problem.code, problem.line) for problem in found] == [("duplicate-name", 2)]
    assert found[0].file.endswith("more.yml")


def test_the_own_default_goes_before_an_included_one(make: Make) -> None:
    text = "version: 1\ninclude: [starter]\ndefault: containers\n"
    gathered = gather(make({"environments.yml": text}).path)
    assert gathered.default is not None
    assert (gathered.default.definition, gathered.default.source) == ("containers", "")
    assert "duplicate-name" not in {one.code for one in gathered.found()}


def test_problems_of_all_files_at_once(make: Make) -> None:
    loader = make(
        {
            "environments.yml": "version: 1\nenvironments: {a: {executor: dokcer}}\n",
            "runbooks.yml": "version: 1\nrunbooks: [{name: a, steps: [{operation: nope}]}]\n",
            "platform.yml": "version: 2\n",
            "policies.yml": 'version: 1\nrules: [{name: a, when: "tarjet.id == 1", effect: deny}]\n',
        }
    )
    assert {problem.code for problem in loader.check()} == {
        "unknown-executor",
        "unknown-operation",
        "wrong-value",
        "unknown-name",
    }


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("operations/base.yml", "version: 1\noperations: [\n", "yaml-syntax"),
        ("operations.yml", "# to do\n", "empty-file"),
        ("environments.yml", "", "empty-file"),
    ],
)
def test_what_an_unreadable_file_would_define_is_not_missed_elsewhere(
    make: Make, file: str, text: str, code: str
) -> None:
    assert [problem.code for problem in make({file: text}).check()] == [code]


def test_a_missing_key_does_not_hide_the_misspelt_one(make: Make) -> None:
    text = "version: 1\noperations: {a_b: {sumary: x, risk: change, parameters: {type: object}}}\n"
    found = make({"operations/more.yml": text}).check()
    assert [(one.code, one.hint) for one in found if one.code == "unknown-key"] == [
        ("unknown-key", "did you mean 'summary'?")
    ]
    assert "missing-key" in [one.code for one in found]


def test_a_misspelt_dialect_is_told(make: Make) -> None:
    text = "version: 1\ntranslations: {restart_service: {dokcer: {steps: [{call: x.y}], returns: {service: a}}}}\n"
    found = make({"command_translations.yml": text}).check()
    assert [(one.code, one.hint) for one in found] == [("unchecked-dialect", "did you mean 'docker'?")]


def test_the_digest_is_of_what_is_said_and_not_of_how(make: Make) -> None:
    first = make({"platform.yml": "version: 1\nworker: {settle: 5m}\n"}).load().digest
    assert make({"platform.yml": "version: 1\n# the same\nworker:\n  settle: 5m\nx-y: 1\n"}).load().digest == first
    assert make({"platform.yml": "version: 1\nworker: {settle: 6m}\n"}).load().digest != first


def test_same_as_shares_a_translation(make: Make, fake: Any) -> None:
    text = (
        "version: 1\ntranslations:\n  list_services:\n    faker: {same_as: fake}\n"
        "    fake: {steps: [{call: things.list, as: things}], returns: {services: '${things}'}}\n"
    )
    environments = "version: 1\nenvironments: {f: {executor: fake, dialect: faker, settings: {url: x}}}\n"
    catalog = make({"command_translations.yml": text, "environments.yml": environments}).load()
    translation = catalog.translator.translation("list_services", catalog.environments["f"])
    assert translation is not None
    assert (translation.dialect, translation.steps[0].call) == ("faker", "things.list")


class TestDefault:
    TEXT = "version: 1\ndefault: auto\nenvironments:\n  f: {executor: fake, settings: {url: x}}\n"

    def test_auto_is_the_one_that_detects_itself(self, make: Make, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fake, "here", True)
        assert make({"environments.yml": self.TEXT}, without=("environments",)).load().default == "f"

    def test_auto_finds_none(self, make: Make, fake: Any) -> None:
        loader = make({"environments.yml": self.TEXT}, without=("environments",))
        assert loader.check() == []
        with pytest.raises(ConfigurationError, match=r"none of the environments .*\(f\)"):
            loader.load()

    def test_auto_finds_several(self, make: Make, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fake, "here", True)
        two = self.TEXT + "  g: {executor: fake, settings: {url: y}}\n"
        with pytest.raises(ConfigurationError, match=r"several of the environments .*\(f, g\)"):
            make({"environments.yml": two}, without=("environments",)).load()

    def test_the_only_one_needs_no_word(self, make: Make) -> None:
        text = "version: 1\nenvironments: {shop: {executor: docker}}\n"
        assert make({"environments.yml": text}, without=("environments",)).load().default == "shop"

    def test_of_several_none_is_guessed(self, make: Make) -> None:
        assert make().load().default is None


class TestFind:
    def test_order(self, tmp_path: Path) -> None:
        here = tmp_path / "infrastructure" / "config"
        here.mkdir(parents=True)
        assert UniversalConfigLoader.find("a", {"UICI_CONFIG": "b"}, tmp_path).path == Path("a")
        assert UniversalConfigLoader.find(None, {"UICI_CONFIG": "b"}, tmp_path).path == Path("b")
        assert UniversalConfigLoader.find(None, {}, tmp_path).path == here

    @pytest.mark.skipif(Path("/etc/uici").exists(), reason="this machine has a configuration of its own")
    def test_never_the_packaged_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="uici init"):
            UniversalConfigLoader.find(None, {}, tmp_path)

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="no such folder"):
            UniversalConfigLoader(tmp_path / "nope").check()

    def test_a_file_instead_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "operations.yml").write_text("version: 1\n")
        with pytest.raises(ConfigurationError, match="is a file; give the folder"):
            UniversalConfigLoader(tmp_path / "operations.yml").check()


class TestParameters:
    def test_defaults_are_filled_in(self, make: Make) -> None:
        operations = make().load().operations
        assert operations.validate("restart_service", {"service": "web"}) == {"service": "web", "grace_seconds": 10}
        assert operations.validate(operations["restart_service"], {"service": "web", "grace_seconds": 1}) == {
            "service": "web",
            "grace_seconds": 1,
        }

    @pytest.mark.parametrize(
        ("parameters", "path", "says"),
        [
            ({}, "service", "is required"),
            ({"service": "web", "grace": 1}, "grace", "did you mean 'grace_seconds'?"),
            ({"service": 1}, "service", "string"),
            ({"service": "web", "grace_seconds": 51}, "grace_seconds", "maximum"),
            ({"service": "web", "grace_seconds": True}, "grace_seconds", "integer"),
            ({"service": "\ud800"}, "service", "surrogate"),
            ({"service": "web", "grace_seconds": float("nan")}, "grace_seconds", "nan"),
            ({"service": {1: 2}}, "service", "not text"),
            ({"service": object()}, "service", "object"),
        ],
    )
    def test_what_is_refused(self, make: Make, parameters: dict[str, Any], path: str, says: str) -> None:
        with pytest.raises(ParametersError) as caught:
            make().load().operations.validate("restart_service", parameters)
        assert [one[0] for one in caught.value.problems] == [path]
        assert says in str(caught.value)

    def test_a_line_break_does_not_slip_through_a_pattern(self) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "string", "pattern": "^[a-z0-9-]+$"}}}
        registry = OperationRegistry(
            {"a": Operation.parse("a", {"summary": "A.", "risk": "observe", "parameters": schema})}
        )
        assert registry.validate("a", {"n": "web-1"}) == {"n": "web-1"}
        for name in ("web-1\n", "\nweb-1", "web-1\r", "web\u2028", "wéb", "", "web 1"):
            with pytest.raises(ParametersError):
                registry.validate("a", {"n": name})

    def test_deep_and_long_parameters_are_refused_briefly(self, make: Make) -> None:
        operations = make().load().operations
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep]
        for value in (deep, {"a" * 100_000: 1}, ["x" * 100_000]):
            with pytest.raises(ParametersError) as caught:
                operations.validate("restart_service", {"service": value})
            assert len(str(caught.value)) < 1000

    def test_secrets_are_not_in_the_message(self) -> None:
        schema = {"type": "object", "properties": {"key": {"type": "string", "maxLength": 3, "writeOnly": True}}}
        registry = OperationRegistry(
            {"a": Operation.parse("a", {"summary": "A.", "risk": "observe", "parameters": schema})}
        )
        with pytest.raises(ParametersError) as caught:
            registry.validate("a", {"key": "s3cret"})
        assert "s3cret" not in str(caught.value)


def test_a_version_in_quotes_is_told_as_text(tmp_path: Path) -> None:
    (tmp_path / "platform.yml").write_text('version: "1"\n')
    (problem,) = (one for one in UniversalConfigLoader(tmp_path).check() if one.file.endswith("platform.yml"))
    assert (problem.message, problem.hint) == ("is the text '1', not 1", "write 1")

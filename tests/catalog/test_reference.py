"""What is generated is current, the schemas are schemas, and reports are readable by whom they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from uici.catalog import Problem, reference, schemas
from uici.catalog.report import exit_code, report

PROBLEMS = [
    Problem("a.yml", 3, 7, "unknown-key", "unknown key 'x'", "did you mean 'y'?"),
    Problem("b,c.yml", 0, 0, "unknown-file", "is not read:\n100%", "", "warning"),
]
STARTER = Path(__file__).parent.parent.parent / "infrastructure" / "config"


def test_the_page_of_problems_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run: python -m uici.catalog.reference"


@pytest.mark.parametrize("name", schemas.FILES)
def test_the_published_schemas_are_current(name: str) -> None:
    text = (reference.SCHEMAS / f"{name}.json").read_text(encoding="utf-8")
    assert text == reference.schema_text(name), "run: python -m uici.catalog.reference"


@pytest.mark.parametrize("name", schemas.FILES)
def test_the_schemas_are_schemas_and_say_what_each_key_is_for(name: str) -> None:
    schema = schemas.schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)

    def undescribed(part: Any, path: str) -> list[str]:
        found = []
        for key, one in part.get("properties", {}).items():
            if "const" not in one and not (one.get("description") or one.get("items", {}).get("description")):
                found.append(f"{path}.{key}")
            found += undescribed(one, f"{path}.{key}")
        for inner in (part.get("items"), *part.get("patternProperties", {}).values()):
            if isinstance(inner, dict):
                found += undescribed(inner, path)
        return found

    assert undescribed(schema, name) == []


@pytest.mark.parametrize("path", sorted(STARTER.rglob("*.yml")), ids=lambda path: path.name)
def test_an_editors_validator_takes_the_starter_too(path: Path) -> None:
    name = path.stem if path.stem in schemas.FILES else path.parent.name
    validator = jsonschema.Draft202012Validator(schemas.schema(name))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


def test_text() -> None:
    assert report(PROBLEMS, replaced=["operation a of starter by its own"]).split("\n") == [
        "a.yml:3:7: unknown key 'x'; did you mean 'y'? [unknown-key]",
        "b,c.yml: is not read:",
        "100% (warning) [unknown-file]",
        "replaced: operation a of starter by its own",
        "1 error, 1 warning",
    ]
    assert report([]) == "no problems"


def test_json() -> None:
    assert json.loads(report(PROBLEMS, "json"))[0] == {
        "file": "a.yml",
        "line": 3,
        "column": 7,
        "code": "unknown-key",
        "message": "unknown key 'x'",
        "hint": "did you mean 'y'?",
        "severity": "error",
    }
    assert json.loads(report([], "json")) == []


def test_github() -> None:
    assert report(PROBLEMS, "github").split("\n") == [
        "::error file=a.yml,line=3,col=7,title=unknown-key::unknown key 'x'; did you mean 'y'?",
        "::warning file=b%2Cc.yml,title=unknown-file::is not read:%0A100%25",
    ]


def test_exit_status() -> None:
    assert exit_code(PROBLEMS) == 2
    assert exit_code(PROBLEMS[1:]) == 0
    with pytest.raises(ValueError, match="text, json, github"):
        report([], "xml")


def test_every_code_is_spelt_alike() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in reference.codes())

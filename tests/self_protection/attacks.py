"""Attacks on UICI by its own operations: one operation for each, beside the starter's, and nothing else that refuses one.

It must not know any engine.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.executors.whole import STARTER
from uici.executor import Facts
from uici.model import Origin, Request

ANNA = Origin("human", "anna")


def named(number: int) -> str:
    """The operation of an attack that is no call of the starter's operations."""
    return f"attack_{number}"


def write(
    folder: Path,
    executor: str,
    settings: Mapping[str, Mapping[str, Any]],
    cases: Iterable[Mapping[str, Any]],
    **more: Any,
) -> Path:
    """A catalog in ``folder``: the starter's operations and translations, an operation for each of ``cases`` that has steps.

    ``settings``: of each environment, by its name; the default one is named as its executor. ``more``: other files.
    """
    environments = {
        name: {"executor": executor, "settings": dict(one), "autonomy": "destroy"} for name, one in settings.items()
    }
    operations, translations = {}, {}
    for number, case in enumerate(cases):
        if "steps" in case:
            operations[named(number)] = {
                "summary": case["name"],
                "risk": "destroy",
                "timeout": "20s",
                "parameters": {"type": "object", "additionalProperties": False, "properties": {}},
                "returns": {"type": "object"},
            }
            translations[named(number)] = {executor: {"steps": case["steps"], "returns": {}}}
    shutil.copytree(STARTER / "command_translations", folder / "command_translations")
    (folder / "operations").mkdir()
    shutil.copy(STARTER / "operations.yml", folder / "operations/starter.yml")
    files: dict[str, Any] = {
        "environments": {"default": executor, "environments": environments},
        "operations/attacks": {"operations": operations},
        "command_translations/attacks": {"translations": translations},
        "policies": {"protected": [], "blast_radius": [], "brakes": []},
        **more,
    }
    for name, content in files.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"version": 1, **content}))
    return folder


def request(number: int, case: Mapping[str, Any], executor: str, *, dry_run: bool = False) -> Request:
    """What a person asks and confirms in a case: the operation that it names, or the attack's own."""
    [(operation, parameters)] = case.get("run", {named(number): {}}).items()
    environment = case.get("environment", executor)
    return Request(operation=operation, parameters=parameters, environment=environment, confirm=True, dry_run=dry_run)


def facts(gathered: Mapping[str, Any]) -> Facts:
    """What ``uici.engine.gather`` said in another process, from its JSON."""
    return Facts(**{key: tuple(one) if isinstance(one, list) else one for key, one in gathered.items()})

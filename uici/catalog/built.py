"""Definitions that were proven to the Catalog that the engine asks. It reads no file and checks nothing.

Definitions are plain data, so that one process can prove them and another can build of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from uici.catalog.registry import OperationRegistry
from uici.catalog.secret_references import secrets
from uici.catalog.translator import CommandTranslator
from uici.model import ConfigurationError, Environment, Operation, Platform, Policies, Runbook, Translation
from uici.model.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that the operator allows. ``default``: name of the environment that a Request without one means.

    ``replaced``: what own entries replaced of an include. ``digest``: of all definitions; two catalogs that say the same
    have the same.
    """

    path: Path
    platform: Platform
    environments: Mapping[str, Environment]
    default: str | None
    operations: OperationRegistry
    translator: CommandTranslator
    runbooks: tuple[Runbook, ...]
    policies: Policies
    digest: str
    replaced: tuple[str, ...]


def require_secrets(catalog: Catalog) -> None:
    """Raises ConfigurationError that names a secret of an environment that is missing: a start must not find out later."""
    for name, environment in catalog.environments.items():
        try:
            secrets(environment.settings)
        except ConfigurationError as error:
            raise ConfigurationError(f"environments.yml: {name}: {error}") from error


def build(path: Path, definitions: Mapping[str, Any], replaced: tuple[str, ...] = ()) -> Catalog:
    """Of definitions that were found right; raises ConfigurationError where ``default: auto`` finds not exactly one."""
    environments = {name: Environment.parse(name, one) for name, one in definitions["environments"].items()}
    return Catalog(
        path=path,
        platform=Platform.parse(definitions["platform"]),
        environments=environments,
        default=_default(definitions["default"], environments),
        operations=OperationRegistry(
            {name: Operation.parse(name, one) for name, one in definitions["operations"].items()}
        ),
        translator=CommandTranslator(
            {
                name: {dialect: Translation.parse(name, dialect, one) for dialect, one in of.items()}
                for name, of in definitions["translations"].items()
            }
        ),
        runbooks=tuple(Runbook.parse(one) for one in definitions["runbooks"]),
        policies=Policies.parse(definitions["policies"]),
        digest=hashlib.sha256(orjson.dumps(definitions, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        replaced=replaced,
    )


def _default(wanted: str | None, environments: Mapping[str, Environment]) -> str | None:
    if wanted == "auto":
        from uici.executor import load

        found = [name for name, one in environments.items() if load(one.executor)().detect() is not None]
        if len(found) != 1:
            raise ConfigurationError(
                f"default: auto: {'none' if not found else 'several'} of the environments detect themselves on this machine"
                f" ({', '.join(found or environments)}); name one as default in environments.yml"
            )
        return found[0]
    if wanted is None and len(environments) == 1:
        return next(iter(environments))
    return wanted

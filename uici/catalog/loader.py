"""UniversalConfigLoader: a configuration folder to a Catalog, or to every problem of it. It opens no engine.

What only the check needs (places, message types, validators of the files) dies with the call.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from uici.catalog.gather import Entry, Gathered, gather
from uici.catalog.problem import CatalogError, Problem
from uici.catalog.registry import OperationRegistry
from uici.catalog.secrets import secrets
from uici.catalog.translator import CommandTranslator
from uici.model import ConfigurationError, Environment, Operation, Platform, Policies, Runbook, Translation

HERE = Path("infrastructure/config")
SYSTEM = Path("/etc/uici")


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


class UniversalConfigLoader:
    """Of one folder. ``check`` and ``load`` read it anew each time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.replaced: tuple[str, ...] = ()

    @classmethod
    def find(
        cls,
        explicit: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] = os.environ,
        cwd: str | os.PathLike[str] | None = None,
    ) -> UniversalConfigLoader:
        """``--config``, else UICI_CONFIG, else ./infrastructure/config, else /etc/uici; raises ConfigurationError."""
        if explicit is not None:
            return cls(explicit)
        if environ.get("UICI_CONFIG"):
            return cls(environ["UICI_CONFIG"])
        for place in (Path(cwd, HERE) if cwd is not None else HERE, SYSTEM):
            if place.is_dir():
                return cls(place)
        raise ConfigurationError(
            f"no configuration: neither --config nor UICI_CONFIG is given, and there is no {HERE} here and no {SYSTEM}; "
            "write one with: uici init DIR"
        )

    def check(self) -> list[Problem]:
        """Every problem, in order of file and line; raises ConfigurationError only where there is no such folder."""
        return self._checked(used_only=False)[1]

    def load(self) -> Catalog:
        """The catalog; raises CatalogError with all problems, ConfigurationError where ``default: auto`` finds not one."""
        catalog = self.prove()
        _give_back()
        return catalog

    def prove(self) -> Catalog:
        """As ``load``, for a process that ends soon: it keeps the memory that the check needed."""
        return build(self.proven())

    def proven(self) -> Gathered:
        """What was read and holds; raises CatalogError with all problems."""
        gathered, problems = self._checked(used_only=True)
        if any(problem.severity == "error" for problem in problems):
            raise CatalogError(problems)
        return gathered

    def _checked(self, *, used_only: bool) -> tuple[Gathered, list[Problem]]:
        from uici.catalog.check import check

        gathered = gather(self.path)
        if not gathered.unreadable:
            check(gathered, used_only=used_only)
        self.replaced = tuple(gathered.replaced)
        return gathered, gathered.found()


def require_secrets(catalog: Catalog) -> None:
    """Raises ConfigurationError that names a secret of an environment that is missing: a start must not find out later."""
    for name, environment in catalog.environments.items():
        try:
            secrets(environment.settings)
        except ConfigurationError as error:
            raise ConfigurationError(f"environments.yml: {name}: {error}") from error


def build(gathered: Gathered) -> Catalog:
    """Of entries that were found right; raises ConfigurationError where ``default: auto`` finds not exactly one."""
    environments = {name: Environment.parse(name, entry.definition) for name, entry in gathered.environments.items()}
    policies = {name: [entry.definition for entry in entries] for name, entries in gathered.policies.items()}
    platform = {name: entry.definition for name, entry in gathered.platform.items()}
    definitions: dict[str, Any] = {
        "platform": platform,
        "environments": {name: entry.definition for name, entry in gathered.environments.items()},
        "operations": {name: entry.definition for name, entry in gathered.operations.items()},
        "translations": {
            name: {dialect: resolved(of, dialect) for dialect in of} for name, of in gathered.translations.items()
        },
        "runbooks": [entry.definition for entry in gathered.runbooks],
        "policies": policies,
        "default": gathered.default.definition if gathered.default else None,
    }
    return Catalog(
        path=gathered.path,
        platform=Platform.parse(platform),
        environments=environments,
        default=_default(gathered, environments),
        operations=OperationRegistry(
            {name: Operation.parse(name, entry.definition) for name, entry in gathered.operations.items()}
        ),
        translator=CommandTranslator(
            {
                name: {dialect: Translation.parse(name, dialect, one) for dialect, one in of.items()}
                for name, of in definitions["translations"].items()
            }
        ),
        runbooks=tuple(Runbook.parse(entry.definition) for entry in gathered.runbooks),
        policies=Policies.parse(policies),
        digest=hashlib.sha256(orjson.dumps(definitions, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        replaced=tuple(gathered.replaced),
    )


def resolved(of: Mapping[str, Entry], dialect: str) -> Any:
    """A translation's definition with ``same_as`` followed; None where that leads in a circle or nowhere."""
    seen: set[str] = set()
    while dialect in of and dialect not in seen:
        seen.add(dialect)
        definition = of[dialect].definition
        if not isinstance(definition, dict) or "same_as" not in definition:
            return definition
        dialect = definition["same_as"]
    return None


def _give_back() -> None:
    """What the check needed goes back to the system: glibc would keep some ten megabytes for a daemon's whole life."""
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _default(gathered: Gathered, environments: Mapping[str, Environment]) -> str | None:
    wanted = gathered.default.definition if gathered.default else None
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

"""The project's words as the doors show them, for the API and the command line alike. Plain data; no HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uici.model.errors import ConfigurationError, UnreachableError
from uici.model.times import rfc3339

if TYPE_CHECKING:
    from uici.catalog import Catalog
    from uici.engine import UniversalInfrastructureInterface
    from uici.executor import Health
    from uici.journal import Entry
    from uici.model import Environment, Operation


def operation_json(catalog: Catalog, operation: Operation) -> dict[str, Any]:
    """``environments``: those that offer it; ``logs``: those where what it logs can be followed."""
    offered = {
        name: translation
        for name, environment in catalog.environments.items()
        if (translation := catalog.translator.translation(operation.name, environment)) is not None
    }
    return {
        "name": operation.name,
        "summary": operation.summary,
        "risk": operation.risk.value,
        "target": dict(operation.definition["target"]) if operation.target else None,
        "idempotent": operation.idempotent,
        "timeout_seconds": operation.timeout,
        "parameters": operation.parameters,
        "returns": operation.returns,
        "verified": operation.verify is not None,
        "undone": operation.undo is not None,
        "environments": list(offered),
        "logs": [name for name, translation in offered.items() if translation.logs],
    }


def environment_json(catalog: Catalog, environment: Environment) -> dict[str, Any]:
    """Without its settings, which hold secrets."""
    return {
        "name": environment.name,
        "default": environment.name == catalog.default,
        "executor": environment.executor,
        "dialect": environment.dialect,
        "stage": environment.stage,
        "autonomy": environment.autonomy.value,
        "dry_run": environment.dry_run,
        "alerts": [str(matcher) for matcher in environment.alerts],
        "operations": [
            name for name in catalog.operations if catalog.translator.translation(name, environment) is not None
        ],
    }


async def unchangeable(
    infrastructure: UniversalInfrastructureInterface, environment: str, health: Health | None
) -> str | None:
    """Why every change there would be refused as possibly UICI's own; None where it would not, or where nothing answers
    anyway."""
    if health is None or not health.ok:
        return None
    try:
        return await infrastructure.why_unchangeable(environment)
    except (UnreachableError, ConfigurationError):
        return None


def entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": rfc3339(entry.at),
        "kind": entry.kind,
        "incident": entry.incident,
        "request": entry.request,
        "data": entry.data,
    }

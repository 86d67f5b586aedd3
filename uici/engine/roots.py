"""What an expression sees: the roots of CATALOG.md's table, as plain data. Settings (secrets) are never among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from uici.model import Command, Environment, Resource


def environment_root(environment: Environment) -> dict[str, Any]:
    return {"name": environment.name, "variables": dict(environment.variables)}


def inventory_root(environment: Environment) -> dict[str, Any]:
    return {
        name: listed_service(service.id, service.labels, service.depends_on, service.probe)
        for name, service in environment.services.items()
    }


def listed_service(
    id: str | None, labels: Mapping[str, str], depends_on: Iterable[str], probe: str | None
) -> dict[str, Any]:
    """One service of the inventory. What is not given is not there, so that ``.?probe.orValue('')`` means what it says."""
    given = {"id": id, "labels": dict(labels), "depends_on": list(depends_on), "probe": probe}
    return {name: value for name, value in given.items() if value is not None}


def as_listed(one: Resource, inventory: Mapping[str, Any]) -> Resource:
    """A Resource with what the inventory says of it: the name that it has there, and its labels."""
    bears = {one.id, one.name, *one.names}
    known = {name: listed for name, listed in inventory.items() if name in bears or listed.get("id") in bears}
    if not known:
        return one
    labels = {key: value for listed in known.values() for key, value in listed["labels"].items()}
    return dataclasses.replace(one, names=tuple(dict.fromkeys((*one.names, *known))), labels={**one.labels, **labels})


def target_root(target: Resource, environment: Environment) -> dict[str, Any]:
    """A Resource as expressions see it; the inventory's labels add to the engine's."""
    service = environment.services.get(target.name)
    data = target.to_json()
    if service:
        data["labels"] = {**data["labels"], **service.labels}
    return data


def command_roots(command: Command, inventory: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The roots of a translation before its first step."""
    return operation_roots(
        parameters=command.parameters,
        target=command.target,
        environment=command.environment,
        command_id=command.id,
        now=command.now,
        inventory=inventory,
    )


def operation_roots(
    *,
    parameters: Mapping[str, Any],
    target: Resource | None,
    environment: Environment,
    command_id: str,
    now: str,
    inventory: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``inventory`` None: what environments.yml itself lists."""
    return {
        "parameters": dict(parameters),
        "target": target_root(target, environment) if target else None,
        "environment": environment_root(environment),
        "inventory": inventory_root(environment) if inventory is None else inventory,
        "command": {"id": command_id},
        "now": now,
    }

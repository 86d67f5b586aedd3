"""Validate and locate: what a Request names must exist, its parameters must satisfy the schema, its target must be one.

Nothing in a Request is believed. Raises ``EndedError`` with place, problem and cure.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from uici.catalog import Catalog, ParametersError
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.verdict import refused
from uici.executor import Target
from uici.model import Clock, Environment, Operation, Reason, Request, Resource, Translation


def operation_of(catalog: Catalog, request: Request) -> Operation:
    operation = catalog.operations.get(request.operation)
    if operation is None:
        raise refused(
            Reason.UNKNOWN_OPERATION,
            f"the catalog has no operation {request.operation[:100]!r}; {catalog.operations.did_you_mean(request.operation)}; "
            "`uici operations` lists them",
        )
    return operation


def environment_of(catalog: Catalog, request: Request) -> Environment:
    name = request.environment if request.environment is not None else catalog.default
    if name is None:
        raise refused(
            Reason.AMBIGUOUS_ENVIRONMENT if len(catalog.environments) > 1 else Reason.UNKNOWN_ENVIRONMENT,
            "no environment was named and none is the default here; name one of: " + ", ".join(catalog.environments),
        )
    environment = catalog.environments.get(name)
    if environment is None:
        raise refused(
            Reason.UNKNOWN_ENVIRONMENT,
            f"environments.yml has no {name[:100]!r}; there are: {', '.join(catalog.environments)}",
        )
    return environment


def parameters_of(catalog: Catalog, operation: Operation, request: Request) -> Mapping[str, Any]:
    """The parameters with the schema's defaults filled in."""
    try:
        return catalog.operations.validate(operation, request.parameters)
    except ParametersError as error:
        raise refused(Reason.SCHEMA, f"{operation.name}: {error}") from error


def translation_of(catalog: Catalog, operation: Operation, environment: Environment) -> Translation:
    translation = catalog.translator.translation(operation.name, environment)
    if translation is None:
        why = (
            f"is not translated for {environment.dialect}"
            if environment.offers(operation.name)
            else "is left out by the environment's `operations`"
        )
        raise refused(Reason.NOT_OFFERED, f"{operation.name} {why}, so {environment.name} does not offer it")
    return translation


#: Seconds for which a look may use what was located just before: a runbook's looks follow each other in milliseconds.
#: A change always locates anew, and whatever it finds is pinned by its id right before each call.
FRESH = 0.25
#: How many located targets an environment remembers at most.
LOCATED = 1000


async def target_of(
    place: OpenEnvironment,
    operation: Operation,
    parameters: Mapping[str, Any],
    *,
    listed: Mapping[str, Any],
    default_namespace: str | None = None,
    within: float = 0.0,
) -> Resource | None:
    """The one Resource that the operation's target parameter names; None for an operation without a target.

    ``listed``: the environment's inventory. ``within``: what was located so few seconds ago will do.

    Raises ``EndedError`` (``unknown_target``, ``ambiguous_target``) and UnreachableError.
    """
    if operation.target is None:
        return None
    name = parameters.get(operation.target.parameter)
    if name is None:
        return None
    namespace = parameters.get(operation.target.namespace) if operation.target.namespace else None
    if operation.target.new:
        return _made(place, operation.target.kind, str(name), namespace or default_namespace)
    found = await locate(place, listed, operation.target.kind, str(name), namespace or default_namespace, within=within)
    if len(found) == 1:
        return found[0]
    where = place.environment.name
    if not found:
        raise refused(
            Reason.UNKNOWN_TARGET,
            f"{where} has no {operation.target.kind} {str(name)[:253]!r}{f' in {namespace}' if namespace else ''}; names match "
            "exactly, `list_services` shows them",
        )
    raise refused(
        Reason.AMBIGUOUS_TARGET,
        f"{where} has {len(found)} of {str(name)[:253]!r}: "
        + ", ".join(f"{one.namespace or '-'}/{one.name}" for one in found[:10])
        + "; name its namespace",
    )


def _made(place: OpenEnvironment, kind: str, name: str, namespace: str | None) -> Resource:
    """What the operation makes, under the name by which it is locked and remembered."""
    if place.environment.inventory_only or not place.environment.admits(namespace):
        why = "its inventory is all there may be" if place.environment.inventory_only else f"{namespace} is not its"
        raise refused(Reason.UNKNOWN_TARGET, f"{place.environment.name}: no {kind} {name[:253]!r} is made there: {why}")
    full = f"{namespace}/{name}" if namespace else name
    owner = f"{kind}/{namespace or ''}/{name}"
    return Resource(
        engine=place.engine, kind=kind, id=full, name=name, namespace=namespace, names=(name, full), owner=owner
    )


async def locate(
    place: OpenEnvironment,
    inventory: Mapping[str, Any],
    kind: str,
    name: str,
    namespace: str | None = None,
    *,
    within: float = 0.0,
    clock: Clock = time.monotonic,
) -> list[Resource]:
    """What the executor finds, less what the environment does not let be a target. Raises UnreachableError.

    ``within``: what it found so few seconds ago will do; 0 asks it in any case.
    """
    environment = place.environment
    listed = inventory.get(name)
    if environment.inventory_only and listed is None:
        return []
    wanted = listed.get("id", name) if listed is not None else name
    target = Target(kind=kind, name=wanted, namespace=namespace)
    at, found = place.located.get(target, (float("-inf"), []))
    if clock() - at >= within:
        at = clock()
        found = await bounded(f"locating {name[:100]!r} in {environment.name}", place.executor.locate(target))
        if len(place.located) >= LOCATED:
            place.located.clear()
        place.located[target] = (at, found)
    found = [one for one in found if environment.admits(one.namespace)]
    if listed is not None and listed["labels"]:
        found = [dataclasses.replace(one, labels={**one.labels, **listed["labels"]}) for one in found]
    return found

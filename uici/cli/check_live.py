"""The live part of ``uici check``: what the engines themselves say of a catalog's calls. It changes nothing, and needs no journal."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from uici.catalog.problem import Problem

if TYPE_CHECKING:
    from uici.catalog import Catalog
    from uici.executor.proves import Proof
    from uici.model import Environment

#: Seconds that one engine may take.
_SECONDS = 120.0
#: Operations that are named in one problem.
_NAMED = 5


def live(catalog: Catalog) -> tuple[list[Problem], list[str]]:
    """Problems, and a line on each environment about what was asked of it."""
    return asyncio.run(_all(catalog))


async def _all(catalog: Catalog) -> tuple[list[Problem], list[str]]:
    problems: list[Problem] = []
    said: list[str] = []
    for place in catalog.environments.values():
        found, line = await _one(catalog, place)
        problems += found
        said.append(f"live: {place.name}: {line}")
    return problems, said


async def _one(catalog: Catalog, place: Environment) -> tuple[list[Problem], str]:
    from uici.catalog import secrets
    from uici.executor import load
    from uici.executor.proves import Proves
    from uici.model import UICIError

    callers: dict[str, list[str]] = {}
    for operation, call in catalog.translator.callers(place):
        names = callers.setdefault(f"{call.path} {call.arguments!r}", [])
        if operation not in names:
            names.append(operation)
    where = str(catalog.path)
    try:
        executor = load(place.executor)()
        if not isinstance(executor, Proves):
            return [], f"{place.executor} cannot be asked"
        try:
            async with asyncio.timeout(_SECONDS):
                await executor.open(dataclasses.replace(place, settings=secrets(place.settings)))
                calls = catalog.translator.calls(place)
                proof = await executor.prove(calls)
                missing = await executor.missing(executor.permissions(calls))
        finally:
            await executor.close()
    except TimeoutError:
        return [Problem(where, 0, 0, "live", f"{place.name}: no answer within {_SECONDS:.0f} s")], "not asked"
    except UICIError as error:
        return [Problem(where, 0, 0, "live", f"{place.name}: {error}")], "not asked"
    problems = _told(where, place.name, proof, callers)
    problems += [
        Problem(
            where, 0, 0, "live-permission", f"{place.name}: this login lacks {one.name}",
            f"`uici rbac -e {place.name}` prints what is needed", "warning",
        )
        for one in missing
    ]  # fmt: skip
    return problems, proof.said


def _told(where: str, name: str, proof: Proof, callers: Mapping[str, list[str]]) -> list[Problem]:
    """One problem for each thing that is wrong, with the operations that it hits."""
    hit: dict[tuple[str, str, bool], list[str]] = {}
    for doubt in proof.doubts:
        by = callers.get(f"{doubt.call.path} {doubt.call.arguments!r}", [])
        names = hit.setdefault((doubt.call.path, doubt.message, doubt.sure), [])
        names += [one for one in by if one not in names]
    problems = []
    for (path, message, sure), names in hit.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        whose = f" (in {', '.join(names[:_NAMED])}{more})" if names else ""
        severity = "error" if sure else "warning"
        problems.append(Problem(where, 0, 0, "live-call", f"{name}: {path}{whose}: {message}", "", severity))
    return problems

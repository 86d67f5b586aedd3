"""An environment that is limited to namespaces looks no further either: other namespaces are refused, and a listing over
all of them is one of those that it may see. It sends calls, and decides nothing else about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.executor import Done, Outcome, Rejected
from uici.model import Call, Environment
from uici_executors.kubernetes import calls, permissions, sdk
from uici_executors.kubernetes.connection import Server

#: Listings of single namespaces that are under way at one time.
_AT_ONCE = 8


async def run(server: Server, call: Call, environment: Environment | None) -> Outcome:
    """``calls.run`` within the environment's namespaces."""
    method = sdk.find(call.path)
    if environment is None or not environment.namespaces or method is None or not method.http:
        return await calls.run(server, call)
    why = outside(call, environment)
    if why is not None:
        return Rejected(errors=(), message=why, reason="unknown_target")
    if not method.name.endswith("_for_all_namespaces"):
        return await calls.run(server, call)
    single, exact = permissions.namespaced(method), permissions.exact(environment.namespaces)
    if single is None or not exact:
        outcome = await calls.run(server, call)
        return _of_items(outcome, lambda one: environment.admits((one.get("metadata") or {}).get("namespace")))
    if len(exact) > 1 and {"limit", "_continue"} & call.arguments.keys():
        message = (
            f"{call.path}: a part of a listing over several namespaces begins nowhere; leave out limit and _continue"
        )
        return Rejected(errors=(), message=message)
    return await _each(server, call, single, exact)


def outside(call: Call, environment: Environment) -> str | None:
    """Why a call that names a namespace is none for this environment; None: it may be sent."""
    namespace = call.arguments.get("namespace")
    if not environment.namespaces or not isinstance(namespace, str) or environment.admits(namespace):
        return None
    return f"{call.path}: {namespace} is outside the namespaces of {environment.name}"


async def _each(server: Server, call: Call, single: sdk.Method, namespaces: Sequence[str]) -> Outcome:
    """The listings of these, in their order, as one."""
    arguments = dict(call.arguments)
    if "resource_plural" in arguments:
        arguments["plural"] = arguments.pop("resource_plural")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(namespace: str) -> Outcome:
        async with gate:
            return await calls.run(
                server, replace(call, path=single.path, arguments={**arguments, "namespace": namespace})
            )

    items: list[Any] = []
    whole: Mapping[str, Any] = {}
    try:
        async with asyncio.timeout(call.timeout):
            outcomes = await asyncio.gather(*map(one, namespaces))
    except TimeoutError:
        return Rejected(errors=("TimeoutError",), message=f"{call.path}: no answer in time", reason="unreachable")
    for outcome in outcomes:
        if not isinstance(outcome, Done) or not isinstance(outcome.answer, Mapping):
            return outcome
        whole = whole or outcome.answer
        items += outcome.answer.get("items") or ()
    return Done(answer={**whole, "metadata": {}, "items": items})


def _of_items(outcome: Outcome, admits: Callable[[Mapping[str, Any]], bool]) -> Outcome:
    if not isinstance(outcome, Done) or not isinstance(outcome.answer, Mapping):
        return outcome
    items = [one for one in outcome.answer.get("items") or () if admits(one)]
    return replace(outcome, answer={**outcome.answer, "items": items})

"""Locate: what a name means here, exactly. A service is a Deployment, a StatefulSet or a DaemonSet; a Pod is located
through its owners. It must not guess: no prefixes, no selectors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from uici.executor import Target
from uici.model import Resource
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.owners import Owners
from uici_executors.kubernetes.resources import KINDS, SERVICES, WORDS, Kind, resource

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What may be a name of anything; what is not is not asked for.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")


async def locate(server: Server, target: Target, namespaces: Sequence[str] = ()) -> list[Resource]:
    """``namespaces``: the environment's patterns; where all are exact names, only those are read, so that a login that may
    read nothing else will do. Raises UnreachableError."""
    word = target.kind.lower()
    if not _NAME.fullmatch(target.name) or (target.namespace is not None and not _NAME.fullmatch(target.namespace)):
        return []
    engine = await server.engine()
    if word == "service":
        listings = [_named(server, KINDS[kind], target, namespaces) for kind in SERVICES]
        found = [one for some in await asyncio.gather(*listings) for one in some]
        if found:
            return [resource(engine, one) for one in found]
        pods = await _named(server, KINDS["Pod"], target, namespaces)
        owners = Owners(server)
        tops = await asyncio.gather(*(owners.top(one) for one in pods))
        return [resource(engine, top) for _, top in tops if top["kind"] in SERVICES]
    kind = WORDS.get(word)
    if kind is None:
        return []
    owners = Owners(server)
    some = await _named(server, kind, target, namespaces)
    return list(await asyncio.gather(*(owners.resource(engine, one) for one in some)))


async def _named(server: Server, kind: Kind, target: Target, namespaces: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of that kind with exactly that name, or that uid."""
    if not kind.namespaced:
        found = await server.get(kind.path(name=target.name))
        return [_of(kind, found)] if found is not None else []
    exact = list(namespaces) if namespaces and not any(set("*?[") & set(one) for one in namespaces) else [None]
    places = [target.namespace] if target.namespace is not None else exact
    if _UID.fullmatch(target.name):
        by_uid = [one for place in places for one in await server.items(kind.path(place))]
        return [_of(kind, one) for one in by_uid if one["metadata"]["uid"] == target.name]
    if places == [None]:
        found_all = await server.items(kind.path(), fieldSelector=f"metadata.name={target.name}")
        return [_of(kind, one) for one in found_all]
    asked = await asyncio.gather(*(server.get(kind.path(place, target.name)) for place in places))
    return [_of(kind, one) for one in asked if one is not None]


def _of(kind: Kind, one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "kind": kind.name}

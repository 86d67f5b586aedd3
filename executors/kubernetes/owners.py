"""Who owns what: from any object up to what the engine runs as one service. Reads only; decides nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uici.model import Resource
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.resources import KINDS, TOPMOST, Object, controller, owner_key, resource

#: Owners above each other are few; more would be a circle.
_DEEPEST = 8


class Owners:
    """What one look has learnt of owners, so that each is asked for once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._known: dict[tuple[str, str | None, str], dict[str, Any] | None] = {}
        self._asking: dict[tuple[str, str | None, str], asyncio.Future[dict[str, Any] | None]] = {}

    def learn(self, *objects: Object) -> None:
        """Objects that were read already need not be asked for again."""
        for one in objects:
            metadata = one["metadata"]
            self._known[one["kind"], metadata.get("namespace"), metadata["name"]] = dict(one)

    async def read(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """One object of a built-in kind; None where there is none. Raises UnreachableError."""
        key = (kind, namespace, name)
        if key not in self._known:
            if key not in self._asking:  # many Pods have one owner
                self._asking[key] = asyncio.ensure_future(self._server.get(KINDS[kind].path(namespace, name)))
            found = await self._asking[key]
            if found is not None:
                found.setdefault("kind", kind)
            self._known[key] = found
        return self._known[key]

    def known(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """What was read already."""
        return self._known.get((kind, namespace, name))

    async def top(self, one: Object) -> tuple[str, Object]:
        """The key of the topmost owner, and the topmost object that could be read: ``one`` itself where nothing owns it."""
        above: Object = one
        for _ in range(_DEEPEST):
            metadata, kind = above["metadata"], above["kind"]
            key = owner_key(kind, metadata.get("namespace"), metadata["name"])
            reference = controller(above)
            if reference is None or kind in TOPMOST:
                return key, above
            if reference["kind"] not in KINDS:
                # A custom controller runs it (a Rollout, an operator's own kind): that is its owner, told by the reference.
                return owner_key(reference["kind"], metadata.get("namespace"), reference["name"]), above
            found = await self.read(reference["kind"], metadata.get("namespace"), reference["name"])
            if found is None or found["metadata"].get("uid") != reference.get("uid"):
                # Its owner is gone, or another one of that name: it is about to be collected, and owns itself until then.
                return owner_key(reference["kind"], metadata.get("namespace"), reference["name"]), above
            above = found
        return owner_key(above["kind"], above["metadata"].get("namespace"), above["metadata"]["name"]), above

    async def resource(self, engine: str, one: Object) -> Resource:
        key, _ = await self.top(one)
        return resource(engine, one, key)

"""Whether a cluster would take a catalog's calls: it is asked which APIs it serves, and to read their bodies in a dry run.

No object that is there is touched: the body of each create, patch or replacement is offered as a new object, with
``dryRun=All`` and ``fieldValidation=Strict``, and what only run time knows (``${…}``) is left null, which any field may be
while it is read. A server reads a body before it looks at anything else, so that only what it says of the reading counts;
that a half-filled object is no valid one does not. It must not send anything without ``dryRun``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from uici.executor.proves import Doubt, Proof
from uici.model import Call
from uici_executors.kubernetes import sdk
from uici_executors.kubernetes.connection import AnswerError, Server

#: Questions at one time.
_AT_ONCE = 8
#: Of a 400 or 422, what says that the body could not be read as that kind.
_UNREAD = ("strict decoding error", "cannot be handled as a")
_FORBIDDEN, _NO_ANSWER = "forbidden", "no answer"
_MAKES = frozenset({"create", "patch", "update"})


async def prove(server: Server, calls: Sequence[Call], namespaces: Sequence[str] = ()) -> Proof:
    """``namespaces``: of the environment. Raises UnreachableError."""
    look = _Look(server, next((one for one in namespaces if not set("*?[") & set(one)), "default"))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Call) -> Doubt | None:
        async with gate:
            return await look.at(call)

    doubts = [found for found in await asyncio.gather(*(one(call) for call in calls)) if found is not None]
    return Proof(doubts=tuple(doubts), said=look.said())


class _Look:
    """One look at a cluster; what was learnt is kept for the next call."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server, self._namespace = server, namespace
        self._served: dict[str, asyncio.Task[dict[str, Mapping[str, Any]] | None]] = {}
        self._read: dict[str, asyncio.Task[str]] = {}
        self._counts = dict.fromkeys(("served", "unknown", "read", "unread", "forbidden"), 0)

    def said(self) -> str:
        counts = self._counts
        words = [
            f"{counts['served']} calls are served, the bodies of {counts['read']} were read by the server in a dry run",
            f"{counts['unread']} bodies could not be offered (JSON Patches, subresources) or got no answer" if counts["unread"] else "",
            f"{counts['forbidden']} neither, because this login may not create such objects" if counts["forbidden"] else "",
            f"of {counts['unknown']} only run time knows the kind" if counts["unknown"] else "",
        ]  # fmt: skip
        return "; ".join(filter(None, words))

    async def at(self, call: Call) -> Doubt | None:
        method = sdk.find(call.path)
        if method is None or not method.http or not method.resource:
            return None
        given = {name: str(call.arguments.get(name) or "") for name in ("group", "version", "plural")}
        group, version, resource = (
            part.format_map(given) for part in (method.group, method.version, method.resource)
        )  # fmt: skip
        if not resource or not version or any("${" in one for one in (group, version, resource)):
            self._counts["unknown"] += 1
            return None
        api = f"/apis/{group}/{version}" if group else f"/api/{version}"
        served = await self._resources(api)
        if served is None:
            return Doubt(call=call, message=f"this cluster does not serve {api.split('/', 2)[2]}", sure=False)
        name = f"{resource}/{method.subresource}" if method.subresource else resource
        found = served.get(name)
        if found is None or method.verb not in (*(found.get("verbs") or ()), "watch"):
            what = name if found is None else f"{method.verb} of {name}"
            return Doubt(call=call, message=f"this cluster serves no {what} in {api.split('/', 2)[2]}", sure=False)
        self._counts["served"] += 1
        body = call.arguments.get("body")
        if method.verb not in _MAKES or body is None:
            return None
        if method.subresource or not isinstance(body, Mapping) or "create" not in (found.get("verbs") or ()):
            self._counts["unread"] += 1
            return None
        return await self._body(call, api, found, body)

    async def _body(self, call: Call, api: str, found: Mapping[str, Any], body: Mapping[str, Any]) -> Doubt | None:
        group_version = api.removeprefix("/apis/").removeprefix("/api/")
        offered = {**_known(body), "apiVersion": group_version, "kind": str(found["kind"])}
        path = f"{api}/{found['name']}"
        if found.get("namespaced"):
            path = f"{api}/namespaces/{self._namespace}/{found['name']}"
            offered["metadata"] = {**(offered.get("metadata") or {}), "namespace": self._namespace}
        key = f"{path} {json.dumps(offered, sort_keys=True)}"
        if key not in self._read:
            self._read[key] = asyncio.ensure_future(self._offer(path, offered))
        said = await self._read[key]
        if said in (_FORBIDDEN, _NO_ANSWER):
            self._counts["forbidden" if said == _FORBIDDEN else "unread"] += 1
            return None
        self._counts["read"] += 1
        return Doubt(call=call, message=f"the server cannot read its body: {said}", sure=True) if said else None

    async def _offer(self, path: str, body: Mapping[str, Any]) -> str:
        """Why the server cannot read it; empty: it can; or why that is not known."""
        try:
            await self._server.ask(
                "POST", path, query={"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "uici"}, body=body
            )  # fmt: skip
        except AnswerError as error:
            if error.status == 403 and "is forbidden: User" in error.said:
                return _FORBIDDEN
            if error.status in (400, 422) and any(word in error.said for word in _UNREAD):
                return error.said
            if error.status >= 500 or error.status in (408, 429):
                return _NO_ANSWER
        return ""

    async def _resources(self, api: str) -> dict[str, Mapping[str, Any]] | None:
        """What is served there, by name; None: nothing."""
        if api not in self._served:
            self._served[api] = asyncio.ensure_future(self._discovered(api))
        return await self._served[api]

    async def _discovered(self, api: str) -> dict[str, Mapping[str, Any]] | None:
        found = await self._server.get(api)
        return None if found is None else {str(one["name"]): one for one in found.get("resources") or ()}


def _known(value: Any) -> Any:
    """What is written, with null for what only run time knows, and without keys that only run time knows."""
    if isinstance(value, Mapping):
        # Directives of a patch ($patch, $retainKeys …) are no fields.
        return {key: _known(one) for key, one in value.items() if "${" not in key and not key.startswith("$")}
    if isinstance(value, list):
        return [one for one in map(_known, value) if one is not None]
    return None if isinstance(value, str) and "${" in value else value

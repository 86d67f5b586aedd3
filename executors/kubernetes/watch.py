"""Watches: what the API server says of objects as they change, and who is woken by it. Reads only.

``objects`` keeps one listing up to date: listed once, then watched from its resourceVersion, with bookmarks; a watch that
ends goes on from where it stood, one that grew too old (410) is listed anew, a server that is away is asked again after a
bounded pause. It must not decide what a change means.
"""

from __future__ import annotations

import asyncio
import json
import random as random_module
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from uici.executor import Changed
from uici.model import Resource, UnreachableError
from uici_executors.kubernetes.connection import PAGE, AnswerError, Server, lines_of
from uici_executors.kubernetes.resources import KINDS, SERVICES, WORDS, Kind, Object

Sleep = Callable[[float], Awaitable[None]]

#: Seconds that one watch may last; the server ends it then, and it goes on from where it stood.
LONGEST = 300
#: Seconds without a word, bookmarks among them (one a minute), after which a connection counts as dead.
SILENCE = 100.0
#: Seconds between two tries at a server that is away: at first, and at the most.
FIRST, MOST = 0.1, 5.0
#: Seconds that a watch lasts at the least where all is well.
BRIEF = 1.0
#: Changes that wait for whoever is woken; more say nothing new.
WAITING = 256
#: Resources of one watch; of more the first are watched.
RESOURCES = 200
#: Whose Pods their own selector names.
_SELECTING = frozenset({*SERVICES, "ReplicaSet", "Job"})
#: The label by which the Job controller knows its Pods.
_JOB = "batch.kubernetes.io/controller-uid"


@dataclass(frozen=True, slots=True)
class Event:
    """``what``: LISTED (all of ``objects`` there are), or ADDED, MODIFIED, DELETED (of the only one)."""

    what: str
    objects: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class Pause:
    """How long until the next try: longer each time, never the same for two that begin together."""

    sleep: Sleep = asyncio.sleep
    random: random_module.Random = field(default_factory=random_module.SystemRandom)
    next: float = FIRST

    async def __call__(self) -> None:
        seconds, self.next = self.next, min(MOST, self.next * 2)
        await self.sleep(seconds * (0.5 + self.random.random() / 2))

    def reset(self) -> None:
        self.next = FIRST


async def objects(
    server: Server,
    path: str,
    query: Mapping[str, str],
    pause: Pause | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Event, None]:
    """Without an end. ``clock``: in seconds.

    Raises UnreachableError where the server refuses it for good (403, 404, a wrong selector).
    """
    pause = pause or Pause()
    version = ""
    while True:
        try:
            if not version:
                found, version = await _listed(server, path, query)
                yield Event("LISTED", found)
            began = clock()
            async for what, one in _watched(server, path, query, version):
                pause.reset()
                version = str(one.get("metadata", {}).get("resourceVersion") or version)
                if what != "BOOKMARK":
                    yield Event(what, (one,))
            if clock() - began >= BRIEF:
                pause.reset()
            else:  # something in between answers for it, and would be asked again and again
                await pause()
        except AnswerError as error:
            if error.status == 410:
                version = ""
            elif 400 <= error.status < 500 and error.status not in (401, 429):
                raise UnreachableError(f"watching {path} at {server.address}: {error}") from error
            await pause()
        except (UnreachableError, TimeoutError, aiohttp.ClientError, OSError, ValueError):
            await pause()


async def _listed(server: Server, path: str, query: Mapping[str, str]) -> tuple[tuple[dict[str, Any], ...], str]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = await server.ask("GET", path, query={**query, "limit": PAGE, **more})
        kind = str(page.get("kind", "")).removesuffix("List")
        found += [{**one, "kind": kind} for one in page.get("items") or ()]
        metadata = page.get("metadata") or {}
        if not metadata.get("continue"):
            return tuple(found), str(metadata.get("resourceVersion", ""))
        more = {"continue": metadata["continue"]}


async def _watched(
    server: Server, path: str, query: Mapping[str, str], version: str
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    asked = {
        **query,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(LONGEST),
    }
    async with server.reading(path, asked, silence=SILENCE) as response:
        rest = b""
        async for line in lines_of(response):
            rest += line
            try:
                event = json.loads(rest)
            except ValueError:
                if len(rest) > 64 * 1024 * 1024:
                    raise
                continue  # an object larger than the buffer comes in pieces
            rest = b""
            one = event.get("object") or {}
            if event.get("type") == "ERROR":
                raise AnswerError(
                    int(one.get("code") or 500), str(one.get("reason") or ""), str(one.get("message") or "")
                )
            yield str(event.get("type", "")), one


async def changes(server: Server, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
    """Whatever changes of these and of their Pods; also each time that all of them were listed, since something may have
    changed before. Raises UnreachableError where none of it may be watched."""
    queue: asyncio.Queue[Changed | Exception] = asyncio.Queue(WAITING)
    pause = Pause()
    while True:
        try:
            places = await _places(server, resources[:RESOURCES])
            break
        except UnreachableError as error:
            if isinstance(error.__cause__, AnswerError) and 400 <= error.__cause__.status < 500:
                raise
            await pause()
    if not places:
        raise UnreachableError(f"nothing of these can be watched at {server.address}")
    watches = [asyncio.create_task(_follow(server, *place, queue)) for place in places]
    left = len(watches)
    try:
        while True:
            found = await queue.get()
            if isinstance(found, Changed):
                yield found
                continue
            left -= 1
            if not left:
                raise found
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


Wanted = Mapping[str, Resource] | Resource


async def _follow(
    server: Server,
    kind: Kind,
    namespace: str | None,
    query: Mapping[str, str],
    wanted: Wanted,
    queue: asyncio.Queue[Changed | Exception],
) -> None:
    """``wanted``: by the uid of the object or of its controller; one Resource: all that is found is about that."""
    try:
        async for event in objects(server, kind.path(namespace), query):
            for resource, one in _about(event, wanted):
                what = f"{event.what} {kind.name.lower()}" + (f"/{one['metadata']['name']}" if one else "")
                if not queue.full():  # whoever has not looked for so long looks at everything anyway
                    queue.put_nowait(Changed(resource=resource, what=what))
    except Exception as error:  # noqa: BLE001 - handed to whoever is woken, who raises it
        await queue.put(error)


def _about(event: Event, wanted: Wanted) -> list[tuple[Resource, Object | None]]:
    if event.what == "LISTED":
        first = wanted if isinstance(wanted, Resource) else next(iter(wanted.values()), None)
        return [(first, None)] if first is not None else []
    one = event.objects[0]
    if isinstance(wanted, Resource):
        return [(wanted, one)]
    uids = [one["metadata"].get("uid"), *(of.get("uid") for of in one["metadata"].get("ownerReferences") or ())]
    found = next((wanted[uid] for uid in uids if uid in wanted), None)
    return [(found, one)] if found is not None else []


async def _places(
    server: Server, resources: Sequence[Resource]
) -> list[tuple[Kind, str | None, dict[str, str], Wanted]]:
    """What to watch: the objects themselves, and the Pods of those that have some."""
    places: list[tuple[Kind, str | None, dict[str, str], Wanted]] = []
    together: dict[tuple[str, str | None], list[Resource]] = {}
    for one in resources:
        kind = KINDS.get(one.kind) or WORDS.get(one.kind.lower())
        if kind is not None and one.id:
            together.setdefault((kind.name, one.namespace), []).append(one)
    for (name, namespace), some in together.items():
        kind, wanted = KINDS[name], {one.id: one for one in some}
        alone = {"fieldSelector": f"metadata.name={some[0].name}"} if len(some) == 1 else {}
        places.append((kind, namespace, alone, wanted))
        if name == "Job":
            selector = f"{_JOB} in ({','.join(wanted)})"
            places.append((KINDS["Pod"], namespace, {"labelSelector": selector}, wanted))
        elif name in _SELECTING:
            for one in some:
                chosen = await _selector(server, kind, one)
                if chosen:
                    places.append((KINDS["Pod"], namespace, {"labelSelector": chosen}, one))
    return places


async def _selector(server: Server, kind: Kind, one: Resource) -> str:
    found = await server.get(kind.path(one.namespace, one.name))
    return selector((found or {}).get("spec", {}).get("selector") or {})


def selector(of: Mapping[str, Any]) -> str:
    """A LabelSelector as the API takes it in a query; empty: it selects nothing that could be told."""
    parts = [f"{key}={value}" for key, value in (of.get("matchLabels") or {}).items()]
    for one in of.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        word = {"In": "in", "NotIn": "notin"}.get(one.get("operator"))
        if word:
            parts.append(f"{one['key']} {word} ({values})")
        else:
            parts.append(one["key"] if one.get("operator") == "Exists" else f"!{one['key']}")
    return ",".join(parts)

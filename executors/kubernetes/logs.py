"""Logs, line by line: of one container, or of all Pods that a selector finds, those that appear later among them.

A follower that comes late or comes back misses nothing that the cluster still has, and gets no line twice: each container
is read again from a little before the last line that is had of it, and what is had already is left out by its cursor. It
must not keep what was read.

Cursors are those of ``uici.executor.cursors``; ``sinceTime`` is cut to whole seconds on its way to the kubelet.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from uici.executor import Line, Marks
from uici.executor.cursors import Cursors, known, since
from uici.model import Call, ConfigurationError, UnreachableError
from uici_executors.kubernetes.connection import AnswerError, Server
from uici_executors.kubernetes.resources import KINDS
from uici_executors.kubernetes.watch import Pause, objects

#: The client's own call, and the executor's word for what the client has none: all Pods of a selector.
ONE, ALL = "CoreV1Api.read_namespaced_pod_log", "pods.logs"
STREAMS = frozenset({ONE, ALL})

#: Seconds without a line after which a log is asked for anew, from where it stood.
SILENCE = 60.0
#: Pieces that wait for whoever reads the lines, and bytes of each; a log is read no faster.
PIECES, BYTES = 2, 64 * 1024
#: Characters of one line; the rest of a longer one is left out.
LONGEST = 256 * 1024
#: Containers that are followed at one time.
CONTAINERS = 500
#: Tries at a server that is away once nothing more is to be followed.
LAST_TRIES = 8
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a call asks for. ``name_label``: of the Pod; its value is what people call a source."""

    namespace: str
    pod: str = ""
    selector: str = ""
    container: str = ""
    name_label: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def watched(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={self.pod}"} if self.pod else {"labelSelector": self.selector}


def _wanted(call: Call) -> tuple[_Wanted, bool]:
    """And whether it is followed. Raises ConfigurationError."""
    given = call.arguments
    if call.path not in STREAMS:
        raise ConfigurationError(f"{call.path} is no stream; these are: {', '.join(sorted(STREAMS))}")
    named = ("namespace", "name") if call.path == ONE else ("namespace",)
    for name in named:
        if not _NAME.fullmatch(str(given.get(name, ""))):
            raise ConfigurationError(
                f"{call.path}: {name} is {str(given.get(name))[:100]!r}, no name of anything in Kubernetes"
            )
    if call.path == ALL and not given.get("label_selector"):
        raise ConfigurationError(f"{call.path}: an empty label_selector would follow every Pod; name a label")
    names = {"since_seconds": "sinceSeconds", "tail_lines": "tailLines"}
    query = {names[name]: str(int(value)) for name, value in given.items() if name in names and value is not None}
    wanted = _Wanted(
        namespace=given["namespace"],
        pod=given.get("name", "") if call.path == ONE else "",
        selector=given.get("label_selector", ""),
        container=given.get("container") or "",
        name_label=given.get("name_label") or "",
        query=query,
    )
    return wanted, call.path == ALL or bool(given.get("follow"))


async def stream(
    server: Server, call: Call, after: Marks | None = None, until: asyncio.Event | None = None
) -> AsyncIterator[Line]:
    """Lines as they come; without ``follow`` those that there are. Of a log that is followed the end is ``until``, or, of one
    Pod, that it ended. Raises UnreachableError, ConfigurationError."""
    wanted, follow = _wanted(call)
    if until is None or not follow:
        until = asyncio.Event()
        if not follow:
            until.set()
    following = _Following(server, wanted, after or (lambda source: ""), until)
    try:
        async for piece in following.pieces():
            for line in piece:
                yield line
    finally:
        await following.close()


@dataclass(slots=True)
class _Container:
    """One container of one Pod, as the watch last saw it. ``began``: it ran once; ``over``: it will not run again."""

    pod: str
    name: str
    uid: str
    title: str
    restarts: int = 0
    started: str = ""
    running: bool = False
    began: bool = False
    over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None

    @property
    def source(self) -> str:
        return f"{self.pod}/{self.name}"


class _Following:
    def __init__(self, server: Server, wanted: _Wanted, after: Marks, until: asyncio.Event) -> None:
        self._server, self._wanted, self._after, self._until = server, wanted, after, until
        self._had: dict[str, str] = {}
        self._path = KINDS["Pod"].path(wanted.namespace)
        self._queue: asyncio.Queue[list[Line] | Exception | None] = asyncio.Queue(PIECES)
        self._containers: dict[str, _Container] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._open: set[aiohttp.ClientResponse] = set()
        self._life: asyncio.Task[None] | None = None
        self._ended = False

    async def pieces(self) -> AsyncIterator[list[Line]]:
        """Lines, as many at a time as one read gave."""
        self._life = asyncio.create_task(self._live())
        while (found := await self._queue.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found

    async def close(self) -> None:
        tasks = {*self._readers, *([self._life] if self._life is not None else [])}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self) -> None:
        try:
            if not self._until.is_set():
                await self._watch_until()
            # What is being followed ends here; what is left of it is read once more, to its end.
            self._ended = True
            for response in list(self._open):
                response.close()
            for one in self._containers.values():
                one.changed.set()
            self._seen("LISTED", await self._last_look())
            while self._readers:
                await asyncio.wait(self._readers)
            await self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - handed to whoever reads the lines, who raises it
            await self._queue.put(error)

    async def _watch_until(self) -> None:
        """Begins a reader for each container that appears, until nothing more is wanted."""
        watching = asyncio.create_task(self._watch())
        ending = asyncio.create_task(self._until.wait())
        try:
            await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            ending.cancel()
            await asyncio.gather(watching, ending, return_exceptions=True)

    async def _watch(self) -> None:
        async with contextlib.aclosing(objects(self._server, self._path, self._wanted.watched)) as events:
            async for event in events:
                self._seen(event.what, event.objects)
                known = self._containers.values()
                if self._wanted.pod and known and all(one.over for one in known):
                    return

    async def _last_look(self) -> tuple[dict[str, Any], ...]:
        """The Pods that there are at the end: one may have come and gone between two words of the watch."""
        pause = Pause()
        for last in [False] * LAST_TRIES + [True]:
            try:
                return tuple(await self._server.items(self._path, **self._wanted.watched))
            except UnreachableError:
                if last:
                    raise
            await pause()
        return ()

    def _seen(self, what: str, pods: tuple[dict[str, Any], ...]) -> None:
        for pod in pods:
            for one in _containers(pod, self._wanted):
                one.over = one.over or what == "DELETED"
                self._know(one)
        if what == "LISTED":
            there = {pod["metadata"]["uid"] for pod in pods}
            for one in self._containers.values():
                if one.uid not in there:
                    one.over = True
                    one.changed.set()

    def _know(self, one: _Container) -> None:
        known = self._containers.get(one.source)
        if known is not None and known.uid == one.uid:
            known.restarts, known.started, known.running = one.restarts, one.started, one.running
            known.began, known.over = known.began or one.began, known.over or one.over
            known.changed.set()
            return
        if known is None and len(self._containers) >= CONTAINERS:
            return
        self._containers[one.source] = one
        one.reader = asyncio.create_task(self._read(one, known.reader if known is not None else None))
        self._readers.add(one.reader)
        one.reader.add_done_callback(self._done)

    def _done(self, reader: asyncio.Task[None]) -> None:
        self._readers.discard(reader)
        if not reader.cancelled() and (error := reader.exception()) is not None and self._life is not None:
            # One log that cannot be read at all ends the whole: whoever follows must not take silence for an empty log.
            self._life.cancel()
            failing = asyncio.ensure_future(self._queue.put(error if isinstance(error, Exception) else None))
            self._readers.add(failing)

    async def _read(self, one: _Container, before: asyncio.Task[None] | None) -> None:
        """All of one container's lines. ``before``: of another Pod that had this name; only what is had of that is known."""
        if before is not None:
            before.cancel()
            await asyncio.gather(before, return_exceptions=True)
        pause, tries = Pause(), 0
        while True:
            one.changed.clear()
            last = self._ended or one.over  # known before what is read now, so that nothing comes after it
            try:
                if one.restarts and self._mark(one.source) < one.started:
                    await self._previous(one)
                if one.began or last:
                    await self._once(one, follow=not last)
                if last:
                    return
                tries = 0
                pause.reset()
            except (AnswerError, UnreachableError, aiohttp.ClientError, OSError) as error:
                status = error.status if isinstance(error, AnswerError) else 0
                if last and status in (400, 404):
                    return  # it never ran, or it is gone
                if status == 403:
                    raise UnreachableError(f"the log of {one.source}: {error}; give this login pods/log") from error
                tries += last  # what is still followed may go on whenever its node does
                if tries > LAST_TRIES:
                    why = str(error) or "nothing came for a while"
                    raise UnreachableError(f"the log of {one.source} could not be read to its end: {why}") from error
                if isinstance(error, TimeoutError):
                    continue  # nothing was said for a while
            await self._wait(one, pause)

    async def _wait(self, one: _Container, pause: Pause) -> None:
        """Until something is known to have changed; of a container that runs not long, its log may go on."""
        waiting = asyncio.ensure_future(one.changed.wait())
        pausing = asyncio.ensure_future(pause() if one.running or one.over or self._ended else asyncio.sleep(SILENCE))
        try:
            await asyncio.wait([waiting, pausing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            pausing.cancel()
            await asyncio.gather(waiting, pausing, return_exceptions=True)

    def _mark(self, source: str) -> str:
        if source not in self._had:
            self._had[source] = known(self._after(source))
        return self._had[source]

    async def _previous(self, one: _Container) -> None:
        try:
            await self._once(one, follow=False, previous=True)
        except AnswerError as error:
            if error.status not in (400, 404):
                raise  # else the node has cleared it away

    async def _once(self, one: _Container, *, follow: bool, previous: bool = False) -> None:
        """One request: what comes after the last line that is had. An unfinished line counts only at the very end."""
        source, title = one.source, one.title
        mark = self._mark(source)
        query = {
            "container": one.name,
            "timestamps": "true",
            **({"sinceTime": f"{since(mark):%Y-%m-%dT%H:%M:%SZ}"} if mark else self._wanted.query),
        }
        if previous:
            query["previous"] = "true"
        if follow:
            query["follow"] = "true"
        cursors, rest = Cursors(), b""
        async with self._server.reading(f"{self._path}/{one.pod}/log", query, silence=SILENCE) as response:
            if follow:
                self._open.add(response)
            try:
                while chunk := await response.content.read(BYTES):
                    data = rest + chunk
                    cut = data.rfind(b"\n") + 1
                    rest = data[cut:][:LONGEST]
                    if cut:
                        await self._give(source, title, mark, cursors, data[: cut - 1])
            finally:
                self._open.discard(response)
        if rest and not follow:
            await self._give(source, title, mark, cursors, rest)

    async def _give(self, source: str, title: str, mark: str, cursors: Cursors, data: bytes) -> None:
        piece = []
        for line in data.decode("utf-8", "replace").split("\n"):
            cursor, text = cursors.of(line)
            if cursor > mark:
                piece.append(Line(text=text[:LONGEST].rstrip("\r"), cursor=cursor, source=source, name=title))
        if piece:
            await self._queue.put(piece)
            self._had[source] = piece[-1].cursor


def _containers(pod: Mapping[str, Any], wanted: _Wanted) -> list[_Container]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    states = {one["name"]: one for one in status.get("containerStatuses") or ()}
    ended = status.get("phase") in ("Succeeded", "Failed")
    found = []
    for container in pod["spec"]["containers"]:
        name = container["name"]
        if wanted.container not in ("", name):
            continue
        of = states.get(name) or {}
        state, before = of.get("state") or {}, (of.get("lastState") or {}).get("terminated") or {}
        now = state.get("running") or state.get("terminated") or before
        found.append(
            _Container(
                pod=metadata["name"],
                name=name,
                uid=metadata["uid"],
                title=(metadata.get("labels") or {}).get(wanted.name_label, ""),
                restarts=int(of.get("restartCount") or 0),
                started=str(now.get("startedAt") or ""),
                running="running" in state,
                began=bool(now),
                over=ended,
            )
        )
    return found

"""What goes on by itself: a container's log line by line, on a thread of its own, and the engine's events, on the loop.

A follower that nobody reads any more ends at once: its connection is shut, and so its thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import docker.errors
import requests
import urllib3

from uici.executor import Changed, Line, Marks
from uici.executor.cursors import Cursors, known, since
from uici.model import Call, Resource, UnreachableError
from uici_executors.docker import resources
from uici_executors.docker.connection import Exchange, exchanging
from uici_executors.docker.outcomes import unreachable
from uici_executors.docker.reads import Reads

#: Seconds that one follower lives at most; its reader begins again from the cursor.
LONGEST = 3600.0
#: Bytes of one line; the rest of a longer one is left out.
LINE = 256 * 1024
#: Items that wait for whoever reads them.
ITEMS = 256
_GONE = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


async def _followed(
    start: Callable[[], Iterable[Any]], seconds: float, base_url: str, until: asyncio.Event | None = None
) -> AsyncIterator[Any]:
    """What a blocking generator gives, item by item, until ``until``; raises UnreachableError when the engine goes away."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    room = threading.Semaphore(ITEMS)  # nothing is read faster than it is taken
    exchange = Exchange(seconds)
    ended = object()

    def put(item: Any) -> None:
        while not room.acquire(timeout=0.5):
            if exchange.expired:
                return
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        with exchanging(exchange):
            try:
                for item in start():
                    put(item)
                    if exchange.expired:
                        break
            except _GONE as error:
                put(error)
            except (ValueError, AttributeError, TypeError) as error:  # urllib3, of a connection shut under its feet
                put(error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, ended)

    async def expire(until: asyncio.Event) -> None:
        await until.wait()
        exchange.expire()

    thread = threading.Thread(target=read, name="uici-docker-follower", daemon=True)
    timer = loop.call_later(seconds, exchange.expire)
    expiring = asyncio.ensure_future(expire(until)) if until is not None else None
    thread.start()
    try:
        while (item := await queue.get()) is not ended:
            room.release()
            if isinstance(item, Exception):
                if exchange.expired:
                    return
                raise UnreachableError(unreachable(item, base_url)) from item
            yield item
    finally:
        timer.cancel()
        exchange.expire()
        if expiring is not None:
            expiring.cancel()
            await asyncio.gather(expiring, return_exceptions=True)


async def lines(reads: Reads, call: Call, after: Marks | None, until: asyncio.Event | None) -> AsyncIterator[Line]:
    """Of ``Container.logs`` with its arguments; follows where ``follow`` says so. Cursors: ``uici.executor.cursors``."""
    if call.on is None or call.path != "Container.logs":
        raise ValueError(f"{call.path} gives no lines; only Container.logs does")
    mark = known(after(call.on.name)) if after is not None else ""
    follow = bool(call.arguments.get("follow")) and not (until is not None and until.is_set())
    async for line in _pass(reads, call, call.on, mark, follow, until if follow else None):
        mark = line.cursor
        yield line
    if follow and until is not None and until.is_set():
        # It was cut off; what was said until then is read to its end.
        async for line in _pass(reads, call, call.on, mark, False, None):
            yield line


async def _pass(
    reads: Reads, call: Call, on: Resource, mark: str, follow: bool, until: asyncio.Event | None
) -> AsyncIterator[Line]:
    """One request: what comes after the mark. Of a log that was cut off, an unfinished line does not count."""
    arguments = {key: value for key, value in call.arguments.items() if key not in ("stream", "timestamps", "follow")}
    if mark:
        arguments["since"] = int(since(mark).timestamp())
        arguments.pop("tail", None)
    client, cursors = await reads.client(), Cursors()

    def start() -> Iterable[bytes]:
        chunks: Iterable[bytes] = client.api.logs(on.id, stream=True, timestamps=True, follow=follow, **arguments)
        return chunks

    rest = b""
    async for chunk in _followed(start, call.timeout, reads.base_url, until):
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[:LINE]
        for one in whole:
            line = _line(one, on.name, cursors)
            if line.cursor > mark:
                yield line
    if rest and not (until is not None and until.is_set()):
        line = _line(rest, on.name, cursors)
        if line.cursor > mark:
            yield line


def _line(data: bytes, source: str, cursors: Cursors) -> Line:
    cursor, text = cursors.of(data[:LINE].decode("utf-8", "replace"))
    return Line(text=text.rstrip("\r"), cursor=cursor, source=source)


async def changes(reads: Reads, wanted: Sequence[Resource]) -> AsyncIterator[Changed]:
    """Of the watched resources, whatever the engine reports of their containers."""
    owners = {one.owner: one for one in wanted if one.owner}
    ids = {one.id: one for one in wanted}

    async for event in reads.events(LONGEST, type=["container"]):
        actor = event.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        seen = resources.container(
            "", {"Id": actor.get("ID", ""), "Names": [f"/{attributes.get('name', '')}"], "Labels": attributes}
        )
        one = ids.get(seen.id) or owners.get(seen.owner)
        if one is not None:
            yield Changed(resource=one, what=str(event.get("Action", "")))

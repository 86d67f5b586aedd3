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

from uici.executor import Changed, Line
from uici.model import Call, Resource, UnreachableError
from uici_executors.docker import resources
from uici_executors.docker.connection import Exchange, exchanging, unreachable
from uici_executors.docker.reads import Reads

#: Seconds that one follower lives at most; its reader begins again from the cursor.
LONGEST = 3600.0
_GONE = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


async def _followed(start: Callable[[], Iterable[Any]], seconds: float, base_url: str) -> AsyncIterator[Any]:
    """What a blocking generator gives, item by item; raises UnreachableError when the engine goes away."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    exchange = Exchange(seconds)
    ended = object()

    def put(item: Any) -> None:
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
            put(ended)

    thread = threading.Thread(target=read, name="uici-docker-follower", daemon=True)
    timer = loop.call_later(seconds, exchange.expire)
    thread.start()
    try:
        while (item := await queue.get()) is not ended:
            if isinstance(item, Exception):
                if exchange.expired:
                    return
                raise UnreachableError(unreachable(item, base_url)) from item
            yield item
    finally:
        timer.cancel()
        exchange.expire()


async def lines(reads: Reads, call: Call) -> AsyncIterator[Line]:
    """Of ``Container.logs`` with its arguments; follows where ``follow`` says so. ``cursor``: time of the line."""
    if call.on is None or call.path != "Container.logs":
        raise ValueError(f"{call.path} gives no lines; only Container.logs does")
    arguments = {key: value for key, value in call.arguments.items() if key not in ("stream", "timestamps")}
    name, key, client = call.on.name, call.on.id, await reads.client()

    def start() -> Iterable[bytes]:
        chunks: Iterable[bytes] = client.api.logs(key, stream=True, timestamps=True, **arguments)
        return chunks

    rest = b""
    async for chunk in _followed(start, call.timeout, reads.base_url):
        *whole, rest = (rest + chunk).split(b"\n")
        for one in whole:
            yield _line(one, name)
    if rest:
        yield _line(rest, name)


def _line(data: bytes, source: str) -> Line:
    cursor, _, text = data.decode("utf-8", "replace").partition(" ")
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

"""``GET /api/v1/events``: the journal as server-sent events. The id of an event is its ``seq``.

A follower that comes back with ``Last-Event-ID`` misses nothing. It must not slow the journal down: each follower reads
for itself and their number is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
from aiohttp import web

from uici.daemon.problem import unavailable, wrong_shape
from uici.daemon.server import Daemon
from uici.daemon.tokens import Caller
from uici.daemon.words import entry_json
from uici.journal import KINDS, Entry, Journal

STREAMS = 64
_BEAT = 15.0


async def get_events(daemon: Daemon, request: web.Request, caller: Caller) -> web.StreamResponse:
    if daemon.streams >= STREAMS:
        raise unavailable("saturated", f"{STREAMS} followers read already; close one", 10)
    query = request.query
    kinds = frozenset(query["kinds"].split(",") if "kinds" in query else ())
    if unknown := kinds - KINDS:
        raise wrong_shape("kinds", f"{sorted(unknown)[0][:64]!r} is none of: {', '.join(sorted(KINDS))}")
    last = request.headers.get("Last-Event-ID") or query.get("after")
    if last is not None and not (last.isascii() and last.isdigit() and len(last) < 19):
        raise wrong_shape("after", "the seq of an entry is wanted: a whole number")
    one, incident = query.get("request"), query.get("incident")
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    daemon.streams += 1
    try:
        after = int(last) if last is not None else await daemon.journal.size()
        await response.prepare(request)
        await response.write(b": uici\n\n")
        if last is None and (one or incident):
            # Asked about one matter: what is known of it already comes first.
            asked = sorted(kinds)
            for entry in await daemon.journal.entries(request=one, incident=incident, kinds=asked, limit=10_000):
                if entry.seq <= after:
                    await response.write(event(entry))
        async for found in _with_beats(daemon, after):
            if found is None:
                await response.write(b": beat\n\n")
            elif (
                (not kinds or found.kind in kinds)
                and (not one or found.request == one)
                and (not incident or found.incident == incident)
            ):
                await response.write(event(found))
        with contextlib.suppress(ConnectionResetError):
            await response.write_eof()
    except ConnectionResetError:
        pass  # the follower has gone; it comes back with Last-Event-ID
    finally:
        daemon.streams -= 1
    return response


def event(entry: Entry) -> bytes:
    # JSON has no raw newline, so one data line is enough.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        entry.seq,
        entry.kind.encode(),
        orjson.dumps(entry_json(entry), default=str),
    )


async def _with_beats(daemon: Daemon, after: int) -> AsyncIterator[Entry | None]:
    """New entries; None when nothing came for a while. Ends when the daemon stops."""
    queue: asyncio.Queue[Entry] = asyncio.Queue(maxsize=256)
    feeding = asyncio.create_task(_feed(daemon.journal, after, queue))
    stopping = asyncio.create_task(daemon.stop.wait())
    try:
        while not daemon.stop.is_set() and not feeding.done():
            getting = asyncio.create_task(queue.get())
            done, _ = await asyncio.wait(
                [getting, stopping, feeding], timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED
            )
            if getting in done:
                yield getting.result()
            else:
                getting.cancel()
                if not done:
                    yield None
    finally:
        for task in (feeding, stopping):
            task.cancel()
        await asyncio.gather(feeding, stopping, return_exceptions=True)


async def _feed(journal: Journal, after: int, queue: asyncio.Queue[Entry]) -> None:
    async for entry in journal.follow(after):
        await queue.put(entry)

"""``GET /api/v1/requests/{id}/logs``: the lines of a Request's logs as server-sent events, while it runs and after.

The id of an event says what its follower has of each source, so whoever comes back with ``Last-Event-ID`` misses nothing
that the engine still has, to another daemon too. A slow follower slows nobody: it is written to as fast as it reads. It
must not read a log itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote, unquote

import orjson
from aiohttp import web

from uici.daemon.events import STREAMS
from uici.daemon.problem import ProblemError, unavailable, wrong_shape
from uici.daemon.server import Daemon
from uici.daemon.tokens import Caller
from uici.engine.feed import Feed, Had, Piece, digest
from uici.engine.logs import NoLogsError
from uici.model import Result, UICIError

_BEAT = 15.0
#: Characters of an id: up to so many every line has its own, above the last of each piece; more than MOST no header takes.
EACH, MOST = 512, 7000
#: As the header and ``after`` are written.
AFTER = r"^$|^[A-Za-z0-9_-]{8}=[!-+\--<>-~]{1,200}(,[A-Za-z0-9_-]{8}=[!-+\--<>-~]{1,200})*$"
_AFTER = re.compile(AFTER, re.ASCII)
_PLAIN = "+:."


async def get_logs(daemon: Daemon, request: web.Request, caller: Caller) -> web.StreamResponse:
    """``follow=false``: what there is now."""
    if daemon.streams >= STREAMS:
        raise unavailable("saturated", f"{STREAMS} followers read already; close one", 10)
    after = request.headers.get("Last-Event-ID") or request.query.get("after", "")
    if len(after) > MOST or not _AFTER.fullmatch(after):
        raise wrong_shape("after", "the id of an event of these logs is wanted")
    follow = request.query.get("follow", "true")
    if follow not in ("true", "false"):
        raise wrong_shape("follow", "true or false is wanted")
    if not daemon.started or daemon.stopping:
        raise unavailable("stopping" if daemon.stopping else "starting", "nothing can be followed now; try again")
    id = request.match_info["id"]
    daemon.streams += 1
    try:
        feed = await daemon.infrastructure.logs(id)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        await response.write(b": uici\n\n")
        await _send(daemon, feed, id, _had(after), response, follow=follow == "true")
        return response
    except NoLogsError as error:
        code, cure = ("no_logs", "") if error.known else ("not_found", "; GET /api/v1/requests lists them")
        raise ProblemError(404, code, f"{error}{cure}") from None
    finally:
        daemon.streams -= 1


async def _send(daemon: Daemon, feed: Feed, id: str, had: Had, response: web.StreamResponse, *, follow: bool) -> None:
    problem: str | None = None
    with contextlib.suppress(ConnectionResetError):  # the follower has gone; it comes back with Last-Event-ID
        try:
            async with contextlib.aclosing(
                _with_beats(daemon, feed.follow(had) if follow else feed.read(had))
            ) as pieces:
                async for piece in pieces:
                    if piece is None:
                        await response.write(b": beat\n\n")
                        continue
                    had = piece.had
                    await response.write(events(piece))
            problem = feed.problem if follow else None
        except UICIError as error:
            problem = str(error)
        if not daemon.stop.is_set():
            result = await _result(daemon, id) if follow else None
            await response.write(_end(result, problem, had))
            await response.write_eof()


async def _with_beats(daemon: Daemon, pieces: AsyncIterator[Piece]) -> AsyncGenerator[Piece | None, None]:
    """Pieces; None when nothing came for a while. Ends when the daemon stops."""
    stopping = asyncio.create_task(daemon.stop.wait())
    getting: asyncio.Future[Piece] | None = None
    try:
        while not daemon.stop.is_set():
            getting = getting or asyncio.ensure_future(anext(pieces))
            waits: set[asyncio.Future[Any]] = {getting, stopping}
            done, _ = await asyncio.wait(waits, timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
            if getting in done:
                try:
                    piece = getting.result()
                except StopAsyncIteration:
                    return
                getting = None
                yield piece
            elif not done:
                yield None
    finally:
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        if getting is not None:
            getting.cancel()
            await asyncio.gather(getting, return_exceptions=True)
        await pieces.aclose()  # type: ignore[attr-defined]  # an async generator, typed as an iterator


async def _result(daemon: Daemon, id: str) -> Result | None:
    return await daemon.infrastructure.wait(id) or await daemon.journal.result(id)


def events(piece: Piece) -> bytes:
    """All lines of a piece; made once for all who are sent it."""
    made: bytes | None = piece.made.get("events")
    if made is None:
        made = piece.made["events"] = _events(piece)
    return made


def _events(piece: Piece) -> bytes:
    parts: list[bytes] = []
    had = {source: _part(source, cursor) for source, cursor in piece.before.items()}
    each = len(piece.had) * 48 <= EACH
    last = len(piece.lines) - 1
    for number, line in enumerate(piece.lines):
        source = digest(line.source)
        had[source] = _part(source, line.cursor)
        data: dict[str, Any] = {"source": line.source, "cursor": line.cursor, "text": line.text}
        if line.name:
            data["name"] = line.name
        if each or number == last:
            parts.append(b"id: %s\n" % _id(had).encode())
        # JSON has no raw newline, so one data line is enough.
        parts.append(b"data: %s\n\n" % orjson.dumps(data))
    return b"".join(parts)


def _part(source: str, cursor: str) -> str:
    return f"{source}={quote(cursor, safe=_PLAIN)}"


def _id(parts: dict[str, str]) -> str:
    """Of more sources than a header can hold those that were heard of last: the others begin anew."""
    text = ",".join(parts.values())
    while len(text) > MOST:
        newest = sorted(parts.values(), key=lambda part: part[9:])[-(len(parts) * MOST // len(text)) or -1 :]
        text = ",".join(newest)[:MOST].rpartition(",")[0] if len(",".join(newest)) > MOST else ",".join(newest)
    return text


def _had(text: str) -> Had:
    return {part[:8]: unquote(part[9:]) for part in text.split(",") if part}


def _end(result: Result | None, problem: str | None, had: Had) -> bytes:
    """The last event: how the Request ended. ``problem``: why lines may be missing."""
    data = {
        "status": result.status.value if result else None,
        "reason": result.reason.value if result and result.reason else None,
        "message": result.message if result else "",
        "problem": problem,
    }
    id = _id({source: _part(source, cursor) for source, cursor in had.items()})
    return b"id: %s\nevent: end\ndata: %s\n\n" % (id.encode(), orjson.dumps(data))

"""A feed: the lines of one Request's logs, read once for all who follow them.

The newest lines are kept in a window of bounded size. Whoever is within it shares what was read; whoever comes late or
falls behind it reads for itself, from the engine, what it does not have, until the window has the rest. So a slow follower
slows nobody, none misses what the engine still has, and none gets a line twice. The feed is read as fast as its fastest
follower reads. It must not know what a stream is of, nor how its lines leave the process.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from uici.executor import Line, Marks
from uici.model import UICIError
from uici.model.record import dataclass

#: Lines and bytes of one piece, and bytes that the window may hold. A line counts more than its text.
LINES, BYTES, WINDOW = 256, 128 * 1024, 4 * 1024 * 1024
_OVERHEAD = 200
#: Seconds that the feed waits for one who is about to fall out of the window; once, until it is within it anew.
GRACE = 0.2
#: Seconds until a stream that ended, or that could not be read, is opened again; and how often after the Request's end.
PAUSE, LAST_TRIES = 0.5, 10

#: Digest of a source -> cursor of the last line that somebody has of it.
Had = Mapping[str, str]
Streams = Callable[[Marks, asyncio.Event], AsyncIterator[Line]]


@lru_cache(maxsize=4096)
def digest(source: str) -> str:
    """Eight characters that stand for a source."""
    return base64.urlsafe_b64encode(hashlib.blake2b(source.encode(), digest_size=6).digest()).decode()


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some lines in their order. ``before``: what whoever reads it had until then; ``had``: has then. ``made``: kept by the
    doors, so that what all followers are sent is made once."""

    lines: tuple[Line, ...]
    before: Had
    had: Had
    size: int
    made: dict[str, Any]


def piece(lines: tuple[Line, ...], before: Had) -> Piece:
    had = {**before, **{digest(line.source): line.cursor for line in lines}}
    return Piece(lines, before, had, sum(len(line.text) + _OVERHEAD for line in lines), {})


@dataclass(slots=True, eq=False)
class _Follower:
    """``at``: bytes of the feed that it has taken; None: it is not within the window now. ``waited_for``: it had its grace."""

    grown: asyncio.Event
    at: int | None = None
    waited_for: bool = False


class Feed:
    """``streams``: the lines of all streams, after what somebody has and until an event; raises any UICIError. ``ended``: set
    when the Request has ended. ``problem``: why nothing can be read at this time. Nothing is read while nobody follows."""

    def __init__(self, streams: Streams, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._streams, self._sleep = streams, sleep
        self.ended = asyncio.Event()
        self.problem: str | None = None
        self._followers: set[_Follower] = set()
        self._reading: asyncio.Task[None] | None = None
        self._window: deque[tuple[int, Piece]] = deque()  # with the bytes of the feed at its end
        self._head = self._kept = 0
        self._had: Had = {}
        self._pending: list[Line] = []
        self._pending_size = 0
        self._full = False
        self._complete = False
        self._room = asyncio.Event()

    @property
    def followers(self) -> int:
        return len(self._followers)

    async def read(self, after: Had) -> AsyncIterator[Piece]:
        """What there is now, read by itself; raises UICIError."""
        now = asyncio.Event()
        now.set()
        async for one in self._alone(dict(after), now):
            yield one

    async def follow(self, after: Had) -> AsyncIterator[Piece]:
        """To the end of the Request, and what was left then."""
        follower, had = _Follower(asyncio.Event()), dict(after)
        self._followers.add(follower)
        if self._reading is None:
            # From the beginning, or where the last one left it: what a follower says that it has is no measure for others.
            self._reading = asyncio.create_task(self._read())
        try:
            while True:
                if not self._covers(had):
                    begins = self._begins()
                    async with contextlib.aclosing(self._alone(had, _set())) as pieces:
                        async for one in pieces:
                            had.update(one.had)
                            yield one
                            if self._covers(had):
                                break
                        else:
                            # What the engine does not have any more is not waited for.
                            had.update({source: max(mark, had.get(source, "")) for source, mark in begins.items()})
                    continue
                async for one in self._along(follower, had):
                    yield one
                if follower.at is not None:
                    return
        finally:
            self._followers.discard(follower)
            self._room.set()
            if not self._followers and (reading := self._reading) is not None:
                self._reading = None  # whoever comes next begins another one
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _covers(self, had: Had) -> bool:
        """Whether the window, or what is read next, has all that somebody does not have yet."""
        return all(had.get(source, "") >= mark for source, mark in self._begins().items())

    def _begins(self) -> Had:
        return self._window[0][1].before if self._window else self._had

    async def _alone(self, had: dict[str, str], until: asyncio.Event) -> AsyncGenerator[Piece, None]:
        lines: list[Line] = []
        size = 0
        begin = dict(had)
        before: Had = begin
        async for line in self._streams(lambda source: begin.get(digest(source), ""), until):
            lines.append(line)
            size += len(line.text)
            if len(lines) >= LINES or size >= BYTES:
                made, lines, size = piece(tuple(lines), before), [], 0
                before = made.had
                yield made
        if lines:
            yield piece(tuple(lines), before)

    async def _along(self, follower: _Follower, had: dict[str, str]) -> AsyncIterator[Piece]:
        """Pieces of the window, from its beginning; ends at the feed's end, or (``at`` is None then) where it fell behind."""
        first = self._head - self._kept
        follower.at, follower.waited_for = first, False
        exact = False  # whether it has just what the feed had there
        while True:
            follower.grown.clear()
            index = self._index(follower.at)
            if index is None:
                follower.at = None
                return
            if index >= len(self._window):
                if self._complete:
                    return
                self._room.set()
                await follower.grown.wait()
                continue
            end, shared = self._window[index]
            made = shared if exact else _rest(shared, had)
            had.update(made.had)
            exact = exact or all(cursor == shared.had.get(source) for source, cursor in had.items())
            if made.lines:
                yield made
            if follower.at is not None:
                follower.at = end
            self._room.set()

    def _index(self, at: int) -> int | None:
        """Of the piece that begins there; None: it is not kept any more."""
        if at < self._head - self._kept:
            return None
        if at == self._head:
            return len(self._window)
        low, high = 0, len(self._window)
        while low < high:
            middle = (low + high) // 2
            if self._window[middle][0] <= at:
                low = middle + 1
            else:
                high = middle
        return low

    async def _read(self) -> None:
        tries = 0
        while True:
            ended = self.ended.is_set()  # before what is read now, so that nothing comes after it
            try:
                async for line in self._streams(self._had_of, self.ended):
                    await self._take(line)
                self.problem, tries = None, 0
                if ended:
                    break
            except UICIError as error:
                self.problem, tries = str(error), tries + 1
                if ended and tries >= LAST_TRIES:
                    break
            except Exception as error:  # noqa: BLE001 - a plugin's bug must not leave its followers waiting for ever
                self.problem, tries = f"{type(error).__name__}: {error}", tries + 1
                if ended and tries >= LAST_TRIES:
                    break
            self._flush()
            await self._pause()
        self._flush()
        self._complete = True
        for follower in self._followers:
            follower.grown.set()

    def _had_of(self, source: str) -> str:
        return self._had.get(digest(source), "")

    async def _take(self, line: Line) -> None:
        if not self._pending:
            # As soon as there is nothing more at hand: lines that come together are handed on together.
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append(line)
        self._pending_size += len(line.text)
        if len(self._pending) >= LINES or self._pending_size >= BYTES:
            self._flush()
            await self._wait_for_slow()
        while self._full and self._unread() > WINDOW // 2:
            self._room.clear()
            await self._room.wait()
        self._full = False

    async def _wait_for_slow(self) -> None:
        """A little: whoever falls out of the window costs a reading of its own, and is mostly as fast as the others."""
        until = asyncio.get_running_loop().time() + GRACE
        while late := [one for one in self._followers if self._is_late(one)]:
            self._room.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._room.wait()
            except TimeoutError:
                for one in late:
                    one.waited_for = True

    def _is_late(self, one: _Follower) -> bool:
        if one.at is None or one.waited_for or one.at < self._head - self._kept:
            return False
        return self._head - one.at > WINDOW * 3 // 4

    def _unread(self) -> int:
        """Bytes that nobody has taken yet."""
        taken = max((one.at for one in self._followers if one.at is not None), default=self._head - self._kept)
        return self._head - taken

    def _flush(self) -> None:
        if not self._pending:
            return
        made = piece(tuple(self._pending), self._had)
        self._pending.clear()
        self._pending_size = 0
        self._had = made.had
        self._head += made.size
        self._kept += made.size
        self._window.append((self._head, made))
        while self._kept > WINDOW and len(self._window) > 1:
            self._kept -= self._window.popleft()[1].size
        self._full = self._unread() > WINDOW // 2
        for follower in self._followers:
            follower.grown.set()

    async def _pause(self) -> None:
        sleeping = asyncio.ensure_future(self._sleep(PAUSE))
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            waits = [sleeping] if self.ended.is_set() else [sleeping, ending]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (sleeping, ending):
                one.cancel()
            await asyncio.gather(sleeping, ending, return_exceptions=True)


def _rest(shared: Piece, had: Had) -> Piece:
    """What somebody does not have yet of a piece."""
    lines = tuple(line for line in shared.lines if line.cursor > had.get(digest(line.source), ""))
    if len(lines) == len(shared.lines) and had == shared.before:
        return shared
    return piece(lines, dict(had))


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event

"""A feed, over logs that the test owns: every follower gets every line once and in order, however slow, late or cut off."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from uici.engine import feed as feeds
from uici.engine.feed import Feed, Piece, digest
from uici.executor import Line, Marks
from uici.model import UnreachableError


class Logs:
    """What an engine has: lines by source. ``faults``: how many more reads break off in the middle. ``ends``: a stream ends by
    itself (a container that stopped)."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.grown = asyncio.Event()
        self.faults = 0
        self.ends = False
        self.reads = 0

    def say(self, source: str, count: int = 1) -> None:
        said = self.lines.setdefault(source, [])
        said += [f"{source} {number}" for number in range(len(said), len(said) + count)]
        self.grown.set()

    async def stream(self, after: Marks, until: asyncio.Event) -> AsyncIterator[Line]:
        self.reads += 1
        at: dict[str, int] = {}
        while True:
            ended = until.is_set()
            self.grown.clear()
            for source, said in list(self.lines.items()):
                begin = at.setdefault(source, int(after(source)) + 1 if after(source) else 0)
                for number in range(begin, len(said)):
                    yield Line(text=said[number], cursor=f"{number:09d}", source=source)
                    at[source] = number + 1
                    if self.faults and number % 7 == 6:
                        self.faults -= 1
                        raise UnreachableError("gone")
                await asyncio.sleep(0)
            if ended or self.ends:
                return
            waits = [asyncio.ensure_future(self.grown.wait()), asyncio.ensure_future(until.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def feed_of(logs: Logs) -> Feed:
    return Feed(logs.stream, sleep=lambda _: asyncio.sleep(0))


async def all_of(pieces: AsyncIterator[Piece], slow: float = 0.0) -> list[Line]:
    found: list[Line] = []
    async with asyncio.timeout(30):
        async for piece in pieces:
            found += piece.lines
            await asyncio.sleep(slow)
    return found


def whole(logs: Logs, lines: list[Line]) -> bool:
    by_source: dict[str, list[str]] = {}
    for line in lines:
        by_source.setdefault(line.source, []).append(line.text)
    return by_source == logs.lines


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of some twenty lines, pieces of four."""
    monkeypatch.setattr(feeds, "WINDOW", 20 * feeds._OVERHEAD)
    monkeypatch.setattr(feeds, "LINES", 4)


async def test_ten_followers_share_one_reading() -> None:
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 1000)
    followers = [asyncio.create_task(all_of(feed.follow({}))) for _ in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
        logs.say("b", 50)
    feed.ended.set()
    for follower in followers:
        assert whole(logs, await follower)
    assert logs.reads <= 2, "once, and once more for what came at the end"


async def test_a_slow_follower_slows_nobody_and_misses_nothing(small: None) -> None:
    """The fast one is through while the slow one has hardly begun, and what was read meanwhile is not kept."""
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 400)
    gate = asyncio.Event()

    async def blocked() -> list[Line]:
        found: list[Line] = []
        async for piece in feed.follow({}):
            found += piece.lines
            await gate.wait()
        return found

    slow = asyncio.create_task(blocked())
    await asyncio.sleep(0)
    fast = asyncio.create_task(all_of(feed.follow({})))
    feed.ended.set()
    assert whole(logs, await fast)
    assert feed._kept <= feeds.WINDOW
    assert not slow.done()
    gate.set()
    assert whole(logs, await asyncio.wait_for(slow, 30))


async def test_one_who_is_about_to_fall_behind_is_waited_for_a_little(small: None) -> None:
    """Or everybody whose turn comes a little later would have to read for himself."""
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 200)
    followers = [asyncio.create_task(all_of(feed.follow({}), slow)) for slow in (0.0, 0.001, 0.002)]
    await asyncio.sleep(0)
    feed.ended.set()
    for follower in followers:
        assert whole(logs, await follower)
    assert logs.reads <= 2


async def test_the_feed_is_read_as_fast_as_its_fastest_follower(small: None) -> None:
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 400)
    pieces = feed.follow({})
    first = await anext(pieces)
    for _ in range(200):
        await asyncio.sleep(0)
    assert feed._head <= feeds.WINDOW + first.size, "nobody takes more, so no more is read"
    feed.ended.set()
    rest = await all_of(pieces)
    assert whole(logs, [*first.lines, *rest])
    assert logs.reads <= 2, "one alone never has to read for itself"


async def test_late_and_cut_off_followers_miss_nothing(small: None) -> None:
    """Whoever is cut off anywhere and comes back with what it had gets the rest, and nothing twice."""
    seeded = random.Random(7)
    logs = Logs()
    feed = feed_of(logs)
    steady = asyncio.create_task(all_of(feed.follow({})))

    async def restless() -> list[Line]:
        found: list[Line] = []
        had: dict[str, str] = {}
        while True:
            async with contextlib.aclosing(feed.follow(had)) as pieces:
                left = seeded.randrange(1, 6)
                async for piece in pieces:
                    found += piece.lines
                    had = dict(piece.had)
                    left -= 1
                    await asyncio.sleep(0)
                    if not left:
                        break
                else:
                    return found

    others = [asyncio.create_task(restless()) for _ in range(5)]
    for _ in range(60):
        logs.say(seeded.choice("abc"), seeded.randrange(1, 30))
        for _ in range(seeded.randrange(5)):
            await asyncio.sleep(0)
    others += [asyncio.create_task(restless()) for _ in range(5)]
    await asyncio.sleep(0)
    feed.ended.set()
    for follower in (steady, *others):
        assert whole(logs, await asyncio.wait_for(follower, 30))


async def test_an_engine_that_goes_away_is_asked_again_from_where_it_stood() -> None:
    logs = Logs()
    logs.say("a", 100)
    logs.faults = 5
    feed = feed_of(logs)
    follower = asyncio.create_task(all_of(feed.follow({})))
    while logs.faults:  # noqa: ASYNC110 - the log owns no event
        await asyncio.sleep(0)
    feed.ended.set()
    assert whole(logs, await follower)
    assert feed.problem is None


async def test_a_stream_that_ends_by_itself_is_opened_again() -> None:
    logs = Logs()
    logs.ends = True
    feed = feed_of(logs)
    follower = asyncio.create_task(all_of(feed.follow({})))
    for _ in range(10):
        logs.say("a", 3)
        for _ in range(10):
            await asyncio.sleep(0)
    feed.ended.set()
    assert whole(logs, await follower)
    assert logs.reads > 2


async def test_an_engine_that_stays_away_ends_with_the_reason() -> None:
    logs = Logs()

    async def broken(after: Marks, until: asyncio.Event) -> AsyncIterator[Line]:
        raise UnreachableError("no route")
        yield

    feed = Feed(broken, sleep=lambda _: asyncio.sleep(0))
    feed.ended.set()
    assert await all_of(feed.follow({})) == []
    assert feed.problem == "no route"
    assert logs.reads == 0


async def test_a_bug_of_a_plugin_does_not_leave_its_followers_waiting() -> None:
    async def broken(after: Marks, until: asyncio.Event) -> AsyncIterator[Line]:
        raise KeyError("oops")
        yield

    feed = Feed(broken, sleep=lambda _: asyncio.sleep(0))
    feed.ended.set()
    assert await all_of(feed.follow({})) == []
    assert "oops" in str(feed.problem)


async def test_what_the_engine_has_lost_is_not_waited_for(small: None) -> None:
    logs = Logs()
    feed = feed_of(logs)
    logs.say("gone", 100)
    first = asyncio.create_task(all_of(feed.follow({})))
    while feed._had.get(digest("gone")) != f"{99:09d}":  # noqa: ASYNC110
        await asyncio.sleep(0)
    del logs.lines["gone"]
    late = asyncio.create_task(all_of(feed.follow({})))
    await asyncio.sleep(0)
    logs.say("here", 5)
    feed.ended.set()
    assert {line.source for line in await late} >= {"here"}
    assert len(await first) == 105


async def test_nobody_left_ends_the_reading_and_whoever_comes_then_begins_it_anew() -> None:
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 3)
    pieces = feed.follow({})
    await anext(pieces)
    reading = feed._reading
    await pieces.aclose()  # type: ignore[attr-defined]
    assert reading is not None
    assert reading.done()
    late = asyncio.create_task(all_of(feed.follow({})))
    await asyncio.sleep(0)
    logs.say("a", 2)
    feed.ended.set()
    assert whole(logs, await late)


async def test_what_is_made_of_a_piece_is_made_once() -> None:
    logs = Logs()
    feed = feed_of(logs)
    logs.say("a", 10)
    feed.ended.set()
    seen: list[list[Piece]] = []

    async def pieces() -> None:
        seen.append([piece async for piece in feed.follow({})])

    await asyncio.gather(pieces(), pieces())
    assert [id(piece) for piece in seen[0]] == [id(piece) for piece in seen[1]]

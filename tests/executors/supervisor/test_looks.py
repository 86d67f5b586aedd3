"""Who asks at one moment shares one look at the supervisord; who asks later gets one that was begun after they asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.supervisord import STAYS, Supervisord, supervisord
from tests.executors.supervisor.opening import opened
from uici.executor import Target
from uici.model import UnreachableError
from uici_executors.supervisor import place as looks

pytestmark = pytest.mark.engine("supervisord")


@pytest.fixture(scope="module")
def place() -> Iterator[Supervisord]:
    with supervisord({"web": STAYS}) as one:
        yield one


class Counted:
    """Stands before ``look``. While ``held`` is set, a look that has begun does not end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self._look = threading.Semaphore(0), threading.Event(), looks.look
        self.count = 0
        self.go.set()
        monkeypatch.setattr(looks, "look", self)

    def __call__(self, *arguments: Any) -> looks.Snapshot:
        self.count += 1
        self.begun.release()
        self.go.wait(30)
        return self._look(*arguments)


async def test_who_asks_at_one_moment_shares_a_look(place: Supervisord, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    async with opened(place.url) as executor:
        wanted = [Target(kind="service", name=name) for name in ("web", "none") * 8]
        found = await asyncio.gather(*(executor.locate(one) for one in wanted))
        assert [len(one) for one in found] == [1, 0] * 8
        assert counted.count == 1


async def test_who_asks_after_a_look_began_gets_a_newer_one(
    place: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    async with opened(place.url) as executor:
        counted.go.clear()
        first = asyncio.create_task(executor.engine_id())
        await asyncio.to_thread(counted.begun.acquire, timeout=30)
        second = asyncio.create_task(executor.engine_id())
        await asyncio.to_thread(counted.begun.acquire, timeout=30)
        counted.go.set()
        assert await first == await second
        assert counted.count == 2


async def test_one_who_gives_up_leaves_the_others_their_look(
    place: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    async with opened(place.url) as executor:
        counted.go.clear()
        asked = [asyncio.create_task(executor.engine_id()) for _ in range(3)]
        await asyncio.to_thread(counted.begun.acquire, timeout=30)
        asked[0].cancel()
        await asyncio.wait([asked[0]])
        counted.go.set()
        assert await asked[1] == await asked[2]
        assert (asked[0].cancelled(), counted.count) == (True, 1)


async def test_all_are_told_that_nobody_answers() -> None:
    async with opened("unix:///no/such.sock") as executor:
        asked = [executor.engine_id() for _ in range(3)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in told] == [UnreachableError] * 3

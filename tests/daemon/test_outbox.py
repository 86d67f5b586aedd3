"""The outbox: people are told, by the real apprise over real HTTP; and what happens when they cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.daemon.working import LIMIT, Sleeper
from tests.engine.rehearsal import Time
from tests.journal import samples
from uici.daemon.outbox import Outbox
from uici.journal import Entry, Escalation, Journal, open_journal
from uici.model import JournalError

# apprise still asks imghdr on Pythons that have it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Receiver:
    """Somebody's webhook; answers 500 while it is ``broken``."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.broken = False
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.broken:
            raise web.HTTPInternalServerError
        self.told.append(body)
        return web.Response()


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    receiving = Receiver()
    application = web.Application()
    application.router.add_post("/", receiving.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiving.url = f"json://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield receiving
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def sending(folder: Path, *to: str, **more: Any) -> AsyncIterator[tuple[Outbox, Journal, Sleeper, Time]]:
    time = Time()
    sleeper = Sleeper(time)
    journal = await open_journal(f"sqlite:///{folder}/j.db", clock=time.clock)
    outbox = Outbox(journal, to, clock=time.clock, sleep=sleeper.sleep, random=random.Random(0), **more)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox, journal, sleeper, time
    finally:
        task.cancel()
        await asyncio.wait([task])
        await journal.close()


async def deliveries(journal: Journal, count: int) -> list[Entry]:
    async with asyncio.timeout(LIMIT):
        async for _ in journal.follow():
            found = await journal.entries(kinds=("delivery",))
            if len(found) >= count:
                return found
    raise AssertionError("unreachable")


async def test_every_address_is_told_once(tmp_path: Path) -> None:
    async with (
        receiver() as one,
        receiver() as two,
        sending(tmp_path, one.url, two.url) as (outbox, journal, _, _),
    ):
        await journal.append(samples.escalation("e1"))
        outbox.wake()
        (delivery,) = await deliveries(journal, 1)
        assert (delivery.data["ok"], delivery.data["next_at"]) == (True, None)
        assert [[said["title"] for said in receiving.told] for receiving in (one, two)] == [["t"], ["t"]]
        assert await journal.outbox_size() == 0
        assert outbox.ready() is None


async def test_an_address_that_fails_is_tried_again_and_the_other_is_not_told_twice(tmp_path: Path) -> None:
    async with (
        receiver() as one,
        receiver() as two,
        sending(tmp_path, one.url, two.url) as (outbox, journal, sleeper, time),
    ):
        two.broken = True
        await journal.append(samples.escalation("e1"))
        outbox.wake()
        (delivery,) = await deliveries(journal, 1)
        assert not delivery.data["ok"]
        assert 5 <= delivery.data["next_at"] - time.now <= 6
        assert "127.0.0.1" not in delivery.data["message"]
        assert outbox.ready() is not None
        two.broken = False
        sleeper.advance(7)
        outbox.wake()
        again = (await deliveries(journal, 2))[1]
        assert (again.data["ok"], again.data["attempt"]) == (True, 2)
        assert (len(one.told), len(two.told)) == (1, 1)
        assert outbox.ready() is None


async def test_what_was_not_delivered_survives_a_restart(tmp_path: Path) -> None:
    async with sending(tmp_path) as (outbox, journal, _, _):
        await journal.append(samples.escalation("e1"))
        assert "escalate_to" in (outbox.ready() or "")
    async with receiver() as one, sending(tmp_path, one.url) as (_, journal, _, _):
        await deliveries(journal, 1)
        assert len(one.told) == 1


async def test_attempts_wait_longer_and_longer_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uici.daemon.outbox.ATTEMPTS", 12)

    def never(addresses: Any, row: Any) -> list[str]:
        raise RuntimeError("nobody there")

    async with sending(tmp_path, "json://nowhere", send=never) as (outbox, journal, sleeper, _):
        await journal.append(samples.escalation("e1"))
        outbox.wake()
        sleeper.flow()
        found = await deliveries(journal, 12)
        waits = [one.data["next_at"] - one.at for one in found[:-1]]
        assert waits[0] < waits[3] < waits[6]
        assert max(waits) <= 900 * 1.2
        assert found[-1].data["next_at"] is None
        assert "given up" in found[-1].data["message"]
        assert await journal.outbox_size() == 0


async def test_an_address_that_is_none_says_so_and_stops_nothing(tmp_path: Path) -> None:
    async with receiver() as one, sending(tmp_path, "nonsense", one.url) as (outbox, journal, _, _):
        await journal.append(samples.escalation("e1"))
        outbox.wake()
        (delivery,) = await deliveries(journal, 1)
        assert not delivery.data["ok"]
        assert len(one.told) == 1


async def test_what_is_new_does_not_wait_for_all_that_an_address_did_not_take(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    begun, go = threading.Event(), threading.Event()

    def slow(_: Any, row: Escalation) -> list[str]:
        told.append((row.id, row.attempt))
        if row.attempt:
            begun.set()
            go.wait(LIMIT)
        return ["json://nowhere"]

    async with sending(tmp_path, "json://nowhere", send=slow) as (outbox, journal, sleeper, _):
        await journal.append(*(samples.escalation(f"old{number}") for number in range(5)))
        outbox.wake()
        await deliveries(journal, 5)
        told.clear()
        sleeper.advance(7)
        outbox.wake()
        await asyncio.to_thread(begun.wait, LIMIT)
        await journal.append(samples.escalation("new"))
        outbox.wake()
        go.set()
        await deliveries(journal, 11)
        assert told[1] == ("new", 0), told


async def test_what_was_told_and_could_not_be_written_is_not_told_again(tmp_path: Path) -> None:
    async with receiver() as one, sending(tmp_path, one.url) as (outbox, journal, _, _):
        append, failed = journal.append, asyncio.Event()

        async def full(*entries: Entry) -> int:
            failed.set()
            raise JournalError("disk full")

        await append(samples.escalation("e1"))
        journal.append = full  # type: ignore[method-assign]  # the real journal, on a disk that is full
        outbox.wake()
        await asyncio.wait_for(failed.wait(), LIMIT)
        journal.append = append  # type: ignore[method-assign]  # there is room again
        outbox.wake()
        await deliveries(journal, 1)
        assert len(one.told) == 1

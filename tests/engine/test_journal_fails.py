"""The journal fails in the middle of a walk: nothing acts without it, nothing is lost, nothing stays behind in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.engine.rehearsal import Rehearsal, rehearsing, write_world
from uici.journal import Entry
from uici.model import JournalError, Reason, Status


class FullDisk:
    """The journal takes no entry of this kind, as a full disk would not, until there is room again."""

    def __init__(self, rehearsal: Rehearsal, kind: str) -> None:
        self._journal, self._kind, self._append = rehearsal.journal, kind, rehearsal.journal.append
        self.refused = asyncio.Event()
        self._journal.append = self._refuse  # type: ignore[method-assign]

    async def _refuse(self, *entries: Entry) -> int:
        if any(entry.kind == self._kind for entry in entries):
            self.refused.set()
            raise JournalError("the disk is full: make room")
        return await self._append(*entries)

    def make_room(self) -> None:
        self._journal.append = self._append  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", ["request", "intent"])
async def test_nothing_acts_that_cannot_be_written_down_before(kind: str, folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, kind)
        with pytest.raises(JournalError, match="make room"):
            await rehearsal.run("restart_service", service="web")
        assert rehearsal.effects == []
        assert not await rehearsal.entries("intent")
        disk.make_room()
        again = await rehearsal.run("restart_service", service="web")
        while again.reason is Reason.BUSY:
            again = await rehearsal.run("restart_service", service="web")
        assert again.ok, again.message
        assert await rehearsal.journal.unsettled() == []
        assert rehearsal.infrastructure.running() == []


@pytest.mark.parametrize("kind", ["outcome", "result"])
async def test_what_was_done_is_settled_by_evidence_when_there_is_room_again(kind: str, folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, kind)
        with pytest.raises(JournalError, match="make room"):
            await rehearsal.run("restart_service", service="web")
        (request,) = [entry.request for entry in await rehearsal.entries("request")]
        assert request is not None
        try:
            meanwhile = await rehearsal.run("restart_service", service="web", by="runbook:down")
        except JournalError:
            pass
        else:
            assert meanwhile.reason is Reason.BUSY, "nobody else acts there while that is not written down"
        disk.make_room()
        result = await asyncio.wait_for(rehearsal.infrastructure.wait(request), 10)
        assert result is not None
        assert result.status is Status.DONE, result.message
        assert rehearsal.effects == ["Service.restart web"], "once"
        assert (await rehearsal.run("restart_service", service="web")).ok, "and its target is free again"
        assert rehearsal.infrastructure.running() == []


async def test_a_doubt_that_could_not_be_written_down_closes_its_target_later(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "outcome")
        with pytest.raises(JournalError):
            await rehearsal.run("restart_blindly", service="web")
        disk.make_room()
        (request,) = [entry.request for entry in await rehearsal.entries("request")]
        result = await asyncio.wait_for(rehearsal.infrastructure.wait(str(request)), 10)
        assert result is not None
        assert result.status is Status.IN_DOUBT
        assert await rehearsal.journal.closed_keys()
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["in_doubt"]


async def test_a_doubt_its_closed_target_and_its_escalation_are_one_transaction(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_after"}])
    async with rehearsing(folder) as rehearsal:
        appended: list[list[str]] = []
        append = rehearsal.journal.append

        async def note(*entries: Entry) -> int:
            appended.append([entry.kind for entry in entries])
            return await append(*entries)

        rehearsal.journal.append = note  # type: ignore[method-assign]
        assert (await rehearsal.run("restart_blindly", service="web")).status is Status.IN_DOUBT
        assert sorted(appended[-1]) == ["closed", "escalation", "result"]


async def test_whoever_waits_for_a_target_that_ends_in_doubt_finds_it_closed(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_after"}])
    async with rehearsing(folder) as rehearsal:
        blind = asyncio.create_task(rehearsal.run("restart_blindly", service="web"))
        while not await rehearsal.entries("request"):  # noqa: ASYNC110 - the journal is what is waited for
            await asyncio.sleep(0)
        waiting = [
            asyncio.create_task(rehearsal.run("restart_service", service="web", by="runbook:down")) for _ in range(3)
        ]
        assert (await blind).status is Status.IN_DOUBT
        assert {(await one).reason for one in waiting} == {Reason.CLOSED}
        assert rehearsal.effects == ["Service.restart web"]


async def test_a_question_of_a_plan_that_was_not_written_down_holds_up_its_next_change(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "result")
        asked = await rehearsal.run("service_status", service="web", incident="one")
        assert asked.ok, "nobody waits for that"
        with pytest.raises(JournalError, match="make room"):
            await rehearsal.run("restart_service", service="web", incident="one")
        assert rehearsal.effects == []
        (request,) = [entry.request for entry in await rehearsal.entries("request")]
        disk.make_room()
        await asyncio.wait_for(rehearsal.infrastructure.wait(str(request)), 10)
        await rehearsal.run("service_status", service="web", incident="two")
        assert (await rehearsal.run("restart_service", service="web", incident="two")).ok, "its own were"
        kinds = [entry.kind for entry in await rehearsal.entries() if entry.incident == "two"]
        assert kinds[:4] == ["result", "request", "before", "intent"], "in their order"

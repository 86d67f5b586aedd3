"""The daemon dies at each of its writes in turn, and starts again: nothing is forgotten, nothing is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from tests.daemon.working import LIMIT, Dying, working
from tests.engine.rehearsal import write_world
from uici.journal import Journal
from uici.model import IncidentState

ENDS = (IncidentState.WATCHING, IncidentState.ESCALATED)
FAILED = {"state": "failed"}


async def _dies_at(folder: Path, write: int, durable: bool, alert: str) -> bool:
    """Whether it lived long enough to get there; false when all was over before."""
    dying: list[Dying] = []

    def dies(journal: Journal) -> Journal:
        dying.append(Dying(journal, write, durable))
        return cast(Journal, dying[0])

    async with working(folder, dies=dies) as work:
        await dying[0].living.append(work.accepted(work.alert(alert, service="web")))
        work.worker.wake()
        over = asyncio.create_task(work.one(*ENDS))
        died = asyncio.create_task(dying[0].died.wait())
        await asyncio.wait([over, died], return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT)
        for task in (over, died):
            task.cancel()
        await asyncio.wait([over, died])
        return dying[0].died.is_set()


@pytest.mark.parametrize("durable", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 16))
async def test_a_restart_at_any_write_ends_with_one_restart(folder: Path, write: int, durable: bool) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    died = await _dies_at(folder, write, durable, "ServiceDown")
    async with working(folder) as work:
        (incident,) = await work.until(lambda found: found and found[0].state in ENDS)
        assert work.effects == ["Service.restart web"], died
        assert incident.state is IncidentState.WATCHING
        assert incident.reason is None
        assert [one.operation for one in incident.tried if one.changed] == ["restart_service"]
        assert await work.told() == []


@pytest.mark.parametrize("durable", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 16))
async def test_what_nobody_can_tell_after_a_restart_is_never_done_again(
    folder: Path, write: int, durable: bool
) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    await _dies_at(folder, write, durable, "Once")
    async with working(folder) as work:
        (incident,) = await work.until(lambda found: found and found[0].state in ENDS)
        assert len(work.effects) <= 1
        if incident.state is IncidentState.ESCALATED:
            assert incident.reason == "in_doubt"
            assert len(await work.told()) == 1
        else:
            assert work.effects == ["Service.restart web"]


async def test_the_matrix_covers_every_write(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    assert not await _dies_at(folder, 15, False, "ServiceDown")


async def test_a_step_that_did_not_help_before_the_restart_is_not_tried_again(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "stays_ill": True, "image": "2"}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.until(lambda found: found and len([one for one in found[0].tried if one.changed]) == 1)
    async with working(folder) as work:
        (incident,) = await work.until(lambda found: found and found[0].state in ENDS)
        assert work.effects.count("Service.restart web") == 1
        assert [one.operation for one in incident.tried if one.changed] == ["restart_service", "deploy_service"]

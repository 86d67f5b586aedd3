"""The journal fails in the middle of a runbook's step: what was done is found out before the plan goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.daemon.working import working
from tests.engine.rehearsal import write_world
from tests.engine.test_journal_fails import FullDisk
from uici.model import IncidentState


@pytest.mark.parametrize("kind", ["intent", "outcome", "result"])
async def test_a_step_whose_journal_failed_is_not_done_twice(kind: str, folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"state": "failed", "health": "unhealthy"}, "db": {}})
    async with working(folder) as work:
        disk = FullDisk(work, kind)
        await work.post(work.alert(service="web"))
        async with asyncio.timeout(10):
            await disk.refused.wait()
        disk.make_room()
        for _ in range(20):
            work.advance(5)
            await asyncio.sleep(0.01)
        incident = await work.one(IncidentState.WATCHING)
        assert work.effects == ["Service.restart web"], "once"
        assert [one.status for one in incident.tried if one.changed] == ["done"]
        assert await work.journal.unsettled() == []

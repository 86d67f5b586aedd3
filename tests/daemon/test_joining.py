"""Accepted alerts on their way into incidents: one engine that does not answer delays its own alerts, and those not for long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.working import LIMIT, Working, working
from tests.engine.rehearsal import write_world
from uici.daemon import joining
from uici.model import IncidentState, Resource, UnreachableError

WATCHING, ESCALATED = IncidentState.WATCHING, IncidentState.ESCALATED
FAILED = {"state": "failed"}


class Engine:
    """Of the environment ``careful``, in front of the real one: it hangs, fails, or answers each other time. ``asked``: how often."""

    def __init__(self, work: Working, how: str) -> None:
        self.how, self.asked, self._real = how, 0, work.infrastructure.locate
        self.busy = asyncio.Event()
        work.infrastructure.locate = self.locate  # type: ignore[method-assign]  # this stands before the real one

    async def locate(self, environment: str, *what: Any) -> list[Resource]:
        if environment == "careful":
            self.asked += 1
            if self.asked == 5:
                self.busy.set()
            if self.how == "hangs":
                await asyncio.Event().wait()
            if self.how == "fails" or self.asked % 2:
                raise UnreachableError("it is down")
        return await self._real(environment, *what)


@pytest.mark.parametrize("how", ["hangs", "fails"])
async def test_alerts_about_an_engine_that_does_not_answer_hold_up_no_others(
    folder: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of them wait, and for longer: those that are being placed, and those that are held back."""
    monkeypatch.setattr(joining, "BATCH", 5)
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        engine = Engine(work, how)
        await work.post(*(work.alert(service=f"s{number}", cluster="careful") for number in range(30)))
        await asyncio.wait_for(engine.busy.wait(), LIMIT)
        await work.post(work.alert(service="web"))
        incident = await work.one(WATCHING)
        assert incident.target is not None
        assert work.effects == ["Service.restart web"]
        assert len(await work.journal.waiting_alerts(without=["stage"])) == 30
        assert await work.journal.waiting_alerts(without=["careful", None]) == []


async def test_alerts_of_several_environments_are_taken_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "BATCH", 5)
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        hangs = Engine(work, "hangs")
        await work.post(
            *(work.alert(service=f"s{number}", cluster="careful") for number in range(20)),
            work.alert(service="web", cluster="none"),
            work.alert(service="web"),
        )
        found = await work.until(lambda found: {one.state for one in found} == {WATCHING, ESCALATED})
        assert {one.environment for one in found} == {None, "stage"}
        assert hangs.asked == 5


@pytest.mark.parametrize(("how", "asked"), [("hangs", 16), ("fails", 16), ("answers each other time", 100)])
async def test_an_engine_that_gives_no_answer_is_not_asked_for_each_alert(
    folder: Path, how: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are asked at once tell enough; all of them escalate then, where their time is over."""
    monkeypatch.setattr(joining, "FAIR", 0.05)
    write_world(folder / "world.json", {f"s{number}": {} for number in range(100)})
    async with working(folder) as work:
        engine = Engine(work, how)
        alerts = [work.alert(service=f"s{number}", cluster="careful") for number in range(100)]
        await work.journal.append(*(work.accepted(alert) for alert in alerts))
        work.time.now += joining.PATIENCE + 1
        work.worker.wake()
        await work.joined(100)
        found = await work.journal.incidents(limit=200)
        assert engine.asked == asked
        unreachable = [one for one in found if one.reason == "unreachable"]
        assert len(unreachable) == (100 if asked == 16 else 50)
        assert all("it is down" in one.message or "careful: no answer within" in one.message for one in unreachable)

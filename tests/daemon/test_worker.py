"""The worker from outside: alerts are posted, and the incidents, the world and the outbox are looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.daemon.working import working
from tests.engine.rehearsal import write_world
from uici.journal import Entry
from uici.model import IncidentState

WATCHING, RESOLVED, ESCALATED = IncidentState.WATCHING, IncidentState.RESOLVED, IncidentState.ESCALATED
FAILED = {"state": "failed"}


async def test_a_service_that_is_down_is_restarted_once_and_watched_until_its_alert_goes(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        incident = await work.one(WATCHING)
        assert work.effects == ["Service.restart web"]
        assert [(one.operation, one.changed, one.step) for one in incident.tried] == [
            ("service_status", False, None),
            ("service_status", False, 0),
            ("restart_service", True, 1),
        ]
        await work.post(work.alert(service="web", resolved=True))
        incident = await work.one(RESOLVED)
        assert (incident.outcome, incident.reopened) == ("recovered", 0)
        assert await work.told() == []
        (attempt,) = await work.journal.attempts(since=0)
        assert attempt.verdict == "recovered"


async def test_ten_alerts_about_ten_targets_are_ten_incidents_and_ten_about_one_are_one(folder: Path) -> None:
    services = {f"s{number}": FAILED for number in range(10)} | {"web": FAILED}
    write_world(folder / "world.json", services)
    async with working(folder) as work:
        ten = [work.alert(service=f"s{number}") for number in range(10)]
        await work.post(*ten, *(work.alert(service="web", instance=str(number)) for number in range(10)))
        found = await work.until(lambda found: len(found) == 11 and all(one.state is WATCHING for one in found))
        assert sorted(len(one.alerts) for one in found) == [1] * 10 + [10]
        assert sorted(work.effects) == sorted(f"Service.restart {name}" for name in services)


async def test_the_same_alert_from_two_alertmanagers_is_one_action_and_the_earliest_start_is_kept(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        first, second = work.alert(service="web"), work.alert(service="web", ago=3)
        await work.post(first)
        await work.post(second)
        await work.post(first)
        await work.joined(3)
        incident = await work.one(WATCHING)
        assert incident.started_at == second.starts_at
        assert len(await work.journal.incidents()) == 1
        assert work.effects == ["Service.restart web"]


async def test_verified_but_still_firing_did_not_help_and_the_next_step_is_tried(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "image": "2"}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        work.change_world(services={**work.world["services"], "web": {**work.world["services"]["web"], **FAILED}})
        work.advance(901)
        incident = (await work.until(lambda found: any(one.operation == "deploy_service" for one in found[0].tried)))[0]
        assert incident.tried[-1].step == 2
        assert "not_recovered" in [one.verdict for one in await work.journal.attempts(since=0)]


async def test_an_alert_that_went_without_a_verified_change_is_no_success(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        await work.post(work.alert(service="web", resolved=True))
        assert (await work.one(RESOLVED)).outcome == "inconclusive"


async def test_a_firing_that_began_before_the_end_reopens_and_a_later_one_is_new(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        await work.post(work.alert(service="web", resolved=True))
        first = await work.one(RESOLVED)
        late = work.alert(service="web", ago=1)
        work.advance(60)
        await work.post(late)
        again = await work.one(WATCHING, ESCALATED)
        assert (again.id, again.reopened) == (first.id, 1)
        assert [one.verdict for one in await work.journal.attempts(since=0)] == ["not_recovered"]
        await work.post(work.alert(service="web", resolved=True))
        await work.one(RESOLVED)
        work.advance(60)
        await work.post(work.alert(service="web"))
        new = (await work.until(lambda found: len(found) == 2))[0]
        assert new.previous == first.id


async def test_a_resolved_alert_ends_only_a_firing_that_began_before(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        late = work.alert(service="web", resolved=True)
        work.advance(10)
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        await work.post(late)
        await work.joined(2)
        assert (await work.journal.incidents())[0].state is WATCHING


async def test_a_resolved_alert_of_nothing_is_dropped(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="web", resolved=True))
        await work.joined(1)
        assert await work.journal.incidents() == []
        assert await work.journal.waiting_count() == 0


async def test_old_matters_are_forgotten(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        await work.post(work.alert(service="web", resolved=True))
        await work.one(RESOLVED)
        work.advance(91 * 86400)
        async with asyncio.timeout(10):
            while await work.journal.incidents():
                await work.journal.append(Entry(kind="started", data={}))
        assert {one.kind for one in await work.journal.entries()} == {"started"}

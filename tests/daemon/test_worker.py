"""The worker from outside: alerts are posted, and the incidents, the world and the outbox are looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.working import working
from tests.engine.rehearsal import write_world
from uici.catalog import UniversalConfigLoader
from uici.daemon.storm import storm
from uici.journal import Entry
from uici.model import IncidentState, JournalError, Origin, Request, Result

OPEN, ACTING, WATCHING = IncidentState.OPEN, IncidentState.ACTING, IncidentState.WATCHING
RESOLVED, ESCALATED = IncidentState.RESOLVED, IncidentState.ESCALATED
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
            ("service_status", False, None),
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


async def test_still_firing_with_no_step_left_escalates_and_says_what_was_tried(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(WATCHING)
        work.advance(901)
        incident = await work.one(ESCALATED)
        assert incident.reason == "verification"
        (row,) = await work.told()
        assert row.reason == "verification"
        assert "tried: restart_service: done, recovered" in row.message
        assert work.effects == ["Service.restart web"]


async def test_a_step_that_did_not_help_is_followed_by_the_next_and_at_last_by_a_person(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "stays_ill": True}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        incident = await work.one(ESCALATED)
        assert incident.reason == "verification"
        assert incident.tried[-1].verification == "not_recovered"
        assert len(await work.told()) == 1


async def test_trouble_that_is_not_seen_changes_nothing_and_escalates_if_it_still_fires(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        incident = await work.one(WATCHING)
        assert incident.reason == "nothing_to_do"
        assert work.effects == []
        work.advance(901)
        incident = await work.one(ESCALATED)
        assert incident.reason == "nothing_to_do"


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


async def test_alerts_join_an_escalated_incident_and_nothing_more_is_tried_until_they_resolve(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "stays_ill": True}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        await work.one(ESCALATED)
        effects = work.effects
        await work.post(work.alert(service="web", instance="other"))
        await work.joined(2)
        work.advance(2000)
        await work.post(work.alert(service="web"))
        await work.joined(3)
        assert work.effects == effects
        assert len(await work.told()) == 1
        await work.post(
            work.alert(service="web", resolved=True), work.alert(service="web", instance="other", resolved=True)
        )
        assert (await work.one(RESOLVED)).outcome == "inconclusive"


async def test_a_person_who_gives_an_escalated_target_back_lets_it_begin_anew(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "stays_ill": True}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        incident = await work.one(ESCALATED)
        work.change_world(services={"web": {**work.world["services"]["web"], "stays_ill": False}})
        await work.infrastructure.reopen(incident.key, "human:anna")
        work.worker.wake()
        again = await work.one(WATCHING)
        assert again.id == incident.id
        assert again.tried[-1].verification == "recovered"


REFUSED = [
    ({"service": "nothing"}, "unknown_target"),
    ({}, "unknown_target"),
    ({"service": "web", "cluster": "nowhere"}, "unknown_environment"),
    ({"service": "web", "cluster": "twice"}, "ambiguous_environment"),
    ({"service": "web", "job": "uici"}, "self"),
    ({"service": "own"}, "self"),
    ({"service": "web", "cluster": "careful"}, "autonomy"),
    ({"service": "vault-1"}, "protected"),
    ({"service": "web", "cluster": "shadow"}, "dry_run"),
    ({"service": "web; rm -rf /"}, "unknown_target"),
    ({"service": "id-of-we"}, "unknown_target"),
]


@pytest.mark.parametrize(("labels", "reason"), REFUSED, ids=[f"{reason}: {labels}" for labels, reason in REFUSED])
async def test_what_may_not_be_touched_is_escalated_with_its_reason(
    folder: Path, labels: dict[str, str], reason: str
) -> None:
    write_world(folder / "world.json", {"web": FAILED, "own": FAILED, "vault-1": FAILED}, self=["own"])
    async with working(folder) as work:
        await work.post(work.alert("ServiceDown", 0.0, False, **labels))
        incident = await work.one(ESCALATED)
        assert incident.reason == reason
        assert work.effects == []
        (row,) = await work.told()
        assert row.reason == reason


async def test_the_last_resort_looks_and_says_what_it_found(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED, "db": {"labels": {"listed": "yes"}}})
    async with working(folder) as work:
        await work.post(work.alert("Odd", service="web"), work.alert("Strange", service="db"))
        await work.until(lambda found: [one.state for one in found] == [ESCALATED, ESCALATED])
        assert {row.reason for row in await work.told()} == {"inconclusive"}
        assert all('"service":"db"' in row.message for row in await work.told())


async def test_an_alert_that_no_runbook_matches_is_escalated(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert("Nobody", service="web"))
        assert (await work.one(ESCALATED)).reason == "not_offered"


async def test_what_nobody_can_tell_is_in_doubt_and_escalates_at_once(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED}, [{"call": "Service.restart", "then": "unknown_before"}])
    async with working(folder) as work:
        await work.post(work.alert("Once", service="web"))
        assert (await work.one(ESCALATED)).reason == "in_doubt"
        assert await work.journal.closed_keys() != {}


async def test_a_service_whose_dependency_is_down_is_not_restarted_in_vain(folder: Path) -> None:
    write_world(folder / "world.json", {"front": FAILED, "db": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="front"))
        work.sleeper.flow()
        incident = await work.one(ESCALATED)
        assert incident.reason == "dependency"
        assert "front depends on db, which is failed" in incident.message
        assert work.effects == []


async def test_a_dependency_with_its_own_incident_is_waited_for(folder: Path) -> None:
    write_world(folder / "world.json", {"front": FAILED, "db": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="front"), work.alert(service="db"))
        found = await work.until(lambda found: len(found) == 2 and all(one.state is WATCHING for one in found))
        assert {one.target.name: one.reason for one in found if one.target} == {"front": "dependency", "db": None} or (
            work.effects == ["Service.restart db", "Service.restart front"]
        )
        work.worker.wake()
        await work.until(lambda found: all(one.state is WATCHING and one.reason is None for one in found))
        assert work.effects == ["Service.restart db", "Service.restart front"]


async def test_a_paused_environment_waits_and_goes_on_when_it_may(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.infrastructure.pause("stage", "human:anna")
        await work.post(work.alert(service="web"))
        assert (await work.one(OPEN)).state is OPEN
        work.advance(6)
        await work.infrastructure.resume("stage", "human:anna")
        work.advance(6)
        await work.one(WATCHING)
        assert work.effects == ["Service.restart web"]


async def test_an_engine_that_is_down_keeps_no_alert_and_is_escalated(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        work.change_world(down=True)
        await work.post(work.alert(service="web"))
        work.sleeper.flow()
        incident = await work.one(ESCALATED)
        assert incident.reason == "unreachable"
        assert await work.journal.waiting_alerts() == []


async def test_an_engine_that_comes_back_in_time_is_healed(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        work.change_world(down=True)
        await work.post(work.alert(service="web"))
        work.change_world(down=False)
        work.sleeper.flow()
        await work.one(WATCHING)
        assert work.effects == ["Service.restart web"]


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


async def test_a_removed_environment_is_escalated(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder, run=False) as work:
        await work.post(work.alert(service="web", cluster="careful"))
        await work.journal.append()
    text = (folder / "catalog" / "environments.yml").read_text()
    lines = [line for line in text.splitlines() if "careful" not in line]
    (folder / "catalog" / "environments.yml").write_text("\n".join(lines))
    async with working(folder) as work:
        assert (await work.one(ESCALATED)).reason == "unknown_environment"


async def test_one_stuck_target_delays_nobody_and_one_target_is_acted_on_once_at_a_time(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED, "other": FAILED})
    async with working(folder) as work:
        gate = asyncio.Event()
        execute = work.infrastructure.execute

        async def stuck(request: Request, origin: Origin, **more: Any) -> Result:
            if request.operation == "restart_service" and request.parameters["service"] == "web":
                await gate.wait()
            return await execute(request, origin, **more)

        work.infrastructure.execute = stuck  # type: ignore[method-assign]
        await work.post(work.alert(service="web"))
        await work.until(lambda found: found and found[0].state is ACTING)
        await work.post(work.alert(service="other"), work.alert(service="web", instance="2"))
        await work.until(lambda found: found[0].state is WATCHING)
        assert work.effects == ["Service.restart other"]
        gate.set()
        found = await work.until(lambda found: all(one.state is WATCHING for one in found))
        assert sorted(len(one.alerts) for one in found) == [1, 2]
        assert work.effects == ["Service.restart other", "Service.restart web"]


async def test_only_so_many_incidents_are_worked_on_at_once(folder: Path) -> None:
    write_world(folder / "world.json", {f"s{number}": FAILED for number in range(12)})
    async with working(folder) as work:
        running = most = 0
        execute = work.infrastructure.execute

        async def counted(request: Request, origin: Origin, **more: Any) -> Result:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await execute(request, origin, **more)
            finally:
                running -= 1

        work.infrastructure.execute = counted  # type: ignore[method-assign]
        await work.post(*(work.alert(service=f"s{number}") for number in range(12)))
        await work.until(lambda found: len(found) == 12 and all(one.state is WATCHING for one in found))
        assert most == 4  # worker.incidents_at_once of the catalog


async def test_a_bug_met_by_one_incident_keeps_no_other_from_being_healed(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED, "other": FAILED})
    async with working(folder) as work:
        execute = work.infrastructure.execute

        async def broken(request: Request, origin: Origin, **more: Any) -> Result:
            if request.parameters.get("service") == "web":
                raise RuntimeError("a bug")
            return await execute(request, origin, **more)

        work.infrastructure.execute = broken  # type: ignore[method-assign]
        await work.post(work.alert(service="web"), work.alert(service="other"))
        found = await work.until(lambda found: len(found) == 2 and not {one.state for one in found} & {OPEN, ACTING})
        assert {one.target.name: one.state for one in found if one.target} == {"web": ESCALATED, "other": WATCHING}


async def test_a_journal_that_fails_for_a_while_loses_nothing(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        append, failing = work.journal.append, True

        async def failed(*entries: Entry) -> int:
            if failing:
                tried.set()
                raise JournalError("disk full")
            return await append(*entries)

        tried = asyncio.Event()
        await append(work.accepted(work.alert(service="web")))
        work.journal.append = failed  # type: ignore[method-assign]
        work.worker.wake()
        await asyncio.wait_for(tried.wait(), 10)
        assert work.effects == []
        failing = False
        work.sleeper.flow()
        await work.one(WATCHING, ESCALATED)
        assert work.effects == ["Service.restart web"]


async def test_a_storm_that_has_passed_ends(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await storm(work.journal, "too many", work.time.clock)
        work.worker.wake()
        await work.one(ESCALATED)
        work.sleeper.flow()
        assert (await work.one(RESOLVED)).outcome == "inconclusive"


async def test_a_service_that_dies_again_and_again_is_left_to_a_person(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        for count in range(3):
            await work.post(work.alert(service="web"))
            await work.one(WATCHING)
            assert len(await work.journal.incidents()) == count + 1
            await work.post(work.alert(service="web", resolved=True))
            await work.one(RESOLVED)
            work.advance(120)
            work.change_world(services={"web": {**work.world["services"]["web"], **FAILED}})
        await work.post(work.alert(service="web"))
        assert (await work.one(ESCALATED)).reason == "brake"
        assert len(work.effects) == 3


async def test_an_alert_whose_environment_was_mended_is_healed_when_it_is_given_back(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="web", cluster="new"))
        incident = await work.one(ESCALATED)
        assert incident.reason == "unknown_environment"
        mended = (folder / "catalog" / "environments.yml").read_text().replace('cluster=""', 'cluster=~"|new"')
        (folder / "catalog" / "environments.yml").write_text(mended)
        await work.infrastructure.replace(UniversalConfigLoader(folder / "catalog").load())
        await work.infrastructure.reopen(incident.key, "human:anna")
        work.worker.wake()
        again = await work.one(WATCHING)
        assert (again.id, again.environment) == (incident.id, "stage")
        assert work.effects == ["Service.restart web"]


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

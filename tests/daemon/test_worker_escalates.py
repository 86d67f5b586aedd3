"""What the worker leaves to a person, with its reason, and how a person gives it back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.daemon.working import LIMIT, working
from tests.engine.rehearsal import write_world
from uici.catalog import UniversalConfigLoader
from uici.daemon.storm import storm
from uici.journal import Entry
from uici.model import IncidentState, JournalError

WATCHING, RESOLVED, ESCALATED = IncidentState.WATCHING, IncidentState.RESOLVED, IncidentState.ESCALATED
FAILED = {"state": "failed"}


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


@pytest.mark.parametrize("restarted", [False, True], ids=["", "and then UICI is restarted"])
@pytest.mark.parametrize("undone", [True, False], ids=["undone", "not undone"])
async def test_a_command_that_is_paused_halfway_is_told_to_a_person(
    folder: Path, undone: bool, restarted: bool
) -> None:
    """It was begun, so it does not wait for the pause's end to begin anew."""
    write_world(folder / "world.json", {"web": FAILED}, [] if undone else [{"call": "Service.set", "then": "rejected"}])
    async with working(folder) as work:
        append, over, dead = work.journal.append, asyncio.Event(), False

        async def pausing(*entries: Entry) -> int:
            nonlocal dead
            if dead:
                raise JournalError("the process is dead")
            seq = await append(*entries)
            if any(entry.kind == "outcome" for entry in entries) and not await work.journal.paused():
                await work.infrastructure.pause(None, "human:bo")
            if any(entry.kind == "result" and entry.data["changed"] for entry in entries):
                dead = restarted
                over.set()
            return seq

        work.journal.append = pausing  # type: ignore[method-assign]  # the real journal, and somebody who pauses
        await work.post(work.alert("Release", service="web"))
        await asyncio.wait_for(over.wait(), LIMIT)
        if not restarted:
            await work.one(ESCALATED)
    async with working(folder) as work:
        if restarted:
            await work.infrastructure.resume(None, "human:bo")
            work.worker.wake()
        incident = await work.one(ESCALATED)
        (done,) = [one for one in incident.tried if one.operation == "deploy_service"]
        assert (done.status, done.reason, done.changed) == ("failed", "paused", True)
        assert len(await work.told()) == 1
        assert bool(await work.journal.closed_keys()) is not undone
        assert work.effects.count("services.create") == 1


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


async def test_what_was_given_back_while_the_daemon_did_not_run_begins_anew_at_its_start_and_once(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {**FAILED, "stays_ill": True}})
    async with working(folder) as work:
        await work.post(work.alert(service="web"))
        incident = await work.one(ESCALATED)
    async with working(folder, run=False) as work:
        await work.infrastructure.reopen(incident.key, "human:anna")
    async with working(folder) as work:
        work.change_world(down=True)
        await work.until(lambda found: found[0].state is ESCALATED and found[0].reason != incident.reason)
    async with working(folder) as work:
        work.change_world(down=False)
        await work.post(work.alert("Nobody", service="web"))
        await work.joined(2)
        opened = [one for one in await work.journal.entries(kinds=("incident",)) if one.data["state"] == "open"]
        assert len(opened) == 2, "when it began, and when it was given back"


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


async def test_an_engine_that_is_down_keeps_no_alert_and_is_escalated(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        work.change_world(down=True)
        await work.post(work.alert(service="web"))
        work.sleeper.flow()
        incident = await work.one(ESCALATED)
        assert incident.reason == "unreachable"
        assert await work.journal.waiting_alerts() == []


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

"""What the worker waits for, and that nothing else waits with it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from tests.daemon.working import working
from tests.engine.rehearsal import write_world
from uici.journal import Entry
from uici.model import IncidentState, JournalError, Origin, Request, Result, UnreachableError

OPEN, ACTING, WATCHING = IncidentState.OPEN, IncidentState.ACTING, IncidentState.WATCHING
ESCALATED = IncidentState.ESCALATED
FAILED = {"state": "failed"}


async def test_a_service_whose_dependency_is_down_is_not_restarted_in_vain(folder: Path) -> None:
    write_world(folder / "world.json", {"front": FAILED, "db": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="front"))
        work.sleeper.flow()
        incident = await work.one(ESCALATED)
        assert incident.reason == "dependency"
        assert "front depends on db, which is failed" in incident.message
        assert work.effects == []


async def test_an_alert_that_joins_while_a_dependency_is_looked_for_is_kept(folder: Path) -> None:
    write_world(folder / "world.json", {"front": FAILED, "db": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="front"))
        await work.one(ACTING)
        await work.post(work.alert("FrontSlowDown", service="front"))
        await work.joined(2)
        work.sleeper.flow()
        incident = await work.one(ESCALATED)
        assert incident.reason == "dependency"
        assert sorted(one.name for one in incident.alerts) == ["FrontSlowDown", "ServiceDown"]


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


async def test_what_waits_for_something_that_waits_itself_is_not_looked_at_until_that_has_recovered(
    folder: Path,
) -> None:
    write_world(folder / "world.json", {"page": FAILED, "front": FAILED, "db": FAILED})
    async with working(folder) as work:
        gate, asked = asyncio.Event(), asyncio.Event()
        execute = work.infrastructure.execute

        async def slow(request: Request, origin: Origin, **more: Any) -> Result:
            if request.operation == "restart_service" and request.parameters["service"] == "db":
                asked.set()
                await gate.wait()
            return await execute(request, origin, **more)

        work.infrastructure.execute = slow  # type: ignore[method-assign]  # one question of the real engine is held up
        await work.post(*(work.alert(service=name) for name in ("db", "front", "page")))
        await work.until(lambda found: sorted(one.state for one in found) == [ACTING, WATCHING, WATCHING])
        await asyncio.wait_for(asked.wait(), 10)
        before = await work.journal.size()
        for _ in range(10):
            work.advance(1)
            await asyncio.sleep(0.02)
        assert await work.journal.size() == before, "nothing is tried while nothing moves"
        gate.set()
        await work.until(lambda found: all(one.state is WATCHING and one.reason is None for one in found))
        assert work.effects == ["Service.restart db", "Service.restart front", "Service.restart page"]


async def test_a_ring_of_dependencies_ends_with_a_person(folder: Path) -> None:
    write_world(folder / "world.json", {"hen": FAILED, "egg": FAILED})
    async with working(folder) as work:
        await work.post(work.alert(service="hen"), work.alert(service="egg"))
        work.sleeper.flow()
        found = await work.until(lambda found: len(found) == 2 and all(one.state is ESCALATED for one in found))
        assert [(one.reason, len(one.tried)) for one in found] == [("dependency", 2)] * 2
        assert work.effects == []


async def test_a_dependency_that_is_watched_and_still_down_is_asked_once_more_and_then_waited_for(folder: Path) -> None:
    """Its own runbook does not call that trouble."""
    write_world(folder / "world.json", {"front": FAILED, "db": {"state": "paused"}})
    async with working(folder) as work:
        await work.post(work.alert(service="db"))
        await work.one(WATCHING)
        await work.post(work.alert(service="front"))
        work.sleeper.flow()
        found = await work.until(lambda found: len(found) == 2 and all(one.state is ESCALATED for one in found))
        assert [(one.reason, len(one.tried)) for one in found] == [("dependency", 4), ("nothing_to_do", 1)]
        assert work.effects == []


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


async def test_an_engine_that_comes_back_in_time_is_healed(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        locate, failed, found = work.infrastructure.locate, asyncio.Event(), asyncio.Event()

        async def watched(*asked: Any, **more: Any) -> Any:
            try:
                there = await locate(*asked, **more)
            except UnreachableError:
                failed.set()
                raise
            found.set()
            return there

        work.infrastructure.locate = watched  # type: ignore[method-assign]  # the real one, watched
        work.change_world(down=True)
        await work.post(work.alert(service="web"))
        await failed.wait()
        work.change_world(down=False)
        for _ in range(10):  # it is asked again after five seconds; a look takes real time, so time must not run away
            work.advance(1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(found.wait(), 0.05)
        await found.wait()
        work.sleeper.flow()
        await work.one(WATCHING)
        assert work.effects == ["Service.restart web"]


async def test_one_stuck_target_delays_nobody_and_one_target_is_acted_on_once_at_a_time(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED, "other": FAILED})
    async with working(folder) as work:
        gate = asyncio.Event()
        execute = work.infrastructure.execute

        async def stuck(request: Request, origin: Origin, **more: Any) -> Result:
            if request.operation == "restart_service" and request.parameters["service"] == "web":
                await gate.wait()
            return await execute(request, origin, **more)

        work.infrastructure.execute = stuck  # type: ignore[method-assign]  # one question of the real engine is held up
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

        work.infrastructure.execute = counted  # type: ignore[method-assign]  # the real engine, counted
        await work.post(*(work.alert(service=f"s{number}") for number in range(12)))
        await work.until(lambda found: len(found) == 12 and all(one.state is WATCHING for one in found))
        assert most == 4  # worker.incidents_at_once of the catalog


async def test_what_is_worked_on_in_one_environment_takes_turns_with_the_others(folder: Path) -> None:
    """Four of six that hang are worked on; the first place that is free is not for the fifth of them."""
    names = [f"s{number}" for number in range(6)]
    write_world(folder / "world.json", dict.fromkeys((*names, "web"), FAILED))
    async with working(folder) as work:
        gates = {name: asyncio.Event() for name in names}
        begun: list[str] = []
        execute = work.infrastructure.execute

        async def hangs(request: Request, origin: Origin, **more: Any) -> Result:
            name = request.parameters["service"]
            if name in gates:
                begun.append(name)
                await gates[name].wait()
            return await execute(request, origin, **more)

        work.infrastructure.execute = hangs  # type: ignore[method-assign]  # questions of the real engine are held up
        await work.post(*(work.alert(service=name, cluster="careful") for name in names))
        await work.until(lambda found: [one.state for one in found].count(ACTING) == 4)
        work.time.now += 1
        await work.post(work.alert(service="web"))
        await work.joined(7)
        gates[begun[0]].set()
        await work.until(lambda found: any(one.state is WATCHING for one in found))
        assert work.effects == ["Service.restart web"]
        for gate in gates.values():
            gate.set()


async def test_a_bug_met_by_one_incident_keeps_no_other_from_being_healed(folder: Path) -> None:
    write_world(folder / "world.json", {"web": FAILED, "other": FAILED})
    async with working(folder) as work:
        execute = work.infrastructure.execute

        async def broken(request: Request, origin: Origin, **more: Any) -> Result:
            if request.parameters.get("service") == "web":
                raise RuntimeError("a bug")
            return await execute(request, origin, **more)

        work.infrastructure.execute = broken  # type: ignore[method-assign]  # a bug that no door can cause is put in
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
        work.journal.append = failed  # type: ignore[method-assign]  # the real journal, on a disk that is full
        work.worker.wake()
        await asyncio.wait_for(tried.wait(), 10)
        assert work.effects == []
        failing = False
        work.sleeper.flow()
        await work.one(WATCHING, ESCALATED)
        assert work.effects == ["Service.restart web"]


async def test_an_alert_is_never_taken_into_an_incident_that_the_journal_does_not_have(folder: Path) -> None:
    """The incident's opening could not be written, its look goes on meanwhile, and the alert is taken in again."""
    write_world(folder / "world.json", {"web": FAILED})
    async with working(folder) as work:
        append, execute, failing = work.journal.append, work.infrastructure.execute, True
        looks = asyncio.Event()

        async def failed(*entries: Entry) -> int:
            if failing and any(entry.kind in ("incident", "joined") for entry in entries):
                tried.set()
                raise JournalError("disk full")
            return await append(*entries)

        async def slow(*given: Any, **named: Any) -> Result:
            await looks.wait()
            return await execute(*given, **named)

        tried = asyncio.Event()
        await append(work.accepted(work.alert(service="web")))
        work.journal.append = failed  # type: ignore[method-assign]  # the real journal, on a disk that is full
        work.infrastructure.execute = slow  # type: ignore[method-assign]  # the real engine, held up
        work.worker.wake()
        await asyncio.wait_for(tried.wait(), 10)
        failing = False
        work.sleeper.flow()
        await work.joined(1)
        assert [one.alerts[0].labels["service"] for one in await work.journal.incidents()] == ["web"]
        looks.set()
        await work.one(WATCHING, ESCALATED)
        assert work.effects == ["Service.restart web"]

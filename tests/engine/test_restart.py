"""A process that ended in the middle, in this one's hand: what the next start makes of an each, an undo, a secret, a close."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import Rehearsal, rehearsing, write_world
from tests.engine.test_execute import short
from tests.engine.test_journal_fails import FullDisk
from tests.engine.test_only_if import FAILED
from uici.engine.environments import AWAY
from uici.engine.recover import recovered
from uici.executor import Outcome
from uici.model import Call, Evidence, JournalError, Reason, Status


async def _taken_up(folder: Path, expected: tuple[str, str | None, str | None], effects: list[str]) -> None:
    """By the next process, to its end."""
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert short(result) == expected, result.message
        assert rehearsal.effects == effects


async def test_a_close_stops_what_runs_and_the_next_start_settles_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    run = RehearsalExecutor.run

    async def slow(self: RehearsalExecutor, call: Call) -> Outcome:
        outcome = await run(self, call)
        if call.path == "Service.restart":
            begun.set()
            await asyncio.Event().wait()
        return outcome

    monkeypatch.setattr(RehearsalExecutor, "run", slow)
    async with rehearsing(folder) as rehearsal:
        task = asyncio.create_task(rehearsal.run("restart_service", service="web"))
        await begun.wait()
        await asyncio.wait_for(rehearsal.infrastructure.close(0), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    monkeypatch.setattr(RehearsalExecutor, "run", run)
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.ok, result.message
        assert rehearsal.effects == ["Service.restart web"]


async def test_what_an_each_had_begun_goes_on_with_the_list_that_it_began_with(folder: Path) -> None:
    """Asked again, the list is shorter by what was removed already: numbers in it would mean other services."""
    write_world(folder / "world.json", {name: {"state": "stopped"} for name in "abcd"})
    async with rehearsing(folder) as rehearsal:
        append, stopped = rehearsal.journal.append, asyncio.Event()

        async def stop(*entries: Any) -> int:
            if entries[-1].kind == "intent" and entries[-1].data["item"] == 2:
                stopped.set()
                await asyncio.Event().wait()
            return await append(*entries)

        rehearsal.journal.append = stop  # type: ignore[method-assign]
        task = asyncio.create_task(rehearsal.run("remove_all", confirm=True))
        await stopped.wait()
        await rehearsal.infrastructure.close(0)
        await asyncio.gather(task, return_exceptions=True)
        rehearsal.journal.append = append  # type: ignore[method-assign]
        assert rehearsal.effects == ["Service.remove a", "Service.remove b"]
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.ok, result.message
        assert rehearsal.world["services"] == {}, "done means all of them"


async def test_an_undo_is_not_done_again_after_a_restart(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "result")
        with pytest.raises(JournalError):
            await rehearsal.run("bump_image", service="web", image="2")
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    async with rehearsing(folder) as rehearsal:
        for request in await rehearsal.infrastructure.start():
            await rehearsal.infrastructure.wait(request)
        assert rehearsal.effects == ["Service.set web", "Service.set web"], "there and back, once"
        assert await rehearsal.journal.unsettled() == []
        (parent,) = [one for one in await rehearsal.journal.results() if one.operation == "bump_image"]
        assert short(parent) == ("unverified", "verification", "not_recovered")
        assert parent.undo is not None
        assert parent.undo["status"] == "done"


async def test_a_request_whose_secret_is_not_stored_goes_to_a_person_after_a_crash(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        append, stopped = rehearsal.journal.append, asyncio.Event()

        async def stop(*entries: Any) -> int:
            if entries[-1].kind == "outcome":
                stopped.set()
                await asyncio.Event().wait()
            return await append(*entries)

        rehearsal.journal.append = stop  # type: ignore[method-assign]
        task = asyncio.create_task(rehearsal.run("set_word", service="web", login={"user": "anna", "word": "abcdefg"}))
        await stopped.wait()
        await rehearsal.infrastructure.close(0)
        await asyncio.gather(task, return_exceptions=True)
        rehearsal.journal.append = append  # type: ignore[method-assign]
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.status is Status.IN_DOUBT
        assert rehearsal.effects == ["Service.set web"]


async def test_an_each_whose_list_held_secrets_is_for_a_person(folder: Path) -> None:
    """The list that it began with is not stored whole, and asked again it is another one."""
    ill = {"state": "stopped", "labels": {"note": "DB_PASSWORD=hunter22"}}
    write_world(folder / "world.json", {name: dict(ill) for name in "abc"})
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "outcome")
        with pytest.raises(JournalError):
            await rehearsal.run("remove_all", confirm=True)
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.status is Status.IN_DOUBT
        assert rehearsal.effects == ["Service.remove a"], "nothing more is removed"


@pytest.mark.parametrize("secret", ["web", "name/web", "rehearsal", "id-of-web"])
async def test_what_a_restart_would_find_is_what_was_touched_whatever_a_secret_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    run, begun, goes_on = RehearsalExecutor.run, asyncio.Event(), asyncio.Event()

    async def slow(self: RehearsalExecutor, call: Call) -> Outcome:
        if call.path == "Service.restart":
            begun.set()
            await goes_on.wait()
        return await run(self, call)

    monkeypatch.setenv("REHEARSAL_PASSWORD", secret)
    monkeypatch.setattr(RehearsalExecutor, "run", slow)
    async with rehearsing(folder) as rehearsal:
        (target,) = await rehearsal.infrastructure.locate("stage", "service", "web")
        task = asyncio.create_task(rehearsal.run("restart_service", service="web"))
        await begun.wait()
        (unsettled,) = await rehearsal.journal.unsettled()
        found = recovered(rehearsal.infrastructure._core, unsettled)
        goes_on.set()
        await task
    assert found.target is not None
    assert (found.target.key, found.touched) == (target.key, {target.key})
    (doubt,) = found.recorded.values()
    assert (doubt.engine, doubt.call.on) == (target.engine, target)


async def _left_at(rehearsal: Rehearsal, intent: int, operation: str, *, cancelled: bool = False, **asked: Any) -> None:
    """A process that ended right before its intent of this number, where somebody may have cancelled it."""
    append, count = rehearsal.journal.append, 0

    async def stop(*entries: Any) -> int:
        nonlocal count
        count += entries[-1].kind == "intent"
        if count < intent:
            return await append(*entries)
        if cancelled:
            count = -100
            assert await rehearsal.infrastructure.cancel(entries[-1].request, "human:bo")
            count = 100
        raise JournalError("the process ends here")

    rehearsal.journal.append = stop  # type: ignore[method-assign]
    with pytest.raises(JournalError):
        await rehearsal.run(operation, **asked)
    await rehearsal.infrastructure.close(0)
    rehearsal.journal.append = append  # type: ignore[method-assign]


async def test_what_was_cancelled_is_not_carried_on_but_taken_back(folder: Path) -> None:
    """Counted is first what was done before: else nothing would be taken back."""
    write_world(folder / "world.json", {name: {"of": "web"} for name in ("web", "web-2", "web-3", "web-4")})
    async with rehearsing(folder) as rehearsal:
        await _left_at(rehearsal, 3, "replace_all", cancelled=True, service="web")
        assert rehearsal.effects == ["Service.restart web", "Service.restart web-2"]
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert short(result) == ("failed", "cancelled", None), result.message
        assert "human:bo" in result.message
        assert rehearsal.effects[2:] == [f"Service.set {one}" for one in ("web", "web-2", "web-3", "web-4")]
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo


async def test_what_was_cancelled_while_it_cleared_up_is_not_taken_back(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "result")

        def cancel(id: str, evidence: Evidence) -> None:
            if evidence.kind == "call" and (evidence.data or {}).get("arguments", {}).get("field") == "state":
                tasks.append(asyncio.ensure_future(rehearsal.infrastructure.cancel(id, "human:bo")))

        tasks: list[asyncio.Task[bool]] = []
        rehearsal.infrastructure.on_progress = cancel
        with pytest.raises(JournalError):
            await rehearsal.run("deploy_service", service="web", image="2")
        await asyncio.gather(*tasks)
        await rehearsal.infrastructure.close(0)
        disk.make_room()
        assert len(await rehearsal.entries("cancel")) == 1
        world = rehearsal.world
        world["services"]["web"]["health"] = "starting"
        rehearsal.change_world(**world)
    async with rehearsing(folder) as rehearsal:

        def ready(_: str, evidence: Evidence) -> None:
            if evidence.kind == "sample":
                world["services"]["web"]["health"] = "healthy"
                rehearsal.change_world(**world)

        rehearsal.infrastructure.on_progress = ready
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert short(result) == ("done", None, "recovered"), result.message
        assert rehearsal.world["services"]["web"]["image"] == "2"


async def test_what_was_settled_not_to_have_happened_is_not_done_after_a_restart(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_before"}])
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "result")
        with pytest.raises(JournalError):
            await rehearsal.run("restart_once", service="web")
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    await _taken_up(folder, ("failed", "executor", None), [])


async def test_what_is_left_of_a_call_that_did_not_happen_is_taken_back_after_a_restart(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "services.create", "then": "unknown_before"}])
    async with rehearsing(folder) as rehearsal:
        await _left_at(rehearsal, 2, "deploy_service", service="web", image="2")
        assert len(await rehearsal.entries("settled")) == 1
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert short(result) == ("failed", "executor", None), result.message
        assert rehearsal.effects == ["Service.set web"], "the way back alone"
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo


@pytest.mark.parametrize("left", [{"operation": "restart_service", "service": "web"}, {"operation": "restart_all"}])
async def test_nobody_else_acts_on_what_is_in_doubt_while_its_engine_comes_up(left: Any, folder: Path) -> None:
    """Whoever asks again sooner than the one who waits for the engine finds it up first."""
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "outcome")
        with pytest.raises(JournalError):
            await rehearsal.run(**left)
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    async with rehearsing(folder) as rehearsal:
        rehearsal.change_world(down=True)
        (request,) = await rehearsal.infrastructure.start()
        began, sleep = rehearsal.time.now, rehearsal.time.sleep
        others: list[asyncio.Task[Any]] = []

        async def booting(seconds: float) -> None:
            await sleep(seconds)
            if rehearsal.time.now > began + 5 and not others:
                rehearsal.change_world(down=False)
                rehearsal.time.now += AWAY
                others.append(asyncio.create_task(rehearsal.run("restart_once", service="web", by="runbook:x")))
                await asyncio.wait(others, timeout=0.3)

        rehearsal.infrastructure._core.sleep = booting
        assert await rehearsal.infrastructure.wait(request) is not None
        await asyncio.gather(*others)
        order = [(entry.kind, entry.request == request) for entry in await rehearsal.entries("result", "intent")]
        assert all(mine for _, mine in order[: order.index(("result", True))]), order
        assert [kind for kind, mine in order if not mine][-1] == "result"


async def test_nobody_else_acts_on_what_is_in_doubt_while_the_journal_takes_no_result_of_it(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "outcome")
        with pytest.raises(JournalError):
            await rehearsal.run("restart_service", service="web")
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    async with rehearsing(folder) as rehearsal:
        append, full = rehearsal.journal.append, asyncio.Event()

        async def refuse(*entries: Any) -> int:
            if entries[0].kind == "result" and entries[0].request == request and not free:
                full.set()
                raise JournalError("the disk is full: make room")
            return await append(*entries)

        free = False
        rehearsal.journal.append = refuse  # type: ignore[method-assign]
        (request,) = await rehearsal.infrastructure.start()
        await full.wait()
        assert (await rehearsal.run("restart_service", service="web")).reason is Reason.BUSY
        assert (await rehearsal.run("restart_service", service="db")).ok, "what it did not touch"
        free = True
        assert await rehearsal.infrastructure.wait(request) is not None
        assert (await rehearsal.run("restart_service", service="web")).ok


async def test_trouble_that_was_seen_before_a_restart_was_seen(folder: Path) -> None:
    """Else a recovery would count as a change of what was not ill, which brakes count."""
    write_world(folder / "world.json", {"web": {"state": "failed"}})
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "outcome")
        with pytest.raises(JournalError):
            await rehearsal.run("restart_service", service="web", by="runbook:down", only_if=FAILED)
        await rehearsal.infrastructure.close(0)
        disk.make_room()
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        assert await rehearsal.infrastructure.wait(request) is not None
        assert [one.verdict for one in await rehearsal.journal.attempts(since=0)] == ["recovered"]


async def test_what_was_only_rejected_before_a_restart_is_not_done_where_the_trouble_has_gone(folder: Path) -> None:
    script = [{"call": "Service.restart", "then": "stale"}]
    write_world(folder / "world.json", {"web": {"state": "failed"}}, script=script)
    async with rehearsing(folder) as rehearsal:
        await _left_at(rehearsal, 2, "restart_service", service="web", by="runbook:down", only_if=FAILED)
        world = rehearsal.world
        world["services"]["web"]["state"] = "running"
        rehearsal.change_world(**world)
    await _taken_up(folder, ("failed", "cancelled", None), [])


async def test_what_was_verified_and_is_ill_after_a_restart_is_not_taken_back_to_what_is_going(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        disk = FullDisk(rehearsal, "result")
        with pytest.raises(JournalError):
            await rehearsal.run("deploy_service", service="web", image="2")
        await rehearsal.infrastructure.close(0)
        disk.make_room()
        world = rehearsal.world
        world["services"]["web"]["health"] = "unhealthy"
        rehearsal.change_world(**world)
    async with rehearsing(folder) as rehearsal:
        (request,) = await rehearsal.infrastructure.start()
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert short(result) == ("unverified", "verification", "not_recovered"), result.message
        assert result.undo is None
        assert rehearsal.world["services"]["web"]["image"] == "2"

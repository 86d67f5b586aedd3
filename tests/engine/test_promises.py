"""The rest of what is promised of one command: targets, locks, identity, steps that wait, confirm, undo, elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest
from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import Rehearsal, rehearsing, write_world
from tests.engine.test_execute import short
from tests.engine.test_journal_fails import FullDisk
from uici.engine.elsewhere import not_elsewhere
from uici.executor import Facts, Identity
from uici.journal import Entry
from uici.model import Brake, Evidence, JournalError, Reason, Result, Status


async def _left_behind(rehearsal: Rehearsal, kind: str, **asked: Any) -> None:
    """A process that ended where this entry would have been written."""
    disk = FullDisk(rehearsal, kind)
    with pytest.raises(JournalError):
        await rehearsal.run(**asked)
    await rehearsal.infrastructure.close(0)
    disk.make_room()


async def _settled(rehearsal: Rehearsal) -> Result:
    (request,) = await rehearsal.infrastructure.start()
    result = await rehearsal.infrastructure.wait(request)
    assert result is not None
    return result


async def test_references_are_journaled_as_references_and_filled_in_after_a_restart(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await _left_behind(rehearsal, "outcome", operation="restart_service", service="web")
        (unsettled,) = await rehearsal.journal.unsettled()
        environment = rehearsal.infrastructure.catalog.environments["stage"]
        assert dict(unsettled.command.environment.settings) == dict(environment.settings)
        assert unsettled.command.environment.settings["password"] == "${env:REHEARSAL_PASSWORD}"
    async with rehearsing(folder) as rehearsal:
        assert (await _settled(rehearsal)).ok


async def test_what_was_removed_before_a_restart_is_removed(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await _left_behind(rehearsal, "result", operation="remove_service", service="web", confirm=True)
    async with rehearsing(folder) as rehearsal:
        result = await _settled(rehearsal)
        assert short(result) == ("done", None, None), result.message
        assert rehearsal.effects == ["Service.remove web"]


async def test_an_engine_that_comes_up_after_uici_is_waited_for(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await _left_behind(rehearsal, "outcome", operation="restart_service", service="web")
    async with rehearsing(folder) as rehearsal:
        rehearsal.change_world(down=True)
        (request,) = await rehearsal.infrastructure.start()
        began, sleep = rehearsal.time.now, rehearsal.time.sleep

        async def booting(seconds: float) -> None:
            await sleep(seconds)
            if rehearsal.time.now > began + 5:
                rehearsal.change_world(down=False)

        rehearsal.infrastructure._core.sleep = booting
        result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.ok, result.message


async def test_an_engine_that_stays_away_is_for_a_person(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await _left_behind(rehearsal, "outcome", operation="restart_service", service="web")
    async with rehearsing(folder) as rehearsal:
        rehearsal.change_world(down=True)
        assert (await _settled(rehearsal)).status is Status.IN_DOUBT
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["in_doubt"]


async def test_two_environments_of_one_engine_wait_for_each_other(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await asyncio.gather(
            *(
                rehearsal.run("restart_once", service="web", environment=environment)
                for environment in ("stage", "careful", "listed")
            )
        )
        order = [(entry.request, entry.kind) for entry in await rehearsal.entries("intent", "result")]
        assert all(order[at][0] == order[at + 1][0] for at in range(0, 6, 2)), order


async def test_a_target_that_was_swapped_while_it_waited_is_located_again(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        core = rehearsal.infrastructure._core
        async with core.locks.hold("rehearsal", frozenset({"rehearsal|name/web"}), 1):
            task = asyncio.create_task(rehearsal.run("restart_service", service="web"))
            while not core.locks._waiting:  # noqa: ASYNC110 - nothing tells of a wait but the lock itself
                await asyncio.sleep(0.01)
            world = rehearsal.world
            world["services"]["web"]["id"] = "id-of-the-next-web"
            rehearsal.change_world(**world)
        result = await task
        assert result.ok
        assert result.target is not None
        assert result.target["id"] == "id-of-the-next-web"


async def test_a_wait_for_a_busy_target_ends_and_leaves_nothing(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        core = rehearsal.infrastructure._core
        async with core.locks.hold("rehearsal", None, 1):
            core.locks.hold, hold = _at_once(core.locks.hold), core.locks.hold  # type: ignore[method-assign]
            assert (await rehearsal.run("restart_service", service="web")).reason is Reason.BUSY
            core.locks.hold = hold  # type: ignore[method-assign]
        assert (await rehearsal.run("restart_service", service="web")).ok


def _at_once(hold: Any) -> Any:
    return lambda engine, keys, _: hold(engine, keys, 0)


async def test_an_identity_is_fresh_before_a_destroy_and_not_older_than_30_s_before_a_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    identity = RehearsalExecutor.identity

    async def counted(self: RehearsalExecutor, facts: Facts) -> Identity:
        nonlocal asked
        asked += 1
        return await identity(self, facts)

    monkeypatch.setattr(RehearsalExecutor, "identity", counted)
    async with rehearsing(folder) as rehearsal:
        for _ in range(3):
            await rehearsal.run("restart_once", service="db")
        assert asked == 1
        rehearsal.time.now += 31
        await rehearsal.run("restart_once", service="db")
        assert asked == 2
        rehearsal.change_world(self=["web"])
        refused = await rehearsal.run("remove_service", service="web", confirm=True)
        assert refused.reason is Reason.SELF, "what has become UICI's own in these seconds"
        assert asked == 3


PATIENCE: dict[str, tuple[str, list[str], dict[str, Any], tuple[str, str | None, str | None], int]] = {
    "not yet, then done": ("restart_patiently", ["rejected", "rejected"], {}, ("done", None, None), 1),
    "not yet, for too long": ("restart_patiently", ["rejected"] * 9, {}, ("failed", "conflict", None), 0),
    "until never holds": (
        "restart_patiently",
        [],
        {"web": {"health": "unhealthy"}},
        ("failed", "timeout", None),
        1,
    ),
    "it means the same": ("restart_kindly", ["rejected"], {}, ("done", None, None), 0),
}


@pytest.mark.parametrize("name", PATIENCE)
async def test_retry_until_and_accept(name: str, folder: Path) -> None:
    operation, faults, services, expected, effects = PATIENCE[name]
    script = [{"call": "Service.restart", "then": then} for then in faults]
    write_world(folder / "world.json", services or {"web": {}}, script=script)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(operation, service="web")
        assert short(result) == expected, result.message
        assert len(rehearsal.effects) == effects
        intents, outcomes = await rehearsal.entries("intent"), await rehearsal.entries("outcome")
        assert len(intents) == len(outcomes) >= 1, "each try has its intent and its outcome"


async def test_a_cancel_ends_a_retry(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "rejected"}] * 9)
    async with rehearsing(folder) as rehearsal:
        tasks: list[Any] = []

        def stop(request: str, evidence: Evidence) -> None:
            if evidence.kind == "call" and evidence.verdict == "rejected" and not tasks:
                tasks.append(asyncio.ensure_future(rehearsal.infrastructure.cancel(request, "human:bo")))

        rehearsal.infrastructure.on_progress = stop
        result = await rehearsal.run("restart_patiently", service="web")
        assert result.reason is Reason.CANCELLED
        assert rehearsal.effects == []


async def test_clearing_up_that_fails_does_not_undo_what_was_verified(folder: Path) -> None:
    script = [{"call": "Service.set", "then": "done"}, {"call": "Service.set", "then": "rejected"}]
    write_world(folder / "world.json", script=script)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("deploy_service", service="web", image="2")
        assert short(result) == ("done", None, "recovered")
        assert "clearing up" in result.message
        assert rehearsal.world["services"]["web"]["image"] == "2"


async def test_clearing_up_in_doubt_is_a_doubt(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:

        def lose(_: str, evidence: Evidence) -> None:
            if evidence.kind == "sample":
                rehearsal.change_world(script=[{"call": "Service.set", "then": "down_after"}])

        rehearsal.infrastructure.on_progress = lose
        result = await rehearsal.run("deploy_service", service="web", image="2")
        assert result.status is Status.IN_DOUBT
        assert result.undo is None
        assert await rehearsal.journal.closed_keys()


async def test_a_revert_leaves_alone_what_somebody_else_deployed_meanwhile(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:

        def meddle(_: str, evidence: Evidence) -> None:
            if evidence.kind == "sample":
                world = rehearsal.world
                world["services"]["web"]["image"] = "3"
                rehearsal.change_world(**world)

        rehearsal.infrastructure.on_progress = meddle
        result = await rehearsal.run("deploy_service", service="web", image="2")
        assert result.undo is not None
        assert result.undo["reason"] == Reason.MOVED_ON.value
        assert rehearsal.world["services"]["web"]["image"] == "3"


async def test_an_undo_is_shown_guarded_and_stopped_by_no_brake_and_no_pause(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        tasks: list[Any] = []

        def pause(_: str, evidence: Evidence) -> None:
            if evidence.kind == "sample" and not tasks:
                tasks.append(asyncio.ensure_future(rehearsal.infrastructure.pause(None, "human:bo")))

        rehearsal.infrastructure.on_progress = pause
        result = await rehearsal.run("scale_service", service="web", replicas=3, by="runbook:x")
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        child = await rehearsal.journal.result(result.undo["request"])
        assert child is not None
        assert child.undo is None, "never undone itself"
        assert len(await rehearsal.journal.attempts(since=0)) == 1, "and no attempt of its own"

        def own(_: str, evidence: Evidence) -> None:
            if evidence.kind == "sample":
                rehearsal.change_world(self=["web"])

        await rehearsal.infrastructure.resume(None, "human:bo")
        rehearsal.time.now += 31
        rehearsal.infrastructure.on_progress = own
        rehearsal.time.sleep = _long(rehearsal)  # type: ignore[method-assign]
        rehearsal.infrastructure._core.sleep = rehearsal.time.sleep
        again = await rehearsal.run("scale_service", service="web", replicas=3)
        assert again.undo is not None
        assert again.undo["reason"] == Reason.SELF.value
        assert await rehearsal.journal.closed_keys()


@pytest.mark.parametrize("stop", ["paused", "closed", "brake"])
async def test_a_revert_is_stopped_by_no_brake_and_no_pause(stop: str, folder: Path) -> None:
    """What makes the way on impossible must not leave the service half changed."""
    write_world(folder / "world.json", {"web": {}, "db": {}})
    async with rehearsing(folder) as rehearsal:
        infrastructure, append, stopped = rehearsal.infrastructure, rehearsal.journal.append, False
        (brake,) = infrastructure.catalog.policies.brakes
        await _braking(rehearsal, dataclasses.replace(brake, per=("environment",), at_most=1))

        async def stopping(*entries: Entry) -> int:
            nonlocal stopped
            seq = await append(*entries)
            if entries[-1].kind == "outcome" and not stopped:
                stopped = True
                if stop == "paused":
                    await infrastructure.pause(None, "human:bo")
                elif stop == "closed":
                    await append(
                        Entry(
                            kind="closed", data={"key": "rehearsal|name/web", "reason": "closed", "message": "a doubt"}
                        )
                    )
                else:
                    await _braking(rehearsal)
                    rehearsal.change_world(script=[{"call": "Service.restart", "then": "rejected"}])
                    assert not (await rehearsal.run("restart_once", service="db")).ok
            return seq

        rehearsal.journal.append = stopping  # type: ignore[method-assign]
        result = await rehearsal.run("deploy_service", service="web", image="2", by="runbook:x")
        assert short(result)[:2] == ("failed", stop), result.message
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        assert rehearsal.effects == ["services.create", "Service.set web"]
        assert rehearsal.world["services"]["web"]["image"] == "1"


async def _braking(rehearsal: Rehearsal, *brakes: Brake) -> None:
    """What runs already goes on by the brakes that it began with."""
    catalog = rehearsal.infrastructure.catalog
    policies = dataclasses.replace(catalog.policies, brakes=brakes)
    await rehearsal.infrastructure.replace(dataclasses.replace(catalog, policies=policies))


def _long(rehearsal: Rehearsal) -> Any:
    async def sleep(seconds: float) -> None:
        rehearsal.time.now += seconds + 31
        await asyncio.sleep(0)

    return sleep


@pytest.mark.parametrize(
    "text",
    [
        "curl http://127.0.0.1:8080/api/v1/pause",
        "curl -d @x 'http://localhost/'",
        "URL=http://127.1:8080/",
        "wget [::1]:8080",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:169.254.169.254]/latest",
        "http://[64:ff9b::169.254.169.254]/latest",
        "http://2130706433/",
        "http://user@169.254.169.254/",
        "http://0.0.0.0:8080/",
        "nc 127.0.0.1:8080",
        "docker -H unix:///var/run/uici/engine.sock stop uici",
        "cat /var/lib/uici/journal.db",
        "http://nowhere.invalid/",
        "psql -h db -c 'drop table journal'",
        "psql --host=DB.",
        "scp x root@db:/data",
        f"nc {socket.gethostname()} 8080",
        "http://192.0.2.7/",
        "redis-cli -u redis://0xc0000208",
    ],
)
async def test_elsewhere_is_not_believed(text: str) -> None:
    needs = (
        *("unix:///var/run/uici/engine.sock", "/var/lib/uici/journal.db", "postgresql://uici@db/journal"),
        *("0xc0000207:9090", "192.0.2.8:6379"),  # another spelling, as a name is; without a name server
    )
    for arguments in ({"command": text}, {"command": ["sh", "-c", text]}, {"body": {"deep": [{"url": text}]}}):
        assert await not_elsewhere(arguments, needs) is not None


@pytest.mark.parametrize(
    "text", ["echo hello", "http://192.0.2.7/hook", "v1.2.3-rc.invalid", "a=b; c", "rails db:migrate"]
)
async def test_elsewhere_is_believed(text: str) -> None:
    assert await not_elsewhere({"command": text}, ("127.0.0.1:8080", "db:5432")) is None


async def test_what_is_closed_is_found_by_its_key_whatever_a_secret_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_after"}])
    async with rehearsing(folder) as rehearsal:
        (target,) = await rehearsal.infrastructure.locate("stage", "service", "web")
        monkeypatch.setenv("REHEARSAL_PASSWORD", target.key)
    async with rehearsing(folder) as rehearsal:
        doubt = await rehearsal.run("restart_blindly", service="web")
        assert doubt.status is Status.IN_DOUBT
        assert list(await rehearsal.journal.closed_keys()) == [target.key]
        assert await rehearsal.journal.attempts(since=0, key=target.key)
        again = await rehearsal.run("restart_service", service="web", by="runbook:down")
        assert again.reason is Reason.CLOSED


@pytest.mark.parametrize("look", [True, False])
async def test_a_step_that_was_left_out_has_answered_null(folder: Path, look: bool) -> None:
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_with_a_look", service="web", look=look)
        assert result.status is Status.DONE, result.message
        assert rehearsal.effects == ["Service.restart web"]

"""What is open and what is not: one engine by several names, an engine that nobody can reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from uici_rehearsal import RehearsalExecutor, World

from tests.engine.rehearsal import rehearsing, write_world
from uici.engine.environments import AWAY
from uici.executor import Facts, Identity
from uici.model import Call, Environment, Pinned, Reason, Status, UnreachableError


def needing(monkeypatch: pytest.MonkeyPatch, opening: Callable[[RehearsalExecutor, Environment], None]) -> None:
    """UICI needs what is named for an environment (``depends_on``). ``opening`` gives an environment its world."""
    names_of: dict[RehearsalExecutor, str] = {}

    async def opened(self: RehearsalExecutor, environment: Environment) -> None:
        names_of[self] = environment.name
        opening(self, environment)

    async def identity(self: RehearsalExecutor, facts: Facts) -> Identity:
        names = [str(one["name"]) for one in facts.names if one["environment"] == names_of[self]]
        return Identity(resources=tuple(self._resource(self.world.read(), one) for one in names), shows="platform.yml")

    monkeypatch.setattr(RehearsalExecutor, "open", opened)
    monkeypatch.setattr(RehearsalExecutor, "identity", identity)


@pytest.mark.parametrize(
    ("careful", "db", "web"), [("same", "self", None), ("another", None, None), ("away", "self", "self")]
)
async def test_what_uici_needs_is_its_own_by_another_name_of_the_same_engine(
    careful: str, db: str | None, web: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each executor knows the names of its own environment alone, and nobody has opened the other one yet."""
    write_world(folder / "another.json", engine="another")

    def opening(self: RehearsalExecutor, environment: Environment) -> None:
        self.world = World(environment.settings["world"])
        if environment.name == "careful" and careful == "another":
            self.world = World(str(folder / "another.json"))
        elif environment.name == "careful" and careful == "away":
            raise UnreachableError("nobody answers there")

    needing(monkeypatch, opening)
    async with rehearsing(folder) as rehearsal:
        infrastructure = rehearsal.infrastructure
        infrastructure._facts = infrastructure._given = Facts(names=({"name": "db", "environment": "careful"},))
        assert (await rehearsal.run("restart_service", service="db")).reason == db
        assert (await rehearsal.run("restart_service", service="web")).reason == web
        assert {one.name for one in infrastructure._core.environments} <= {"stage", "careful"}, "no other is opened"


async def test_an_engine_that_hangs_is_waited_for_once_and_not_once_for_each_alert(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async with rehearsing(folder) as rehearsal:
        opening = RehearsalExecutor.open

        async def hanging(self: RehearsalExecutor, environment: Environment) -> None:
            nonlocal tries
            tries += 1
            await asyncio.sleep(0.05)
            rehearsal.time.now += 10
            raise UnreachableError("no answer within 10 s")

        monkeypatch.setattr(RehearsalExecutor, "open", hanging)
        ends = await asyncio.gather(*(rehearsal.run("restart_service", service="web") for _ in range(20)))
        assert {one.reason for one in ends} == {Reason.UNREACHABLE}
        assert tries == 1
        assert (await rehearsal.run("restart_service", service="web")).reason is Reason.UNREACHABLE
        assert tries == 1
        monkeypatch.setattr(RehearsalExecutor, "open", opening)
        rehearsal.time.now += AWAY
        assert (await rehearsal.run("restart_service", service="web")).ok, "and then it is tried again"


async def test_an_engine_that_became_another_one_is_opened_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reinstalled behind the same address, it is no other name's other engine, and what happened there is no doubt."""

    def opening(self: RehearsalExecutor, environment: Environment) -> None:
        self.world = World(environment.settings["world"])

    needing(monkeypatch, opening)
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="db")).ok
        infrastructure = rehearsal.infrastructure
        infrastructure._facts = infrastructure._given = Facts(names=({"name": "db", "environment": "careful"},))
        rehearsal.change_world(engine="second", script=[{"call": "Service.restart", "then": "unknown_after"}])
        rehearsal.time.now += 60
        assert (await rehearsal.run("restart_service", service="db")).reason == "self"
        result = await rehearsal.run("restart_service", service="web")
        assert result.ok, result.message
        assert [entry.data["engine"] for entry in await rehearsal.entries("intent")] == ["rehearsal", "second"]
        rehearsal.change_world(engine="third")
        assert (await rehearsal.run("restart_service", service="web")).ok


async def test_an_engine_that_becomes_another_one_in_the_middle_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was located, locked and seen there is of the first one."""
    resolve = RehearsalExecutor.resolve

    async def replaced(self: RehearsalExecutor, call: Call) -> Pinned:
        world = self.world.read()
        world["engine"] = "second"
        self.world.write(world)
        return await resolve(self, call)

    async with rehearsing(folder) as rehearsal:
        with monkeypatch.context() as patch:
            patch.setattr(RehearsalExecutor, "resolve", replaced)
            result = await rehearsal.run("restart_service", service="web")
        assert (result.status, result.reason) == (Status.REFUSED, Reason.MOVED_ON), result.message
        assert rehearsal.effects == []
        assert (await rehearsal.run("restart_service", service="web")).ok

"""One command that takes the replicas of one service one after the other: only as each is back before the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_execute import short

WEB = {"of": "web"}
ILL = {**WEB, "stays_ill": True}

#: the services, what is answered, what was restarted
ONE_AFTER_THE_OTHER: dict[str, tuple[dict[str, Any], tuple[str, str | None, str | None], list[str]]] = {
    "each is back before the next": ({"a": WEB, "b": WEB, "c": WEB}, ("done", None, None), ["a", "b", "c"]),
    "the first is not back": ({"a": ILL, "b": WEB, "c": WEB}, ("failed", "blast_radius", None), ["a"]),
    "another service's is not back": ({"a": {"stays_ill": True}, "b": WEB}, ("done", None, None), ["a", "b"]),
    "one was down before": (
        {"a": WEB, "b": WEB, "c": {**WEB, "state": "failed"}},
        ("done", None, None),
        ["a", "b"],
    ),
    "one at a time of many": (
        {"a": ILL, "b": ILL, "c": ILL, "d": WEB, "e": WEB, "f": WEB},
        ("failed", "blast_radius", None),
        ["a", "b"],
    ),
}


@pytest.mark.parametrize("name", ONE_AFTER_THE_OTHER)
async def test_a_change_takes_replicas_one_after_the_other(name: str, folder: Path) -> None:
    services, answered, restarted = ONE_AFTER_THE_OTHER[name]
    write_world(folder / "world.json", services)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_all")
        assert short(result) == answered, result.message
        assert rehearsal.effects == [f"Service.restart {one}" for one in restarted]


async def test_a_count_is_not_believed_before_the_engine_has_counted(folder: Path) -> None:
    """A deleted Pod is among the available ones until its controller has seen that."""
    write_world(folder / "world.json", {"a": WEB, "b": WEB, "c": WEB})
    async with rehearsing(folder) as rehearsal:
        counted = rehearsal.time.sleep

        async def sleep(seconds: float) -> None:
            world = rehearsal.world
            for effect in world["effects"]:
                world["services"][effect["on"]]["state"] = "failed"
            rehearsal.change_world(**world)
            await counted(seconds)

        rehearsal.infrastructure._core.sleep = sleep
        result = await rehearsal.run("restart_all")
        assert short(result) == ("failed", "blast_radius", None), result.message
        assert rehearsal.effects == ["Service.restart a"]

"""One command that takes the replicas of one service one after the other: only as each is back before the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_execute import short
from uici.model import Status

WEB = {"of": "web"}
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "taken.yml").read_text())


def replica(of: str = "web", ill: bool = False, down: bool = False) -> dict[str, Any]:
    return {"of": of, "stays_ill": ill, "state": "failed" if down else "running"}


@pytest.mark.parametrize("case", [pytest.param(one, id=one["name"]) for one in CASES])
async def test_replicas_are_taken_one_after_the_other(case: dict[str, Any], folder: Path) -> None:
    replicas = {name: replica(**one) for name, one in case["replicas"].items()}
    write_world(folder / "world.json", replicas, case.get("script", ()))
    async with rehearsing(folder) as rehearsal:
        asked = {"service": "a"} if case["operation"].startswith("replace_") else {}
        result = await rehearsal.run(case["operation"], confirm=True, dry_run=case.get("dry_run", False), **asked)
        taken = [one.split()[1] for one in rehearsal.effects if one.startswith(("Service.restart", "Service.remove"))]
        assert ([result.status, result.reason], taken) == (case["expect"], case["taken"]), result.message
        if asked and result.status is Status.FAILED:
            assert result.undo is not None
            assert result.undo["status"] == "done", result.undo
            assert all(one["state"] == "running" for one in rehearsal.world["services"].values())


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

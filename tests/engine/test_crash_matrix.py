"""SIGKILL at every journal write and every executor call, then a start: settled by evidence, never done twice, nothing
forgotten."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from uici.model import Reason, Result, Status

#: what is asked, the world, how often each call may have had its effect when all is settled
MATRIX: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "restart": ({"operation": "restart_service", "service": "web"}, {}, {"Service.restart": 1}),
    "restart that loses its connection": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_after"}]},
        {"Service.restart": 1},
    ),
    "restart without evidence": ({"operation": "restart_blindly", "service": "web"}, {}, {"Service.restart": 1}),
    "scale": ({"operation": "scale_service", "service": "web", "replicas": 3}, {}, {"Service.set": 1}),
    "scale that does not help": (
        {"operation": "scale_service", "service": "web", "replicas": 3},
        {"services": {"web": {"health": "unhealthy"}}},
        {"Service.set": 2},
    ),
    "deploy in three calls": (
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {},
        {"services.create": 1, "Service.set": 2},
    ),
    "each of three": (
        {"operation": "restart_all"},
        {"services": {"web": {}, "db": {}, "cache": {}}},
        {"Service.restart": 3},
    ),
}


@pytest.mark.parametrize("name", MATRIX)
async def test_killed_anywhere(name: str, folder: Path) -> None:
    asked, world, allowed = MATRIX[name]
    write_world(folder / "start.json", **world)
    (folder / "request.json").write_text(json.dumps(asked))
    points = folder / "points"
    points.mkdir()
    killing = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.engine.rehearsal.crash",
        str(points),
        str(folder / "start.json"),
        str(folder / "request.json"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(killing.wait(), 120) == 0
    killed = sorted(points.iterdir(), key=lambda one: int(one.name))
    assert len(killed) > 6, "there are that many points at least"
    ends = {one.name: await _settle(one, allowed) for one in killed}
    assert ends[killed[-1].name] is not None, "the one that was not killed has its Result"
    undisturbed = ends[killed[-1].name]
    assert undisturbed is not None
    for point, result in ends.items():
        _believable(point, result, undisturbed)


async def _settle(folder: Path, allowed: dict[str, int]) -> Result | None:
    os.environ["REHEARSAL_WORLD"] = str(folder / "world.json")
    async with rehearsing(folder) as rehearsal:
        accepted = {entry.request for entry in await rehearsal.entries("request")}
        for request in await rehearsal.infrastructure.start():
            await rehearsal.infrastructure.wait(request)
        assert await rehearsal.journal.unsettled() == [], "nothing is forgotten"
        counted: dict[str, int] = {}
        for effect in rehearsal.world["effects"]:
            counted[effect["call"]] = counted.get(effect["call"], 0) + 1
        assert all(count <= allowed[call] for call, count in counted.items()), f"done twice: {counted}"
        intents, outcomes = await rehearsal.entries("intent"), await rehearsal.entries("outcome", "settled")
        known = {entry.data["intent"] for entry in outcomes}
        assert len(rehearsal.world["effects"]) <= len(intents), "nothing is done that was not written down before"
        results = await rehearsal.journal.results()
        assert accepted <= {result.id for result in results}, "each accepted Request has its Result"
        for result in results:
            if result.status is Status.DONE:
                own = [entry.seq for entry in intents if entry.request == result.id]
                assert set(own) <= known, "done only where each call's outcome is known"
        # The parent's, where an undo is a command of its own.
        mine = [result for result in results if result.id in accepted or not accepted]
        return min(mine, key=lambda result: result.id) if mine else None


def _believable(point: str, result: Result | None, undisturbed: Result) -> None:
    """Either as if nothing had happened, or nothing was done, or a person is asked."""
    if result is None:
        return
    same = (result.status, result.verification) == (undisturbed.status, undisturbed.verification)
    nothing = result.status is Status.FAILED and result.reason is Reason.CANCELLED
    person = result.status is Status.IN_DOUBT
    not_repeated = result.status is Status.FAILED and "not done again" in result.message
    assert same or nothing or person or not_repeated, f"point {point}: {result.status} {result.reason} {result.message}"


async def test_it_ends_by_the_catalog_that_held_when_it_was_accepted(folder: Path) -> None:
    """A new version of the catalog whose `service_status` tells nothing useful must not decide an old command."""
    (folder / "request.json").write_text(json.dumps({"operation": "restart_service", "service": "web"}))
    points = folder / "points"
    points.mkdir()
    killing = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.engine.rehearsal.crash",
        str(points),
        str(folder / "world.json"),
        str(folder / "request.json"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(killing.wait(), 120) == 0
    for one in points.iterdir():
        os.environ["REHEARSAL_WORLD"] = str(one / "world.json")
        async with rehearsing(one) as rehearsal:
            status = rehearsal.infrastructure.catalog.operations["service_status"]
            broken = dataclasses.replace(status, returns={"type": "null"})
            await rehearsal.infrastructure.replace(
                dataclasses.replace(
                    rehearsal.infrastructure.catalog,
                    operations=rehearsal.infrastructure.catalog.operations.with_copies({"service_status": broken}),
                )
            )
            for request in await rehearsal.infrastructure.start():
                result = await rehearsal.infrastructure.wait(request)
                assert result is not None
                ended = (result.status, result.reason)
                assert ended in ((Status.DONE, None), (Status.FAILED, Reason.CANCELLED)), result.message

"""A watch that ends as soon as it began: it is asked again, and not without a pause."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.executors.kubernetes.played import played
from uici_executors.kubernetes import watch

MAPS = "/api/v1/namespaces/shop/configmaps"
ADDED = {"type": "ADDED", "object": {"kind": "ConfigMap", "metadata": {"name": "one", "resourceVersion": "2"}}}
WATCHES = 8


class Longest(random.Random):
    def random(self) -> float:
        return 1.0


async def pauses(folder: Path, said: str, clock: Callable[[], float]) -> list[float]:
    """Between so many watches, each of which gives this and ends."""
    slept: list[float] = []
    watches = 0
    enough = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal watches
        if "watch" not in request.query:
            return web.json_response({"kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": []})
        watches += 1
        if watches >= WATCHES:
            enough.set()
            await asyncio.sleep(60)
        return web.Response(text=said)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with played(folder, answer) as server, asyncio.timeout(20):

        async def watching() -> None:
            async for _ in watch.objects(server, MAPS, {}, watch.Pause(sleep, Longest()), clock):
                pass

        task = asyncio.create_task(watching())
        await enough.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return slept


async def test_the_pauses_grow_while_nothing_comes(tmp_path: Path) -> None:
    found = await pauses(tmp_path, "", lambda: 0.0)
    assert found == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, watch.MOST]


async def test_after_a_change_the_pause_is_the_shortest(tmp_path: Path) -> None:
    assert await pauses(tmp_path, json.dumps(ADDED) + "\n", lambda: 0.0) == [watch.FIRST] * (WATCHES - 1)


@pytest.mark.parametrize("said", ["", json.dumps(ADDED) + "\n"], ids=["quiet", "with a change"])
async def test_a_watch_that_lasted_is_asked_again_at_once(tmp_path: Path, said: str) -> None:
    ticks = itertools.count(0.0, watch.BRIEF)
    assert await pauses(tmp_path, said, lambda: next(ticks)) == []

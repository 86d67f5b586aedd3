"""A program that takes longer to stop than the operation waits, on a real supervisord, through the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.supervisord import Supervisord, supervisord
from tests.executors.whole import running, starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.model import Evidence, Origin, Request, Result

pytestmark = pytest.mark.engine("supervisord")

#: The starter's minutes, so that a test need not take that long: of the calls, and of the look after a stop.
SHORTER = {
    "operations.yml": {"timeout: 60s": "timeout: 4s", "maximum: 50": "maximum: 2", "default: 10": "default: 2"},
    "command_translations/supervisor.yml": {"within: 50s": "within: 3s"},
}


def catalog(folder: Path, url: str) -> Catalog:
    starter(folder, "supervisor", {"url": url})
    for name, words in SHORTER.items():
        text = (folder / name).read_text()
        for long, short in words.items():
            assert long in text
            text = text.replace(long, short)
        (folder / name).write_text(text)
    return UniversalConfigLoader(folder).load()


@contextlib.contextmanager
def deaf(folder: Path, seconds: int) -> Iterator[tuple[Supervisord, int]]:
    """A program that hears no SIGTERM, and is killed after so many seconds, and its process id."""
    command = f"/bin/sh -c 'trap \"\" TERM; touch {folder}/ready; exec sleep 600'"
    with supervisord({"slow": {"command": command, "stopwaitsecs": seconds}}) as one:
        while not (folder / "ready").exists():
            time.sleep(0.02)
        yield one, one.info("slow")["pid"]
        if (last := one.info("slow")["pid"]) != 0:
            os.kill(last, signal.SIGKILL)


async def do(one: Supervisord, folder: Path, operation: str) -> Result:
    async with running(catalog(folder / "catalog", one.url), folder) as interface:
        request = Request(operation=operation, parameters={"service": "slow"}, environment="supervisor", confirm=True)
        return await interface.execute(request, Origin("human", "anna"))


async def test_what_is_still_being_stopped_is_started_when_it_has(tmp_path: Path) -> None:
    """supervisord calls it stopping, refuses to stop it once more, and does not start it."""
    with deaf(tmp_path, 5) as (one, before):
        result = await do(one, tmp_path, "restart_service")
        assert (result.status.value, result.verification) == ("done", "recovered"), result.message
        assert one.info("slow")["statename"] == "RUNNING"
        assert one.info("slow")["pid"] != before


async def test_a_restart_says_so_where_it_takes_longer_than_that(tmp_path: Path) -> None:
    with deaf(tmp_path, 60) as (one, before):
        result = await do(one, tmp_path, "restart_service")
        assert (result.status.value, result.reason) == ("failed", "timeout"), result.message
        assert (one.info("slow")["statename"], one.info("slow")["pid"]) == ("STOPPING", before)


async def test_a_restart_that_is_taken_back_leaves_no_stop_behind(tmp_path: Path) -> None:
    with deaf(tmp_path, 2) as (one, before):
        async with running(catalog(tmp_path / "catalog", one.url), tmp_path) as interface:
            request = Request(operation="restart_service", parameters={"service": "slow"}, environment="supervisor")
            cancelled: list[asyncio.Task[bool]] = []

            def stopped(id: str, seen: Evidence) -> None:
                if seen.name == "supervisor.stopProcess":
                    cancelled.append(asyncio.ensure_future(interface.cancel(id, "human:bo")))

            interface.on_progress = stopped
            result = await interface.execute(request, Origin("human", "anna"))
        assert [await one for one in cancelled] == [True]
        assert (result.status.value, result.reason) == ("failed", "cancelled"), result.message
        assert one.wait("slow", "RUNNING")["pid"] != before


async def test_a_stop_is_verified_when_the_process_is_gone(tmp_path: Path) -> None:
    with deaf(tmp_path, 7) as (one, _):
        result = await do(one, tmp_path, "stop_service")
        assert (result.status.value, result.verification) == ("done", "recovered"), result.message
        assert (one.info("slow")["statename"], one.info("slow")["pid"]) == ("STOPPED", 0)


async def test_a_start_waits_for_a_stop_that_is_under_way(tmp_path: Path) -> None:
    with deaf(tmp_path, 2) as (one, before):
        one.call("supervisor.stopProcess", "slow", False)
        result = await do(one, tmp_path, "start_service")
        assert (result.status.value, result.verification) == ("done", "recovered"), result.message
        assert one.info("slow")["pid"] not in (0, before)

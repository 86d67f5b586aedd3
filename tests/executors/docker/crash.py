"""Kills a process at every changing call of one deployment on a real engine, one process for each point.

    python -m tests.executors.docker.crash FOLDER CATALOG BASE_URL MARK IMAGE

Makes FOLDER/1, FOLDER/2 … each with the journal as the killed process left it, about a container ``web-1``, ``web-2`` …;
the last one was not killed. Forks while no thread runs. Each call has three points: its intent is durable and nothing was
sent; the engine has done it and nobody knows; its outcome is durable.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.engines.docker import Docker
from uici.catalog import Catalog, UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts, Outcome, load
from uici.journal import open_journal
from uici.journal.sqlite import SQLiteJournal
from uici.model import Call, Origin, Request, Risk

ELSEWHERE = Facts(pids=(4711,), hostname="elsewhere")
#: Processes at one time.
SIDE_BY_SIDE = 4


def name(point: int | str) -> str:
    return f"web-{point}"


async def interface_of(catalog: Catalog, folder: Path, later: float = 0.0) -> UniversalInfrastructureInterface:
    """Time runs ten times as fast for it, and ``later`` seconds ahead, so that no deadline is waited for."""
    begin = time.time()
    return UniversalInfrastructureInterface(
        catalog,
        await open_journal(f"sqlite:///{folder}/journal.db"),
        facts=ELSEWHERE,
        clock=lambda: begin + later + (time.time() - begin) * 10,
        sleep=lambda seconds: asyncio.sleep(seconds / 10),
    )


def die_at(at: int) -> None:
    passed = 0
    executor = load("docker")
    append, run = SQLiteJournal.append, executor.run

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def dying_append(self: SQLiteJournal, *entries: Any) -> int:
        seq = await append(self, *entries)
        if any(one.kind == "outcome" for one in entries):
            point()
        return seq

    async def dying_run(self: Any, call: Call) -> Outcome:
        if call.risk is Risk.OBSERVE:
            return await run(self, call)
        point()
        outcome = await run(self, call)
        point()
        return outcome

    SQLiteJournal.append = dying_append  # type: ignore[method-assign]
    executor.run = dying_run  # type: ignore[method-assign]


async def deploy(catalog: Catalog, folder: Path, image: str) -> None:
    interface = await interface_of(catalog, folder)
    await interface.start()
    parameters = {"service": name(folder.name), "image": image}
    request = Request(operation="deploy_service", parameters=parameters, environment="docker", confirm=True)
    await interface.execute(request, Origin("human", "anna"))
    await interface.close(grace=5)
    await interface.journal.close()


def main(folder: Path, catalog: Path, base_url: str, mark: str, image: str) -> None:
    loaded = UniversalConfigLoader(catalog).load()
    load("docker")
    running: dict[int, int] = {}
    at, over = 0, False
    while running or not over:
        while not over and len(running) < SIDE_BY_SIDE:
            at += 1
            here = folder / str(at)
            here.mkdir()
            child = os.fork()
            if child == 0:
                engine = Docker(base_url, None, private=False)
                engine.mark = mark
                engine.run(name(at))
                engine.client.close()
                die_at(at)
                asyncio.run(deploy(loaded, here, image))
                os._exit(0)
            running[child] = at
        child, status = os.wait()
        ended = running.pop(child)
        if not os.WIFSIGNALED(status):
            over = True
            if status != 0 or at > 200:
                raise SystemExit(f"point {ended} ended with {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6])

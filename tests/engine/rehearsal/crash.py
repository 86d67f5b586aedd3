"""Kills a process at every journal write and every executor call of one Request, one process for each point.

    python -m tests.engine.rehearsal.crash FOLDER WORLD.json REQUEST.json

Makes FOLDER/1, FOLDER/2 … each with the world and the journal as the killed process left them; the last one was not
killed. Forks while no thread runs, so that hundreds of points take seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import rehearsing  # puts the plugin on the path
from uici.executor import Outcome
from uici.journal.sqlite import SQLiteJournal
from uici.model import Call


class Killer:
    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at(at: int) -> None:
    killer = Killer(at)
    append, run = SQLiteJournal.append, RehearsalExecutor.run

    async def dying_append(self: SQLiteJournal, *entries: Any) -> int:
        killer.point()
        seq = await append(self, *entries)
        killer.point()
        return seq

    async def dying_run(self: RehearsalExecutor, call: Call) -> Outcome:
        killer.point()
        outcome = await run(self, call)
        killer.point()
        return outcome

    SQLiteJournal.append = dying_append  # type: ignore[method-assign]
    RehearsalExecutor.run = dying_run  # type: ignore[method-assign]


async def ask(folder: Path, request: dict[str, Any]) -> None:
    async with rehearsing(folder) as rehearsal:
        await rehearsal.run(**request)


def main(folder: Path, world: Path, request: Path) -> None:
    asked = json.loads(request.read_text())
    for at in range(1, 500):
        here = folder / str(at)
        here.mkdir()
        shutil.copy(world, here / "world.json")
        child = os.fork()
        if child == 0:
            os.environ["REHEARSAL_WORLD"] = str(here / "world.json")
            die_at(at)
            asyncio.run(ask(here, asked))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            if status != 0:
                raise SystemExit(f"point {at} ended with {status}")
            return
    raise SystemExit("it never came to its end")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))

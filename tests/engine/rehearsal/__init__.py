"""A rehearsal: an engine whose faults are written down beforehand, and a catalog for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CATALOG = HERE / "catalog"
PLUGIN = str(HERE / "plugin")

if PLUGIN not in sys.path:
    sys.path.append(PLUGIN)

from uici_rehearsal import new_service  # noqa: E402 - found through the path above, as an installed plugin would be

from uici.catalog import UniversalConfigLoader  # noqa: E402
from uici.engine import UniversalInfrastructureInterface  # noqa: E402
from uici.journal import Entry, Journal, open_journal  # noqa: E402
from uici.model import Origin, Request, Result  # noqa: E402


class Time:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)
        await asyncio.sleep(0)


def write_world(path: Path, services: dict[str, Any] | None = None, script: Any = (), **more: Any) -> None:
    services = services if services is not None else {"web": {}, "db": {}}
    world = {
        "services": {name: new_service(name, **one) for name, one in services.items()},
        "script": list(script),
        "effects": [],
        "tick": 10,
        **more,
    }
    path.write_text(json.dumps(world))


class Rehearsal:
    """One engine over one world, with the clock in the test's hand."""

    def __init__(self, folder: Path, infrastructure: UniversalInfrastructureInterface, time: Time) -> None:
        self.folder = folder
        self.infrastructure = infrastructure
        self.time = time

    @property
    def journal(self) -> Journal:
        return self.infrastructure.journal

    @property
    def world(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "world.json").read_text())
        return found

    def change_world(self, /, **more: Any) -> None:
        world = self.world
        world.update(more)
        (self.folder / "world.json").write_text(json.dumps(world))

    @property
    def effects(self) -> list[str]:
        return [f"{one['call']} {one['on'] or ''}".strip() for one in self.world["effects"]]

    async def run(self, operation: str, *, by: str = "human:anna", confirm: bool = False, **more: Any) -> Result:
        kind, _, name = by.partition(":")
        keys = {key: more.pop(key) for key in ("environment", "dry_run") if key in more}
        incident, only_if = more.pop("incident", None), more.pop("only_if", None)
        request = Request(operation=operation, parameters=more, confirm=confirm, **keys)
        return await self.infrastructure.execute(request, Origin(kind, name), incident=incident, only_if=only_if)

    async def entries(self, *kinds: str) -> list[Entry]:
        return await self.journal.entries(kinds=kinds)


@contextlib.asynccontextmanager
async def rehearsing(folder: Path) -> AsyncIterator[Rehearsal]:
    """An engine over ``folder/world.json``; entering it again is a restart of the process."""
    time = Time()
    catalog = UniversalConfigLoader(CATALOG).load()
    journal = await open_journal(f"sqlite:///{folder}/journal.db", clock=time.clock)
    infrastructure = UniversalInfrastructureInterface(catalog, journal, clock=time.clock, sleep=time.sleep)
    try:
        yield Rehearsal(folder, infrastructure, time)
    finally:
        await infrastructure.close(0)
        await journal.close()

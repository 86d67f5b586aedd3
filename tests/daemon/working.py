"""A worker over the rehearsal's engine: alerts in, incidents out, with the clock in the test's hand."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.engine.rehearsal import CATALOG, Rehearsal, Time
from uici.catalog import UniversalConfigLoader
from uici.daemon.incidents import environment_of
from uici.daemon.worker import Worker
from uici.engine import UniversalInfrastructureInterface
from uici.journal import Entry, Escalation, Journal, open_journal
from uici.model import Alert, Environment, Incident, IncidentState, JournalError, rfc3339

HERE = Path(__file__).parent
#: Seconds of real time after which a test gives up.
LIMIT = 10.0


class Sleeper:
    """A sleep that only ``advance`` ends; once time ``flows``, each sleep moves the clock itself."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._moved = asyncio.Event()
        self._flowing = False

    def flow(self) -> None:
        self._flowing = True
        self.advance(0)

    async def sleep(self, seconds: float) -> None:
        until = self._time.now + seconds
        while self._time.now < until:
            if self._flowing:
                self._time.now += min(1.0, until - self._time.now)
                await asyncio.sleep(0)
            else:
                await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self._time.now += seconds
        self._moved.set()
        self._moved = asyncio.Event()


class Working(Rehearsal):
    def __init__(self, folder: Path, infrastructure: UniversalInfrastructureInterface, time: Time) -> None:
        super().__init__(folder, infrastructure, time)
        self.sleeper = Sleeper(time)
        self.worker = Worker(infrastructure, clock=time.clock, sleep=self.sleeper.sleep)

    def alert(self, name: str = "ServiceDown", ago: float = 0.0, resolved: bool = False, **labels: str) -> Alert:
        labels = {"alertname": name, **labels}
        return Alert(
            labels=labels,
            status="resolved" if resolved else "firing",
            starts_at=rfc3339(self.time.now - ago),
            ends_at=rfc3339(self.time.now) if resolved else None,
            fingerprint="-".join(labels[key] for key in sorted(labels)),
        )

    def advance(self, seconds: float) -> None:
        self.sleeper.advance(seconds)
        self.worker.wake()

    async def post(self, *alerts: Alert) -> None:
        """As the webhook does: durable, then the worker is woken."""
        await self.journal.append(*(self.accepted(alert) for alert in alerts))
        self.worker.wake()

    def accepted(self, alert: Alert, incident: str | None = None) -> Entry:
        found = environment_of(alert, self.infrastructure.catalog.environments)
        name = found.name if isinstance(found, Environment) else None
        return Entry(
            kind="alert", data={"alert": alert.to_json(), "environment": name, "source": "test"}, incident=incident
        )

    async def until(self, holds: Callable[[list[Incident]], Any]) -> list[Incident]:
        """The incidents, newest first, once ``holds`` is true of them."""
        async with asyncio.timeout(LIMIT):
            async for _ in self.journal.follow():
                found = await self.journal.incidents()
                if holds(found):
                    return found
        raise AssertionError("unreachable")

    async def one(self, *states: IncidentState) -> Incident:
        """The newest incident, once it is in one of these states."""
        return (await self.until(lambda found: found and found[0].state in states))[0]

    async def joined(self, count: int) -> None:
        """Until so many alerts were taken."""
        async with asyncio.timeout(LIMIT):
            async for _ in self.journal.follow():
                if len(await self.entries("joined")) >= count:
                    return

    async def told(self) -> list[Escalation]:
        return await self.journal.outbox(self.time.now + 1e9)


class Dying:
    """A journal whose process dies at its ``last`` append: before that is durable, or right after, when nobody hears of it."""

    def __init__(self, journal: Journal, last: int, durable: bool) -> None:
        self.living, self._left, self._durable = journal, last, durable
        self.died = asyncio.Event()

    async def append(self, *entries: Entry) -> int:
        self._left -= 1
        if self._left == 0 and self._durable:
            await self.living.append(*entries)
        if self._left <= 0:
            self.died.set()
            raise JournalError("the process is dead")
        return await self.living.append(*entries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.living, name)


@contextlib.asynccontextmanager
async def working(
    folder: Path,
    *,
    run: bool = True,
    dies: Callable[[Journal], Journal] | None = None,
    prometheus: str = "",
    now: float = 0,
) -> AsyncIterator[Working]:
    """Engine and worker over ``folder``; entering it again is a restart of the daemon."""
    catalog = folder / "catalog"
    if not catalog.exists():
        shutil.copytree(CATALOG, catalog)
        shutil.copytree(HERE / "worker_catalog", catalog, dirs_exist_ok=True)
    if prometheus:
        with (catalog / "platform.yml").open("a") as platform:
            platform.write(f"monitoring: {{prometheus: {prometheus}}}\n")
    time = Time()
    time.now = now or time.now
    loaded = UniversalConfigLoader(catalog).load()
    journal = await open_journal(f"sqlite:///{folder}/journal.db", clock=time.clock)
    used = dies(journal) if dies else journal
    infrastructure = UniversalInfrastructureInterface(loaded, used, clock=time.clock, sleep=time.sleep)
    work = Working(folder, infrastructure, time)
    await infrastructure.start()
    task = asyncio.create_task(work.worker.run()) if run else None
    try:
        yield work
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await work.worker.drain(5)
        await infrastructure.close(0)
        await journal.close()

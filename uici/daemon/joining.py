"""Accepted alerts become incidents: each joins the open one of its fingerprint, else of its resolved target.

One task for each environment at a time, so that an engine that does not answer delays the alerts of no other. It must not
act: what an incident leads to is the worker's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from uici.daemon import incidents
from uici.daemon.logs import logger
from uici.daemon.open_incidents import OpenIncidents
from uici.daemon.placement import Placed, place_of
from uici.daemon.repeats import Repeats
from uici.engine.core import Sleep
from uici.journal import Entry, WaitingAlert
from uici.model import (
    Alert,
    Clock,
    ConfigurationError,
    Incident,
    JournalError,
    Reason,
    UnreachableError,
)

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

#: Alerts taken at a time, and how many of them are located at once: when so many in a row got no answer from their
#: engine, it is not asked for the others.
BATCH, AT_ONCE = 500, 16
#: Seconds after an alert was accepted for which its engine may fail to answer before a person is told.
PATIENCE = 30.0
#: Seconds that an engine has to answer for an alert, however long that has waited already.
FAIR = 10.0
#: So many alerts at once that say nothing new are a flood of repeats: after them this waits so many seconds, so that
#: taking alerts in keeps the processor, and the next batch is larger.
BUSY, PAUSE = 12, 0.02
#: Seconds before an engine that did not answer is asked again.
AGAIN = 5.0


class Joining:
    """``confirm``: whether a Prometheus has to confirm recoveries. ``begin``: called when there are incidents that may
    begin; ``done``: when a batch is joined."""

    def __init__(
        self,
        infrastructure: UniversalInfrastructureInterface,
        open_incidents: OpenIncidents,
        clock: Clock,
        sleep: Sleep,
        repeats: Repeats,
        *,
        confirm: Callable[[], bool],
        begin: Callable[[], Awaitable[None]],
        done: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._infrastructure, self._open, self._clock = infrastructure, open_incidents, clock
        self._sleep, self._repeats = sleep, repeats
        self._confirm, self._begin_some, self._done = confirm, begin, done
        self._log = logger()
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        self._not_before: dict[str | None, float] = {}

    async def take(self) -> None:
        """Starts a task for every environment that has alerts waiting and none running. Raises JournalError."""
        await self._repeats.begin(self._infrastructure.journal)
        now = self._clock()
        # What is left out waits behind nobody else's alerts, however many of them wait.
        left_out = {*self._tasks, *(name for name, until in self._not_before.items() if until > now)}
        while True:
            waiting = await self._infrastructure.journal.waiting_alerts(BATCH, without=left_out)
            groups: dict[str | None, list[WaitingAlert]] = defaultdict(list)
            for one in waiting:
                groups[one.environment].append(one)
            for environment, group in groups.items():
                task = asyncio.create_task(self._join(environment, group), name=f"join-{environment}")
                self._tasks[environment] = task
                task.add_done_callback(lambda task, name=environment: self._ended(task, name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            if len(waiting) < BATCH:
                return
            left_out |= groups.keys()

    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._tasks.values())

    def _ended(self, task: asyncio.Task[None], environment: str | None) -> None:
        del self._tasks[environment]
        self._done(task)

    async def _join(self, environment: str | None, group: list[WaitingAlert]) -> None:
        for one in group:
            self._repeats.waits(one.alert.fingerprint, one.seq)
        placed = await self._place(group)
        now = self._clock()
        changed: dict[str, Incident] = {}
        entries: list[Entry] = []
        repeats: dict[str, list[int]] = {}
        held: set[str] = set()
        for one in group:
            alert = one.alert
            if alert.fingerprint in held:
                continue
            incident = self._open.of_fingerprint(alert.fingerprint)
            if incident is None and alert.firing:
                place = placed.get(alert.fingerprint)
                if place is None:  # its engine does not answer yet; what comes after it has to wait too
                    held.add(alert.fingerprint)
                    continue
                incident = self._open.of_key(incidents.key_of(alert, place.environment, place.target))
                if incident is None:
                    incident = self._begin(alert, place, now)
                    changed[incident.id] = incident
                    self._open.keep(incident)
            if incident is not None:
                if not self._open.is_written(incident.id):
                    changed.setdefault(incident.id, incident)  # an alert is not taken into what nobody would find again
                new = incidents.joined(incident, alert, now, confirm=self._confirm())
                known = new is incident and incident.id not in changed and alert.fingerprint in repeats
                if known and len(group) >= BUSY:
                    repeats[alert.fingerprint].append(one.seq)
                    continue
                if new is not incident:
                    changed[new.id] = incident = new
                    self._open.keep(new)
            more = repeats[alert.fingerprint] = []
            data = {"alert": one.seq, "fingerprint": alert.fingerprint, "more": more}
            entries.append(Entry(kind="joined", data=data, incident=incident.id if incident else None))
        self._not_before[environment] = now + AGAIN if held else 0.0
        saving = asyncio.ensure_future(self._open.save(changed.values(), *entries))
        await asyncio.sleep(0)  # they are in memory now: what only looks begins while they become durable
        try:
            await self._begin_some()
        finally:
            await saving
        for one in group:
            if one.alert.fingerprint not in held:
                self._repeats.joined(one.alert.fingerprint, one.seq)
        if len(group) >= BUSY and not changed:
            await self._sleep(PAUSE)

    def _begin(self, alert: Alert, place: Placed, now: float) -> Incident:
        last = place.last
        if last is not None and incidents.reopens(last, alert):
            incident = incidents.reopened(
                last, alert, now, environment=place.environment, target=place.target, runbook=place.runbook
            )
        else:
            incident = incidents.opened(
                self._infrastructure.new_id(),
                alert,
                now,
                environment=place.environment,
                target=place.target,
                runbook=place.runbook,
                previous=last,
                settle=self._infrastructure.catalog.platform.settle,
            )
        return incidents.escalated(incident, place.reason, place.message, now) if place.reason else incident

    async def _place(self, group: list[WaitingAlert]) -> dict[str, Placed]:
        """By fingerprint, for firing alerts that no open incident knows."""
        unknown = {
            one.alert.fingerprint: one
            for one in reversed(group)
            if one.alert.firing and self._open.of_fingerprint(one.alert.fingerprint) is None
        }
        gate = asyncio.Semaphore(AT_ONCE)
        missed: list[str] = []

        async def place(one: WaitingAlert) -> Placed | None:
            async with gate:
                return await self._place_one(one, missed)

        places = await asyncio.gather(*(place(one) for one in unknown.values()))
        return {name: found for name, found in zip(unknown, places, strict=True) if found is not None}

    async def _place_one(self, one: WaitingAlert, missed: list[str]) -> Placed | None:
        """None: its engine does not answer, and there is time to ask again. ``missed``: why the last looks of this batch
        got no answer; it is added to."""
        alert, place = one.alert, None
        limit = min(PATIENCE, max(FAIR, one.at + PATIENCE - self._clock()))
        try:
            if len(missed) < AT_ONCE:
                async with asyncio.timeout(limit):
                    place = await place_of(self._infrastructure, alert)
                missed.clear()
        except (UnreachableError, ConfigurationError, TimeoutError) as error:
            missed.append(str(error) or f"{one.environment}: no answer within {limit:.0f} s; is the engine running?")
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one alert must not hold up those behind it
            self._log.error("an alert could not be placed", fingerprint=alert.fingerprint, exc_info=error)
            message = f"UICI failed inside while it looked for its target: {type(error).__name__}: {error}"
            place = Placed(environment=one.environment, reason=Reason.INCONCLUSIVE.value, message=message)
        if place is None:
            if self._clock() - one.at < PATIENCE:
                return None
            place = Placed(environment=one.environment, reason=Reason.UNREACHABLE.value, message=missed[-1])
        key = incidents.key_of(alert, place.environment, place.target)
        last = await self._open.last_ended(key, alert.fingerprint)
        return Placed(
            environment=place.environment,
            target=place.target,
            runbook=place.runbook,
            last=last,
            reason=place.reason,
            message=place.message,
        )

"""Recoveries: whether a verified change lasts, and what else is only a matter of time: a dependency, a storm that passes.

Where ``platform.yml`` names a Prometheus, that has to confirm that the alerts are gone. Nothing is tried here: an incident
that did not recover is ``open`` again, and the worker goes on with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from uici.daemon import incidents
from uici.daemon.open_incidents import OpenIncidents
from uici.daemon.prometheus import Prometheus
from uici.engine.core import Sleep
from uici.model import Clock, Incident, IncidentState, epoch

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

#: Seconds between two questions to a Prometheus.
EVERY = 5.0

#: What tells one move of an incident from the next: its state, how much was tried, how often it began anew.
_Move = tuple[str, str, int, int]


def _move(incident: Incident | None) -> _Move:
    if incident is None:
        return ("", "", 0, 0)
    return (incident.id, incident.state.value, len(incident.tried), incident.reopened)


class Recoveries:
    """``save``: writes one incident and says so in the log. ``notify``: called when an escalation may have been written;
    ``done``: when a task has ended. ``stopping``: whether nothing more may be begun."""

    def __init__(
        self,
        infrastructure: UniversalInfrastructureInterface,
        open_incidents: OpenIncidents,
        clock: Clock,
        sleep: Sleep,
        *,
        save: Callable[[Incident], Awaitable[None]],
        notify: Callable[[], None],
        done: Callable[[asyncio.Task[None]], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._infrastructure, self._open, self._clock, self._sleep = infrastructure, open_incidents, clock, sleep
        self._save, self._notify, self._done, self._stopping = save, notify, done, stopping
        self._confirming: dict[str, asyncio.Task[None]] = {}
        #: Of an incident that waited, the move of its dependency on which it was looked at again last.
        self._looked: dict[str, _Move] = {}
        self._monitor: Prometheus | None = None

    @property
    def confirmed(self) -> bool:
        """Whether a Prometheus has to confirm a recovery."""
        return self._prometheus() is not None

    def tasks(self) -> list[asyncio.Task[None]]:
        """The confirmations that are under way."""
        return list(self._confirming.values())

    async def close(self) -> None:
        if self._monitor is not None:
            await self._monitor.close()
            self._monitor = None

    async def look(self) -> None:
        """Moves on what has waited long enough. Raises JournalError."""
        now = self._clock()
        changed: list[Incident] = []
        looked: dict[str, _Move] = {}
        for incident in self._open.in_states(IncidentState.WATCHING):
            new = incidents.due(incident, now)
            if new is incident and incident.waits_for is not None:
                dependency = self._open.get(incident.waits_for)
                new, move = incidents.dependency_moved(incident, dependency, now), _move(dependency)
                if new.state is IncidentState.OPEN and self._looked.get(incident.id) == move:
                    new = incident  # looked at since, and found waiting all the same: once for each move is enough
                looked[incident.id] = move
            if new is not incident:
                changed.append(new)
            elif not incident.firing and incident.id not in self._confirming:
                self._begin(incident)
        settle = self._infrastructure.catalog.platform.settle
        ended = [
            incidents.ended(one, "inconclusive", now)
            for one in self._open.in_states(IncidentState.ESCALATED)
            if not one.alerts and epoch(one.changed_at) + settle < now  # a storm that has passed
        ]
        if changed or ended:
            await self._open.save([*changed, *ended])
            self._looked.update((one.id, looked[one.id]) for one in changed if one.id in looked)
            self._notify()
        for id in [id for id in self._looked if (one := self._open.get(id)) is None or one.ended]:
            del self._looked[id]

    async def window(self, incident: Incident, *, changed: bool) -> float:
        """Seconds that its alerts may still fire after a plan's end. ``changed``: after a verified change."""
        settle = self._infrastructure.catalog.platform.settle
        prometheus = self._prometheus()
        if not changed or prometheus is None:
            return settle
        return max([settle, *[await prometheus.window(alert) for alert in incident.alerts]])

    def _begin(self, incident: Incident) -> None:
        task = self._confirming[incident.id] = asyncio.create_task(
            self._confirm(incident), name=f"incident-{incident.id}"
        )

        def over(done: asyncio.Task[None]) -> None:
            self._confirming.pop(incident.id, None)
            self._done(done)

        task.add_done_callback(over)

    async def _confirm(self, incident: Incident) -> None:
        """A recovery is one when the alert's expression stays empty while its series have fresh samples."""
        prometheus = self._prometheus()
        if prometheus is None:
            await self._open.save([incidents.gone(incident, self._clock())])
            return
        window = max([await prometheus.window(alert) for alert in incident.alerts], default=0.0)
        until = max(epoch(incident.watch_until or incident.changed_at), self._clock() + window) + 2 * EVERY
        while not self._stopping():
            seen = self._open.get(incident.id) or incident
            confirmed = await _stayed_empty(prometheus, seen)
            current, now = self._open.get(incident.id), self._clock()
            if current is None or current.state is not IncidentState.WATCHING or current.firing:
                return
            if confirmed and current.alerts == seen.alerts:
                await self._save(incidents.ended(current, "recovered", now))
                return
            if now > until:
                message = "its alerts are resolved, but fresh samples of their expressions did not confirm it"
                await self._save(incidents.ended(current, "inconclusive", now, message))
                return
            await self._sleep(EVERY)

    def _prometheus(self) -> Prometheus | None:
        url = self._infrastructure.catalog.platform.prometheus
        if url is None:
            return None
        if self._monitor is None or self._monitor.url != url:
            self._monitor = Prometheus(url, clock=self._clock)
        return self._monitor


async def _stayed_empty(prometheus: Prometheus, incident: Incident) -> bool:
    """Of each of its alerts; after the first of which that cannot be said nothing more is asked."""
    for alert in incident.alerts:
        if await prometheus.stayed_empty(alert) is not True:
            return False
    return True

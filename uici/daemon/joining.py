"""Accepted alerts become incidents: each joins the open one of its fingerprint, else of its resolved target.

One task for each environment at a time, so that an engine that does not answer delays the alerts of no other. It must not
act: what an incident leads to is the worker's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uici.daemon import incidents
from uici.daemon.logs import logger
from uici.daemon.open_incidents import OpenIncidents
from uici.engine.core import Sleep
from uici.journal import Entry, WaitingAlert
from uici.model import (
    Alert,
    Clock,
    ConfigurationError,
    Environment,
    Incident,
    JournalError,
    Reason,
    Resource,
    UnreachableError,
)
from uici.planners import choose

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

#: Alerts taken at a time, and how many of them are located at once.
BATCH, AT_ONCE = 500, 16
#: Seconds after an alert was accepted for which its engine may fail to answer before a person is told.
PATIENCE = 30.0
#: So many alerts at once that say nothing new are a flood of repeats: after them this waits so many seconds, so that
#: taking alerts in keeps the processor, and the next batch is larger.
BUSY, PAUSE = 12, 0.02
#: Seconds before an engine that did not answer is asked again.
AGAIN = 5.0
#: Labels that say in which namespace an alert's target lies; one that names another place is not believed to mean this.
NAMESPACE_LABELS = ("namespace", "container_label_com_docker_compose_project", "com_docker_compose_project")
KIND = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What an alert is about. ``reason`` set: nothing may be tried, with why."""

    environment: str | None = None
    target: Resource | None = None
    runbook: str | None = None
    last: Incident | None = None
    reason: str | None = None
    message: str = ""


class Joining:
    """``confirm``: whether a Prometheus has to confirm recoveries. ``done``: called when a batch is joined."""

    def __init__(
        self,
        infrastructure: UniversalInfrastructureInterface,
        open_incidents: OpenIncidents,
        clock: Clock,
        sleep: Sleep,
        *,
        confirm: Callable[[], bool],
        done: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._infrastructure, self._open, self._clock = infrastructure, open_incidents, clock
        self._sleep = sleep
        self._confirm, self._done = confirm, done
        self._log = logger()
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        self._taken: set[int] = set()
        self._not_before: dict[str | None, float] = {}

    async def take(self) -> None:
        """Starts a task for every environment that has alerts waiting and none running. Raises JournalError."""
        waiting = await self._infrastructure.journal.waiting_alerts(BATCH + len(self._taken))
        groups: dict[str | None, list[WaitingAlert]] = defaultdict(list)
        for one in waiting:
            if one.seq in self._taken or one.environment in self._tasks:
                continue
            if self._not_before.get(one.environment, 0.0) <= self._clock():
                groups[one.environment].append(one)
        for environment, group in groups.items():
            seqs = [one.seq for one in group]
            self._taken.update(seqs)
            task = asyncio.create_task(self._join(environment, group), name=f"join-{environment}")
            self._tasks[environment] = task
            task.add_done_callback(lambda task, name=environment, seqs=seqs: self._ended(task, name, seqs))  # type: ignore[misc]

    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._tasks.values())

    def _ended(self, task: asyncio.Task[None], environment: str | None, seqs: Iterable[int]) -> None:
        self._taken.difference_update(seqs)
        del self._tasks[environment]
        self._done(task)

    async def _join(self, environment: str | None, group: list[WaitingAlert]) -> None:
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
        await self._open.save(changed.values(), *entries)
        if len(group) >= BUSY and not changed:
            await self._sleep(PAUSE)

    def _begin(self, alert: Alert, place: Placed, now: float) -> Incident:
        last = place.last
        if last is not None and incidents.reopens(last, alert):
            incident = incidents.reopened(last, alert, now)
        else:
            incident = incidents.opened(
                self._infrastructure.new_id(),
                alert,
                now,
                environment=place.environment,
                target=place.target,
                runbook=place.runbook,
                previous=last,
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

        async def place(one: WaitingAlert) -> Placed | None:
            async with gate:
                return await self._place_one(one)

        places = await asyncio.gather(*(place(one) for one in unknown.values()))
        return {name: found for name, found in zip(unknown, places, strict=True) if found is not None}

    async def _place_one(self, one: WaitingAlert) -> Placed | None:
        """None: its engine does not answer, and there is time to ask again."""
        alert = one.alert
        try:
            place = await self._about(alert)
        except (UnreachableError, ConfigurationError) as error:
            if self._clock() - one.at < PATIENCE:
                return None
            place = Placed(environment=one.environment, reason=Reason.UNREACHABLE.value, message=str(error))
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one alert must not hold up those behind it
            self._log.error("an alert could not be placed", fingerprint=alert.fingerprint, exc_info=error)
            message = f"UICI failed inside while it looked for its target: {type(error).__name__}: {error}"
            place = Placed(environment=one.environment, reason=Reason.INCONCLUSIVE.value, message=message)
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

    async def _about(self, alert: Alert) -> Placed:
        """Environment, target and runbook. Raises UnreachableError and ConfigurationError."""
        catalog = self._infrastructure.catalog
        environment = incidents.environment_of(alert, catalog.environments)
        if incidents.about_uici(alert):
            name = environment.name if isinstance(environment, Environment) else None
            return Placed(environment=name, reason=Reason.SELF.value, message="an alert about UICI itself")
        if not isinstance(environment, Environment):
            several = (
                "the `alerts` of several environments match"
                if environment is Reason.AMBIGUOUS_ENVIRONMENT
                else ("no environment's `alerts` match")
            )
            return Placed(reason=environment.value, message=f"{several} {_labels(alert)}; exactly one must")
        runbook = choose(alert, catalog.runbooks)
        if runbook is None:
            return Placed(
                environment=environment.name,
                reason=Reason.NOT_OFFERED.value,
                message=f"no runbook matches {_labels(alert)}",
            )
        target, ambiguous = await self._target(alert, environment.name, runbook.target)
        place = Placed(environment=environment.name, target=target, runbook=runbook.name)
        if ambiguous:
            return Placed(
                environment=environment.name,
                runbook=runbook.name,
                reason=Reason.AMBIGUOUS_TARGET.value,
                message=f"several things in {environment.name} answer to it: {ambiguous}",
            )
        if target is not None and await self._infrastructure.is_self(environment.name, target):
            return Placed(
                environment=environment.name,
                target=target,
                runbook=runbook.name,
                reason=Reason.SELF.value,
                message=f"{target.name} is UICI, or UICI needs it, or that cannot be told; a person has to look",
            )
        return place

    async def _target(self, alert: Alert, environment: str, labels: tuple[str, ...]) -> tuple[Resource | None, str]:
        """The one thing that the first label names which names any, and else, where only several were found, their names.

        A later label may tell which of several is meant, and so may the alert's own namespace.
        """
        spaces = {alert.labels[name] for name in NAMESPACE_LABELS if alert.labels.get(name)}
        several: list[Resource] = []
        for label in labels:
            name = alert.labels.get(label)
            if not name:
                continue
            found = await self._infrastructure.locate(environment, KIND, name)
            if spaces:
                found = [one for one in found if one.namespace is None or one.namespace in spaces]
            if several:
                found = [one for one in found if one in several]
            if len(found) == 1:
                return found[0], ""
            several = several or found
        return None, ", ".join(f"{one.namespace or '-'}/{one.name}" for one in several[:10])


def _labels(alert: Alert) -> str:
    text = ", ".join(f'{name}="{value[:60]}"' for name, value in sorted(alert.labels.items())[:12])
    return f"{{{text}}}"

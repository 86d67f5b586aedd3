"""The worker: takes what was accepted, makes incidents of it, and lets a planner act on each, one at a time for one target.

It lives from the journal: a restart at any point goes on where that stands, and a sweep every 5 s finds what was left. It
executes nothing itself: every Request goes through ``engine.execute``, with the origin of its runbook.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from uici.daemon import incidents
from uici.daemon.joining import Joining
from uici.daemon.logs import logger
from uici.daemon.open_incidents import OpenIncidents
from uici.daemon.recoveries import Recoveries
from uici.daemon.repeats import Repeats
from uici.engine.core import Sleep
from uici.journal import Entry
from uici.model import (
    Clock,
    ConfigurationError,
    Environment,
    Incident,
    IncidentState,
    JournalError,
    Origin,
    Reason,
    Result,
    Runbook,
    Status,
    UnreachableError,
    epoch,
)
from uici.planners import Conclusion, Planning, Proposal, Verdict, after, choose, plan

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

#: Seconds between two sweeps for waiting and orphaned work; a wake comes sooner.
SWEEP = 5.0
#: Seconds between two looks for what the journal need not keep any longer, and before the first.
PRUNE, FIRST_PRUNE = 3600.0, 600.0
_BEGIN = (IncidentState.OPEN, IncidentState.ACTING)


class Worker:
    """``notify``: called when an escalation was written, so that the outbox need not wait for its own sweep."""

    def __init__(
        self,
        infrastructure: UniversalInfrastructureInterface,
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        notify: Callable[[], None] | None = None,
    ) -> None:
        self._infrastructure, self._clock, self._sleep = infrastructure, clock, sleep
        self._notify = notify or (lambda: None)
        self._log = logger()
        self._open = OpenIncidents(infrastructure.journal, infrastructure.redact)
        self.repeats = Repeats(self._open)
        self._joining = Joining(
            infrastructure,
            self._open,
            clock,
            sleep,
            self.repeats,
            confirm=lambda: self._recoveries.confirmed,
            begin=self._begin,
            done=self._task_ended,
        )
        self._recoveries = Recoveries(
            infrastructure,
            self._open,
            clock,
            sleep,
            save=self._save,
            notify=self._notify,
            done=self._task_ended,
            stopping=lambda: self._stopping,
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._known: set[str] = set()
        self._woken = asyncio.Event()
        self._stopping = False
        self._prune_at = clock() + FIRST_PRUNE

    # The loop

    async def run(self) -> None:
        """Until cancelled; what runs then is left to ``drain``."""
        self._stopping = False
        try:
            while True:
                self._woken.clear()
                try:
                    await self._turn()
                except JournalError as error:
                    self._log.error("the journal fails; nothing is begun", problem=str(error))
                await self._rest()
        finally:
            self._stopping = True

    def wake(self) -> None:
        self._woken.set()

    async def drain(self, grace: float = 0.0) -> None:
        """Begins nothing more and lets what runs end for ``grace`` seconds.

        What does not end is left to the engine's ``close``: cancelled before that knows of it, a command would be in doubt.
        """
        self._stopping = True
        if self._running and grace > 0:
            await asyncio.wait(list(self._running.values()), timeout=grace)
        tasks = [*self._joining.tasks(), *self._recoveries.tasks()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._recoveries.close()

    async def _turn(self) -> None:
        for incident in await self._open.refresh(self._running):
            await self._give_back(incident)
        await self._joining.take()
        await self._recoveries.look()
        await self._begin()
        await self._prune()

    async def _give_back(self, incident: Incident) -> None:
        incident = self._open.get(incident.id) or incident
        given = incidents.given_back(incident, self._clock())
        if given is incident:
            return
        if given.target is not None or given.ended:
            await self._open.save([given])
            return
        # Its target was not found, or its environment: its alerts are taken in again, as the catalog is now.
        again = [
            Entry(
                kind="alert", data={"alert": one.to_json(), "environment": incident.environment, "source": "reopened"}
            )
            for one in incident.firing
        ]
        await self._open.save([incidents.ended(incident, "inconclusive", self._clock())], *again)

    async def _prune(self) -> None:
        """Forgets ended matters that are older than the journal keeps."""
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE
        gone = await self._infrastructure.journal.prune(now - self._infrastructure.catalog.platform.keep)
        if gone:
            self._log.info("old entries were deleted from the journal", entries=gone)

    async def _rest(self) -> None:
        times = [
            epoch(one.watch_until) - self._clock()
            for one in self._open.in_states(IncidentState.WATCHING)
            if one.watch_until is not None and one.firing
        ]
        seconds = min([SWEEP, *times])
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.create_task(self._woken.wait())
        slept = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait([woken, slept], return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a task of the worker failed; the next sweep tries again", exc_info=error)
            return  # not woken at once: what fails at once would do so without an end
        self._notify()
        self.wake()

    # Acting

    async def _begin(self) -> None:
        """Starts every incident that may begin: none of its key runs, its environment is not paused, there is room.

        Room is given in turn to each environment, so that those of one whose engine hangs are not in the way of all others'.
        """
        waiting = [one for one in self._open.in_states(*_BEGIN) if one.id not in self._running]
        if not waiting or self._stopping:
            return
        paused = await self._infrastructure.journal.paused()
        running = [one for id in self._running if (one := self._open.get(id)) is not None]
        keys, turns = {one.key for one in running}, Counter(one.environment for one in running)
        in_turn: list[tuple[int, Incident]] = []
        for incident in waiting:
            in_turn.append((turns[incident.environment], incident))
            turns[incident.environment] += 1
        for _, incident in sorted(in_turn, key=lambda pair: pair[0]):  # stable: the oldest of each turn first
            if len(self._running) >= self._infrastructure.catalog.platform.incidents_at_once:
                break
            if None in paused or incident.environment in paused or incident.key in keys:
                continue
            keys.add(incident.key)
            self._spawn(incident.id)

    def _spawn(self, id: str) -> None:
        task = self._running[id] = asyncio.create_task(self._act(id), name=f"incident-{id}")

        def over(done: asyncio.Task[None]) -> None:
            self._running.pop(id, None)
            self._task_ended(done)

        task.add_done_callback(over)

    async def _act(self, id: str) -> None:
        incident = self._current(id)
        resumed = id not in self._known and (incident.state is IncidentState.ACTING or bool(incident.tried))
        self._known.add(id)
        try:
            conclusion = await self._recover(incident) if resumed else None
            if conclusion is None:
                conclusion = await self._plan(id)
            if conclusion is not None:
                await self._conclude(id, conclusion)
        except JournalError:
            self._known.discard(id)
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one incident must not keep UICI from the others
            self._log.error("an incident could not be worked on", incident=id, exc_info=error)
            message = f"UICI failed inside while it worked on this: {type(error).__name__}: {error}"
            await self._save(incidents.escalated(self._current(id), Reason.INCONCLUSIVE, message, self._clock()))

    async def _plan(self, id: str) -> Conclusion | None:
        """Runs the incident's plan to its conclusion; None: it was left where it stands."""
        incident = self._current(id)
        if not incident.firing:
            return Conclusion(verdict=Verdict.CHANGED, message=incident.message)
        catalog = self._infrastructure.catalog
        environment = catalog.environments.get(incident.environment or "")
        if environment is None:
            message = f"the catalog has no environment {incident.environment!r} any more"
            return Conclusion(verdict=Verdict.ESCALATE, reason=Reason.UNKNOWN_ENVIRONMENT, message=message)
        alert = incident.firing[0]
        runbook = self._runbook(incident)
        if runbook is None:
            message = f"no runbook matches {alert.name}"
            return Conclusion(verdict=Verdict.ESCALATE, reason=Reason.NOT_OFFERED, message=message)
        known = incident.runbook == runbook.name
        start = incidents.next_step(incident, catalog.operations) if known else 0
        verified = incident.reason == Reason.VERIFICATION.value
        acting = incidents.acting(incident, runbook.name, self._clock())
        self._open.keep(acting)
        # What only looks goes on while that becomes durable; a change waits for it.
        saving = asyncio.ensure_future(self._open.save([acting]))
        planning = plan(acting, alert, runbook, environment, operations=catalog.operations, start=start)
        try:
            async with contextlib.aclosing(planning):
                said = await self._follow(id, planning, runbook, environment, saving)
        finally:
            await saving
        if said is None:
            return None
        if verified and said.verdict is Verdict.NOTHING_TO_DO:
            message = f"still firing though the last change was verified; {said.message}"
            return Conclusion(verdict=Verdict.ESCALATE, reason=Reason.VERIFICATION.value, message=message)
        return said

    async def _follow(
        self, id: str, planning: Planning, runbook: Runbook, environment: Environment, saving: asyncio.Future[None]
    ) -> Conclusion | None:
        said = await anext(planning)
        while isinstance(said, Proposal):
            current = self._current(id)
            if self._stopping:
                return None
            if not current.firing:
                return Conclusion(verdict=Verdict.CHANGED, message="its alerts are gone")
            if said.changing:
                await saving
            result = await self._execute(id, said, runbook, environment)
            if _waits(result):
                await self._open.save([incidents.waiting(self._current(id), result.message, self._clock())])
                return None
            changed, said = said.changing, await planning.asend(result)
            if changed and isinstance(said, Proposal):
                await self._open.save([self._current(id)])
        return said

    async def _execute(self, id: str, proposal: Proposal, runbook: Runbook, environment: Environment) -> Result:
        step = proposal.step if proposal.changing else None
        request_id = f"{self._infrastructure.new_id()}-{'q' if step is None else step}"
        origin = Origin("runbook", runbook.name)
        result = await self._infrastructure.execute(
            proposal.request, origin, incident=id, only_if=proposal.only_if, id=request_id
        )
        if _waits(result):
            return result
        changed = proposal.changing and await self._changed(result)
        new = incidents.tried(self._current(id), result, proposal.step, changed)
        # Its Result is in the journal; this is written with what follows from it, so that a restart between the two
        # finds either both or neither.
        self._open.keep(new)
        return result

    async def _changed(self, result: Result) -> bool:
        entries = await self._infrastructure.journal.entries(request=result.id, kinds=("result",))
        return bool(entries) and bool(entries[-1].data["changed"])

    async def _conclude(self, id: str, conclusion: Conclusion) -> None:
        incident = self._current(id)
        if conclusion.verdict is Verdict.BLOCKED and conclusion.dependency is not None:
            dependency = await self._incident_of(incident, conclusion.dependency)
            incident, settle = self._current(id), self._infrastructure.catalog.platform.settle
            await self._save(incidents.blocked(incident, conclusion, dependency, self._clock(), settle))
            return
        watch = await self._recoveries.window(incident, changed=conclusion.verdict is Verdict.CHANGED)
        incident, now = self._current(id), self._clock()
        await self._save(incidents.concluded(incident, conclusion, now, watch, confirm=self._recoveries.confirmed))

    async def _incident_of(self, incident: Incident, dependency: tuple[str, str | None]) -> Incident | None:
        """The dependency's own incident; one may still be on its way, so it is waited for a little."""
        name, namespace = dependency
        give_up = self._clock() + incidents.DEPENDENCY_GRACE
        while True:
            with contextlib.suppress(UnreachableError, ConfigurationError, KeyError):
                found = await self._infrastructure.locate(incident.environment or "", "service", name, namespace)
                known = self._open.of_key(found[0].key) if len(found) == 1 else None
                if known is not None:
                    return known
            if self._clock() >= give_up or self._stopping:
                return None
            await self._sleep(1.0)

    # After a restart

    async def _recover(self, incident: Incident) -> Conclusion | None:
        """What an earlier process did about it and did not note: its Results, those that are being settled among them."""
        journal, known = self._infrastructure.journal, {one.request for one in incident.tried}
        for unsettled in await journal.unsettled():
            if unsettled.command.incident == incident.id:
                await self._infrastructure.wait(unsettled.command.id)
        results = [one for one in reversed(await journal.results(incident=incident.id)) if one.id not in known]
        conclusion: Conclusion | None = None
        for result in results:
            _, separator, step = result.id.partition("-")
            if not separator or _waits(result):
                continue  # an undo, which its parent's Result tells of; or one that waits
            if not step.isdecimal():
                self._open.keep(incidents.tried(self._current(incident.id), result, None, False))
                continue
            changed = await self._changed(result)
            stopped = result.reason is Reason.CANCELLED and not changed
            if stopped and not await journal.entries(request=result.id, kinds=("cancel",), limit=1):
                continue  # UICI stopped before it began: it is tried again
            self._open.keep(incidents.tried(self._current(incident.id), result, int(step), changed))
            conclusion = after(result)
        return conclusion

    # Small

    def _runbook(self, incident: Incident) -> Runbook | None:
        runbooks = self._infrastructure.catalog.runbooks
        named = next((one for one in runbooks if one.name == incident.runbook and one.enabled), None)
        return named or choose(incident.firing[0], runbooks)

    def _current(self, id: str) -> Incident:
        incident = self._open.get(id)
        if incident is None:
            raise JournalError(f"incident {id} is not known any more; it is read anew from the journal")
        return incident

    async def _save(self, incident: Incident) -> None:
        await self._open.save([incident])
        self._log.info(
            "incident",
            incident=incident.id,
            state=incident.state.value,
            reason=incident.reason,
            message=incident.message,
        )


def _waits(result: Result) -> bool:
    """Whether it was refused as its environment is paused. A command that a pause stopped halfway has failed, like any."""
    return result.status is Status.REFUSED and result.reason is Reason.PAUSED

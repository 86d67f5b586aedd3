"""The engine's face: what the doors and the planners call. It holds the open environments, the journal and the locks.

It must not know HTTP, a terminal or an alert; whoever calls it sets the Origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import getpass
import random as random_module
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from uici.catalog import Catalog
from uici.engine.admit import authorise_now
from uici.engine.asking import inventory_of
from uici.engine.core import Core, Sleep
from uici.engine.environments import OpenEnvironments, bounded
from uici.engine.execute import execute
from uici.engine.execution import Execution, undo_id
from uici.engine.facts import gather
from uici.engine.feed import Feed
from uici.engine.logs import feed_of
from uici.engine.needs import needs_of
from uici.engine.recover import finish, recovered
from uici.engine.redact import HIDDEN, KeyLines
from uici.engine.roots import operation_roots
from uici.engine.steps import Steps, done_or_ended
from uici.engine.validate import environment_of, locate, operation_of, parameters_of, target_of, translation_of
from uici.engine.verdict import failed
from uici.executor import Changed, Facts, Health, Line
from uici.journal import Entry, Journal
from uici.model import Clock, Evidence, JournalError, OnlyIf, Origin, Reason, Request, Resource, Result, Risk

#: Seconds until what the journal could not take is tried again.
RETRY = 2.0
#: Seconds that a cancelled command gets at a close, before its call is given up.
STOP_LIMIT = 5.0


class UniversalInfrastructureInterface:
    """One engine over one catalog and one journal. ``start`` before anything else, ``close`` at the end.

    ``clock`` gives seconds since the epoch, ``sleep`` waits; tests own both. ``on_progress`` is told every piece of
    evidence as it happens, with its Request's id; what it raises is told to the loop's exception handler and stops nothing.
    """

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal,
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        random: random_module.Random | None = None,
        facts: Facts | Callable[[], Facts] | None = None,
    ) -> None:
        self._given, self._facts = facts, facts
        environments = OpenEnvironments(catalog, self._gather, clock)
        self._core = Core(catalog, journal, environments, clock, sleep, random or random_module.SystemRandom())
        self._core.take_up = self._take_up
        self._recovering: dict[str, asyncio.Task[Result | None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def catalog(self) -> Catalog:
        return self._core.catalog

    @property
    def journal(self) -> Journal:
        return self._core.journal

    @property
    def on_progress(self) -> Callable[[str, Evidence], None] | None:
        return self._core.progress

    @on_progress.setter
    def on_progress(self, listener: Callable[[str, Evidence], None] | None) -> None:
        self._core.progress = listener

    def _gather(self) -> Facts:
        """What is known of this process, and the addresses that the catalog of this moment makes it need."""
        if self._facts is None:
            self._facts = gather(paths=(str(self.catalog.path),), depends_on=self.catalog.platform.depends_on)
        facts = self._facts if isinstance(self._facts, Facts) else self._facts()
        return dataclasses.replace(facts, needs=tuple(dict.fromkeys((*facts.needs, *needs_of(self.catalog)))))

    async def start(self) -> list[str]:
        """Takes up what an earlier process left: gives the ids of the Requests that are being settled.

        They are settled in the background, each under its target's lock, so that one stuck engine delays nobody else;
        ``wait`` gives their Results.
        """
        left = await self.journal.unsettled()
        for unsettled in left:
            execution = recovered(self._core, unsettled)
            self._core.begin(execution)
            if execution.intents:
                self._core.keep_off(execution, unsettled.engine)
            self._recovering[execution.id] = self._spawn(self._settle(execution.id, execution))
        return list(self._recovering)

    def _take_up(self, request_id: str) -> None:
        """Its end could not be written down: it is settled, as after a restart, once the journal works again."""
        self._recovering[request_id] = self._spawn(self._settle(request_id, None))

    async def _settle(self, id: str, execution: Execution | None) -> Result | None:
        """Until it is settled, however often the journal fails meanwhile; its own undo first."""
        child = self._recovering.get(undo_id(id))
        if child is not None and child is not asyncio.current_task():
            await asyncio.wait([child])
        while True:
            try:
                if execution is None:
                    await self._core.sleep(RETRY)
                    left = [one for one in await self.journal.unsettled() if one.command.id == id]
                    if not left:
                        break
                    execution = recovered(self._core, left[0])
                await finish(self._core, execution)
                break
            except JournalError:
                if self._core.closing:
                    return None  # it stays in the journal, for the next start
                execution = None
        self._core.owed.pop(id, None)
        return await self.journal.result(id)

    async def wait(self, request_id: str) -> Result | None:
        """The Result of a Request that is being settled, or has one; None where the journal knows none."""
        task = self._recovering.get(request_id)
        if task is not None:
            return await asyncio.shield(task)
        return await self.journal.result(request_id)

    async def execute(
        self,
        request: Request,
        origin: Origin,
        *,
        incident: str | None = None,
        only_if: OnlyIf | None = None,
        id: str | None = None,
    ) -> Result:
        """The only door to the world. ``only_if``: what must be seen right before anything is changed, else it is refused
        (``nothing_to_do``). ``id``: the Request's, where the door has promised one. Raises JournalError alone."""
        execution = self._core.execution(
            id=id or self.new_id(),
            request=request,
            origin=origin,
            catalog=self.catalog,
            incident=incident,
            only_if=only_if,
        )
        return await execute(self._core, execution)

    async def run(
        self,
        operation: str,
        *,
        environment: str | None = None,
        reason: str = "",
        dry_run: bool = False,
        confirm: bool = False,
        **parameters: Any,
    ) -> Result:
        """One Request by the library's door: origin ``library:<user of the operating system>``."""
        request = Request(
            operation=operation,
            parameters=parameters,
            environment=environment,
            reason=reason,
            dry_run=dry_run,
            confirm=confirm,
        )
        return await self.execute(request, library_origin())

    def new_id(self) -> str:
        """An id for a Request, an incident or an escalation; sorts by time."""
        return self._core.new_id()

    def running(self) -> list[str]:
        return list(self._core.running)

    async def cancel(self, request_id: str, by: str) -> bool:
        """Asks a running Request to stop before its next call; False where none such runs."""
        execution = self._core.running.get(request_id)
        if execution is None:
            return False
        execution.cancelled_by = by
        execution.cancelled.set()
        await self._write("cancel", {"by": by}, request=request_id, incident=execution.incident)
        return True

    async def pause(self, environment: str | None, by: str) -> None:
        """Stops all automation there (None: everywhere) before its next change."""
        await self._write("paused", {"environment": environment, "by": by})

    async def resume(self, environment: str | None, by: str) -> None:
        await self._write("resumed", {"environment": environment, "by": by})

    async def reopen(self, key: str, by: str) -> None:
        """Gives a closed target back to automation."""
        incident = await self.journal.unended(key=key)
        await self._write("reopened", {"key": key, "by": by}, incident=incident.id if incident else None)

    async def escalate(
        self,
        reason: str,
        title: str,
        message: str,
        *,
        environment: str | None = None,
        incident: str | None = None,
        request: str | None = None,
    ) -> None:
        """Journals a row of the outbox, with secrets redacted."""
        await self._core.escalate(reason, title, message, environment=environment, incident=incident, request=request)

    def redact(self, data: Any) -> Any:
        """The data without the secrets that UICI knows of."""
        return self._core.environments.redactor.data(data)

    async def locate(self, environment: str, kind: str, name: str, namespace: str | None = None) -> list[Resource]:
        """Exact matches only. Raises UnreachableError, ConfigurationError; KeyError for no such environment."""
        place = await self._core.environments.get(environment)
        return await locate(place, await inventory_of(self._core, place), kind, name, namespace)

    async def is_self(self, environment: str, resource: Resource) -> bool:
        """Whether UICI is or needs it; True also where that cannot be told."""
        return await self.why_self(environment, resource) is not None

    async def why_self(self, environment: str, resource: Resource) -> str | None:
        """What shows that UICI is or needs it, or why that cannot be told; None: it is neither."""
        place = await self._core.environments.get(environment)
        identity = await self._core.environments.identity(place)
        if identity.unknown is not None:
            return f"UICI cannot tell what of {environment} is its own ({identity.unknown})"
        if resource in identity.resources:
            return f"UICI is {resource.name} or needs it" + (f" ({identity.shows})" if identity.shows else "")
        return None

    async def why_unchangeable(self, environment: str) -> str | None:
        """Why every change there is refused: UICI cannot tell what of it is its own. None: it can tell. Raises as
        ``locate`` does."""
        identity = await self._core.environments.identity(await self._core.environments.get(environment))
        return identity.unknown

    async def permissions(self, environment: str) -> tuple[list[str], list[str]]:
        """The rights that the environment's operations and UICI's own looks need there, and those of them that its login
        lacks, where the engine can be asked. Raises as ``locate`` does."""
        place = await self._core.environments.get(environment)
        needed = place.executor.permissions(self.catalog.translator.calls(place.environment))
        lacking = await bounded(f"asking what {environment} permits", place.executor.missing(needed))
        return [one.name for one in needed], [one.name for one in lacking]

    async def health(self) -> dict[str, Health]:
        return await self._core.environments.health()

    async def watch(self, environment: str, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        place = await self._core.environments.get(environment)
        async for changed in place.executor.watch(resources):
            yield changed

    async def stream(self, request: Request, origin: Origin) -> AsyncIterator[Line]:
        """The lines of an observing operation's ``stream: true`` step, as they come. Raises EndedError's root UICIError."""
        execution = self._core.execution(id=self.new_id(), request=request, origin=origin, catalog=self.catalog)
        operation = operation_of(self.catalog, request)
        environment = environment_of(self.catalog, request)
        parameters = parameters_of(self.catalog, operation, request)
        translation = translation_of(self.catalog, operation, environment)
        place = await self._core.environments.get(environment.name)
        listed = await inventory_of(self._core, place)
        target = execution.target = await target_of(place, operation, parameters, listed=listed)
        await authorise_now(self._core, execution, place, operation.risk, None)
        roots = operation_roots(
            parameters=parameters,
            target=target,
            environment=environment,
            command_id=execution.id,
            now="",
            inventory=listed,
        )
        steps = Steps(place, self.catalog.translator, translation.dialect, roots)
        for step in translation.steps:
            if not steps.wanted(step):
                continue
            call = steps.call(step, None, operation.timeout)
            if call.risk is not Risk.OBSERVE:
                raise failed(Reason.EXECUTOR, f"{call.path} does more than observe")
            if step.stream:
                keys: defaultdict[str, KeyLines] = defaultdict(KeyLines)
                async for line in place.executor.stream(call):
                    text = (
                        HIDDEN
                        if keys[line.source].holds(line.text)
                        else self._core.environments.redactor.text(line.text)
                    )
                    yield dataclasses.replace(line, text=text)
                return
            outcome = await steps.observe(call)
            steps.answer(step, call, done_or_ended(call, outcome))

    async def logs(self, request_id: str) -> Feed:
        """What a Request logs while it runs, and what is left of that after; shared by all who follow it. Raises
        NoLogsError, and what opening its environment raises."""
        return await feed_of(self._core, request_id)

    async def replace(self, catalog: Catalog) -> None:
        """A reload. Commands that run end by the copy that they began with."""
        self._core.catalog = catalog
        await self._core.environments.replace(catalog)
        # What was read of this process is read again: the new catalog may name other things that UICI depends on.
        self._facts = self._given

    async def close(self, grace: float = 30.0) -> None:
        """Lets running commands end for ``grace`` seconds, then stops them: what was not finished is left in the journal
        and settled at the next start."""
        self._core.closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._core.idle.wait()
        tasks = {*self._tasks, *(one.task for one in self._core.running.values() if one.task is not None)}
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_LIMIT)
            # A call that does not end is left to the next start, which waits for its deadline.
            calls = list(self._core.calls) if left else []
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait([*calls, *left], timeout=STOP_LIMIT)
        await self._core.environments.close()

    async def _write(
        self, kind: str, data: dict[str, Any], *, request: str | None = None, incident: str | None = None
    ) -> None:
        await self.journal.append(
            Entry(kind=kind, data=data, request=request, incident=incident, at=self._core.clock())
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, Result | None]) -> asyncio.Task[Result | None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def library_origin() -> Origin:
    """The library's door: a program, under whatever user it runs; never a person."""
    with contextlib.suppress(OSError, KeyError):
        return Origin("library", getpass.getuser())
    return Origin("library", "unknown")


__all__ = ["UniversalInfrastructureInterface", "library_origin"]

"""What every part of the engine shares: catalog, journal, open environments, locks, clock. No decision is taken here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from uici.catalog import Catalog
from uici.engine.environments import OpenEnvironments
from uici.engine.execution import Execution
from uici.engine.locks import Locks
from uici.journal import Entry, Journal
from uici.model import Clock, Evidence, UnreachableError

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Core:
    """``running``: every execution that has not ended, by its Request's id; ``idle`` is set while there is none."""

    catalog: Catalog
    journal: Journal
    environments: OpenEnvironments
    clock: Clock
    sleep: Sleep
    random: random.Random
    locks: Locks = field(default_factory=Locks)
    running: dict[str, Execution] = field(default_factory=dict)
    progress: Callable[[str, Evidence], None] | None = None
    closing: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def begin(self, execution: Execution) -> None:
        self.running[execution.id] = execution
        self.idle.clear()

    def end(self, execution: Execution) -> None:
        self.running.pop(execution.id, None)
        if not self.running:
            self.idle.set()

    def new_id(self) -> str:
        """Sorts by time; 128 bits, of which 80 are random, as ULIDs are."""
        return f"{int(self.clock() * 1000):012x}{self.random.getrandbits(80):020x}"

    def taken_by_others(self, execution: Execution) -> dict[str, int]:
        """Healthy replicas of each owner that other commands take away at this time."""
        taken: dict[str, int] = {}
        for other in self.running.values():
            if other is not execution and other.parent is not execution and execution.parent is not other:
                for key, count in other.taking.items():
                    taken[key] = taken.get(key, 0) + count
        return taken

    async def write(self, execution: Execution, kind: str, data: Mapping[str, Any]) -> int:
        return await self.journal.append(self.entry(execution, kind, data))

    def entry(self, execution: Execution, kind: str, data: Mapping[str, Any]) -> Entry:
        """One entry of this execution, with everything an engine printed redacted."""
        return Entry(
            kind=kind,
            data=self.environments.redactor.data(dict(data)),
            incident=execution.incident,
            request=execution.id,
            at=self.clock(),
        )

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
        """Writes a row of the durable outbox; sending it is the daemon's."""
        redactor = self.environments.redactor
        await self.journal.append(
            Entry(
                kind="escalation",
                data={
                    "id": self.new_id(),
                    "reason": reason,
                    "title": redactor.text(title),
                    "message": redactor.text(message),
                    "environment": environment,
                    "incident": incident,
                    "request": request,
                },
                incident=incident,
                request=request,
                at=self.clock(),
            )
        )


def unreachable(error: UnreachableError) -> str:
    return str(error) or "the engine does not answer"

"""What every part of the engine shares: catalog, journal, open environments, locks, clock. No decision is taken here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from uici.catalog import Catalog
from uici.engine.behind import Behind
from uici.engine.environments import OpenEnvironments
from uici.engine.execution import Execution, root_id
from uici.engine.locks import Locks
from uici.journal import Entry, Journal
from uici.model import Clock, Evidence
from uici.model.record import dataclass

if TYPE_CHECKING:
    from uici.engine.feed import Feed

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Core:
    """``running``: every execution that has not ended, by its Request's id; ``idle`` is set while there is none.

    ``calls``: changing calls that are under way. ``owed``: accepted Requests that are not settled yet, as an earlier
    process left them or their end could not be written down, with their engine and the keys that they touched; ``take_up``
    is told of the latter, to settle each once the journal works again.
    ``behind``: appends that nobody waited for yet. ``feeds``: logs that somebody holds, by their Request's id.
    """

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
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    owed: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    take_up: Callable[[str], None] | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    behind: Behind = field(default_factory=Behind)
    feeds: WeakValueDictionary[str, Feed] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        self.idle.set()

    def execution(self, **known: Any) -> Execution:
        """A new one, with this engine's clock, listener and redaction."""
        made = Execution(clock=self.clock, progress=self.progress, started=self.clock(), **known)
        made.redact = lambda data: self.redact(made, data)
        return made

    def redact(self, execution: Execution, data: Any) -> Any:
        """The data without the secrets of the settings and without the command's own that are never stored."""
        return self.environments.redactor.hiding(execution.hidden).data(data)

    def begin(self, execution: Execution) -> None:
        execution.task = asyncio.current_task()
        self.running[execution.id] = execution
        self.idle.clear()

    def owe(self, execution: Execution) -> None:
        """The journal failed; what was accepted is settled later, and nobody else may change its target until then."""
        if not execution.accepted or self.closing or execution.place is None:
            return
        self.keep_off(execution, execution.place.engine)
        if self.take_up is not None:
            self.take_up(execution.id)

    def keep_off(self, execution: Execution, engine: str) -> None:
        """Nobody else changes what it touched there, until it is settled."""
        keys = frozenset(execution.taking) | ({execution.target.key} if execution.target else set())
        self.owed[execution.id] = (engine, keys if execution.target else frozenset())

    def owed_there(self, execution: Execution, engine: str, keys: frozenset[str]) -> str | None:
        """The Request of another command that must be settled before anything is changed there."""
        mine = root_id(execution.id)
        for id, (where, owed) in self.owed.items():
            if root_id(id) != mine and where == engine and (not owed or not keys or owed & keys):
                return id
        return None

    def end(self, execution: Execution) -> None:
        self.running.pop(execution.id, None)
        execution.formed.set()
        if (feed := self.feeds.get(execution.id)) is not None:
            feed.ended.set()
        if not self.running:
            self.idle.set()

    def new_id(self) -> str:
        """Sorts by time; 128 bits, of which 80 are random, as ULIDs are."""
        return f"{int(self.clock() * 1000):012x}{self.random.getrandbits(80):020x}"

    def taken_by_others(self, execution: Execution) -> dict[str, int]:
        """Healthy replicas of each owner that other commands take away at this time."""
        taken: dict[str, int] = {}
        for other in self.running.values():
            if other.dry_run:
                continue
            if other is not execution and other.parent is not execution and execution.parent is not other:
                for key, count in other.taking.items():
                    taken[key] = taken.get(key, 0) + count
        return taken

    async def write(self, execution: Execution, kind: str, data: Mapping[str, Any]) -> int:
        return await self.journal.append(self.entry(execution, kind, data))

    async def write_behind(self, execution: Execution, *entries: Entry) -> None:
        """Appends without waiting until that is durable; ``caught_up`` does."""
        await self.behind.append(self.journal, execution.incident or root_id(execution.id), *entries)

    async def caught_up(self, execution: Execution) -> None:
        """Everything that was left behind of this matter is durable. Raises JournalError."""
        await self.behind.caught_up(execution.incident or root_id(execution.id))

    def entry(self, execution: Execution, kind: str, data: Mapping[str, Any]) -> Entry:
        """One entry of this execution, with everything an engine printed redacted; but a key is compared, so it stays."""
        clean = self.redact(execution, dict(data))
        return Entry(
            kind=kind,
            data={**clean, "key": data["key"]} if "key" in data else clean,
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
        await self.journal.append(
            self.escalation(reason, title, message, environment=environment, incident=incident, request=request)
        )

    def escalation(
        self,
        reason: str,
        title: str,
        message: str,
        *,
        environment: str | None = None,
        incident: str | None = None,
        request: str | None = None,
    ) -> Entry:
        redactor = self.environments.redactor
        return Entry(
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

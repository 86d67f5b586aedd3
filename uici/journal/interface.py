"""The journal's one interface: entries in, and what is derived from them out. It must not decide anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from uici.journal.entry import Entry
from uici.model import Alert, Command, Incident, IncidentState, Result
from uici.model.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One command that wrote an intent, as brakes and history count it. ``at``: seconds since the epoch.

    ``verdict``: ``running``, ``recovered`` (trouble seen before and effect proved after), ``done`` (worked, but no trouble
    had been seen), ``not_recovered``, ``inconclusive``, ``failed``, ``in_doubt``. A ``recovered`` whose incident opens
    again becomes ``not_recovered``.
    """

    request: str
    key: str
    environment: str
    operation: str
    risk: str
    origin: str
    at: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingAlert:
    """An accepted alert that belongs to no incident yet. ``seq``: of its entry."""

    seq: int
    alert: Alert
    environment: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """An accepted command without a result, with all its entries, oldest first."""

    command: Command
    engine: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """One row of the outbox that waits. ``attempt``: how often it was tried; ``next_at``: seconds since the epoch."""

    id: str
    reason: str
    title: str
    message: str
    environment: str | None
    incident: str | None
    request: str | None
    attempt: int
    next_at: float


class Journal(Protocol):
    """Every write is durable when its ``append`` returns; entries of one ``append`` are one transaction."""

    async def append(self, *entries: Entry) -> int:
        """Writes them (``at`` and ``seq`` are filled in); gives the last one's seq. Raises JournalError."""
        ...

    async def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        kinds: Sequence[str] = (),
        incident: str | None = None,
        request: str | None = None,
    ) -> list[Entry]:
        """In their order. Those of an ``incident`` are without its repeats (``alert``), unless ``kinds`` names these."""
        ...

    def follow(self, after: int = 0) -> AsyncIterator[Entry]:
        """Every entry after ``after``, then new ones as they become durable, without an end."""
        ...

    async def incident(self, id: str) -> Incident | None: ...
    async def incidents(
        self, *, states: Sequence[IncidentState] = (), limit: int = 100, before: str | None = None
    ) -> list[Incident]:
        """Newest first; ``before``: an incident's id, for the next page."""
        ...

    async def unended(self, *, key: str | None = None, fingerprint: str | None = None) -> Incident | None:
        """The incident of that key (or fingerprint) that has not ended."""
        ...

    async def last_ended(self, *, key: str | None = None, fingerprint: str | None = None) -> Incident | None:
        """The newest that has ended of that key or of that fingerprint."""
        ...

    async def waiting_alerts(self, limit: int = 1000, *, without: Collection[str | None] = ()) -> list[WaitingAlert]:
        """Oldest first. ``without``: environments (None: those of no environment) whose alerts are left out."""
        ...

    async def waiting_count(self) -> int:
        """Alerts that wait and incidents that are open: what saturation is measured by."""
        ...

    async def command(self, request: str) -> Command | None: ...
    async def result(self, request: str) -> Result | None: ...
    async def results(
        self, *, incident: str | None = None, limit: int = 100, before: str | None = None
    ) -> list[Result]: ...
    async def unsettled(self) -> list[Unsettled]: ...
    async def attempts(
        self,
        *,
        since: float,
        key: str | None = None,
        environment: str | None = None,
        operation: str | None = None,
    ) -> list[Attempt]: ...
    async def closed(self, key: str) -> str | None:
        """Why the key is closed to automation, or None."""
        ...

    async def closed_keys(self) -> dict[str, str]: ...
    async def paused(self) -> dict[str | None, str]:
        """Paused environments (None: all) and who paused them."""
        ...

    async def outbox(self, now: float, limit: int = 100) -> list[Escalation]:
        """What is due, those first that nobody was told of yet."""
        ...

    async def outbox_size(self) -> int: ...
    async def rebuild(self) -> None:
        """Makes every derived table anew from the entries."""
        ...

    async def prune(self, older_than: float) -> int:
        """Deletes ended matters older than that (seconds since the epoch); gives how many entries went."""
        ...

    async def size(self) -> int:
        """The last seq."""
        ...

    async def close(self) -> None: ...

"""The incidents that have not ended, in memory as the journal has them; the worker alone changes them.

A change is made in memory at once and then written, so that two tasks never overwrite each other's: whoever changes one
starts from what is here. When a write fails, memory is thrown away and read anew. It must not decide what becomes of any.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from uici.daemon import incidents
from uici.daemon.escalation import escalation
from uici.journal import Entry, Journal
from uici.model import UNENDED, Incident, IncidentState, JournalError

#: Ended incidents that are remembered, so that an alert finds one whose end is only being written.
_REMEMBERED = 1000


class OpenIncidents:
    def __init__(self, journal: Journal, redact: Callable[[object], object]) -> None:
        self._journal, self._redact = journal, redact
        self._by_id: dict[str, Incident] = {}
        self._by_key: dict[str, str] = {}
        self._by_fingerprint: dict[str, str] = {}
        self._ended: OrderedDict[str, Incident] = OrderedDict()
        self._written: dict[str, IncidentState] = {}
        self._seen = 0
        self._stale = True
        self._writing = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    # Reading

    @property
    def stale(self) -> bool:
        """Whether the journal may say something else: it was not read yet, or a write failed."""
        return self._stale

    def get(self, id: str) -> Incident | None:
        """Also one that ended a short while ago."""
        return self._by_id.get(id) or self._ended.get(id)

    def is_written(self, id: str) -> bool:
        """Whether the journal has it: one whose opening could not be written lives on while a task works on it."""
        return id in self._written

    def of_key(self, key: str) -> Incident | None:
        return self._by_id.get(self._by_key.get(key, ""))

    def of_fingerprint(self, fingerprint: str) -> Incident | None:
        return self._by_id.get(self._by_fingerprint.get(fingerprint, ""))

    def in_states(self, *states: IncidentState) -> list[Incident]:
        """Oldest first."""
        return sorted(
            (one for one in self._by_id.values() if one.state in states), key=lambda one: (one.opened_at, one.id)
        )

    async def last_ended(self, key: str, fingerprint: str) -> Incident | None:
        """The newest of that key or fingerprint that has ended."""
        found = [one for one in self._ended.values() if one.key == key or _has(one, fingerprint)]
        if not found:
            return await self._journal.last_ended(key=key, fingerprint=fingerprint)
        return max(found, key=lambda one: one.ended_at or "", default=None)

    # Changing

    async def save(self, changed: Iterable[Incident], *entries: Entry) -> None:
        """In memory at once, durable when this returns. An escalation's row of the outbox is written with it."""
        rows: list[Entry] = []
        before: dict[str, IncidentState | None] = {}
        for incident in changed:
            before.setdefault(incident.id, self._written.get(incident.id))
            self._set(incident)
            rows.append(incidents.entry(incident))
            escalated = incident.state is IncidentState.ESCALATED
            if escalated and self._written.get(incident.id) is not IncidentState.ESCALATED:
                rows.append(self._redacted(escalation(incident)))
            self._written[incident.id] = incident.state
        rows.extend(entries)
        if not rows:
            return
        self._writing += 1
        self._quiet.clear()
        try:
            await self._journal.append(*rows)
        except JournalError:
            self._stale = True
            for id, state in before.items():
                if state is None:
                    self._written.pop(id, None)
                else:
                    self._written[id] = state
            raise
        finally:
            self._writing -= 1
            if not self._writing:
                self._quiet.set()

    def keep(self, incident: Incident) -> None:
        """In memory alone, to be written with the next change of it."""
        self._set(incident)

    async def refresh(self, busy: Collection[str] = ()) -> list[Incident]:
        """Takes what others wrote: a storm; a person who gave a target back (gives the incidents that this concerns).

        Reads everything anew after a failed write, but what is ``busy``: ids that a task of this process goes on with.
        Raises JournalError.
        """
        if self._stale:
            return await self._load(busy)
        given_back: list[Incident] = []
        while self._seen < (size := await self._journal.size()):
            entries = await self._journal.entries(after=self._seen, limit=500, kinds=("incident", "reopened"))
            for entry in entries:
                if entry.kind == "reopened":
                    one = self.of_key(str(entry.data["key"]))
                    given_back += [one] if one is not None else []
                elif self.get(str(entry.data["id"])) is None:  # every incident of our own is in memory already
                    new = Incident.from_json(entry.data)
                    self._set(new)
                    self._written[new.id] = new.state
            # What came while this read is read again; that does no harm.
            self._seen = entries[-1].seq if len(entries) == 500 else size
        return given_back

    async def _load(self, busy: Collection[str]) -> list[Incident]:
        await self._quiet.wait()
        size = await self._journal.size()
        found = await self._journal.incidents(states=sorted(UNENDED), limit=1_000_000)
        kept = [one for id in busy if (one := self._by_id.get(id)) is not None]
        self._by_id.clear()
        self._by_key.clear()
        self._by_fingerprint.clear()
        self._ended.clear()
        self._written = {one.id: one.state for one in found}
        for incident in [*reversed(found), *kept]:
            self._set(incident)
        self._seen, self._stale = size, False
        # Also what was given back while nobody was here to hear it.
        escalated = [one.id for one in found if one.state is IncidentState.ESCALATED]
        try:
            back = [id for id in escalated if await self._given_back(id)]
        except JournalError:
            self._stale = True
            raise
        return [one for id in back if (one := self._by_id.get(id)) is not None]

    async def _given_back(self, id: str) -> bool:
        """Whether nothing became of it since a person gave its target back."""
        said = await self._journal.entries(incident=id, kinds=("reopened",))
        if not said:
            return False
        return not await self._journal.entries(incident=id, kinds=("incident",), after=said[-1].seq, limit=1)

    def _set(self, incident: Incident) -> None:
        id = incident.id
        for index in (self._by_key, self._by_fingerprint):
            for name in _names(self._by_id.get(id), index is self._by_key):
                if index.get(name) == id:
                    del index[name]
        if incident.ended:
            self._by_id.pop(id, None)
            self._ended[id] = incident
            self._ended.move_to_end(id)
            while len(self._ended) > _REMEMBERED:
                self._written.pop(self._ended.popitem(last=False)[0], None)
            return
        self._ended.pop(id, None)
        self._by_id[id] = incident
        self._by_key[incident.key] = id
        for alert in incident.alerts:
            self._by_fingerprint[alert.fingerprint] = id

    def _redacted(self, entry: Entry) -> Entry:
        data = self._redact(dict(entry.data))
        return Entry(kind=entry.kind, data=data if isinstance(data, dict) else entry.data, incident=entry.incident)


def _names(incident: Incident | None, key: bool) -> list[str]:
    if incident is None:
        return []
    return [incident.key] if key else [alert.fingerprint for alert in incident.alerts]


def _has(incident: Incident, fingerprint: str) -> bool:
    return any(alert.fingerprint == fingerprint for alert in incident.alerts)

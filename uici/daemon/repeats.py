"""Alerts that say nothing new: each is an entry of the open incident that knows it, and waits for nobody.

A monitor repeats every alert for as long as it fires, and so does each of a pair; only what may change something is worth the
worker's time. It must not let a post overtake one of the same alert that still waits, nor count on what is not durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from uici.daemon import incidents
from uici.daemon.open_incidents import OpenIncidents
from uici.journal import Entry, Journal
from uici.model import Alert, JournalError

_ALL = 1_000_000


class Repeats:
    """Knows the fingerprints of which an alert waits: on its way into the journal, or there and not durably joined."""

    def __init__(self, open_incidents: OpenIncidents) -> None:
        self._open = open_incidents
        self._posting: Counter[str] = Counter()
        self._newest: dict[str, int] = {}
        self._began = False

    async def begin(self, journal: Journal) -> None:
        """Takes what an earlier process accepted; until then nothing is a repeat. Raises JournalError."""
        if not self._began:
            for one in await journal.waiting_alerts(_ALL):
                self.waits(one.alert.fingerprint, one.seq)
            self._began = True

    def known(self, alerts: Sequence[Alert]) -> list[str | None]:
        """For each alert of a post the open incident that knows all that it says; None: it has to wait for the worker."""
        if not self._began or self._open.stale:
            return [None] * len(alerts)
        found: list[str | None] = []
        waiting: set[str] = set()
        for alert in alerts:
            name, incident = alert.fingerprint, None
            if name not in self._newest and name not in self._posting and name not in waiting:
                incident = self._open.of_fingerprint(name)
            if incident is not None and incidents.knows(incident, alert):
                found.append(incident.id)
            else:
                waiting.add(name)
                found.append(None)
        return found

    async def append(self, journal: Journal, waiting: Sequence[str | None], entries: Sequence[Entry]) -> None:
        """Writes ``entries``. ``waiting``: for each of the first ones the fingerprint of its alert, None for a repeat."""
        names = [name for name in waiting if name is not None]
        self._posting.update(names)
        # Where this is cancelled they stay marked: nobody knows whether they wait now, and being marked only costs time.
        try:
            last = await journal.append(*entries)
        except JournalError:
            self._posted(names)
            raise
        self._posted(names)
        for seq, name in enumerate(waiting, last - len(entries) + 1):
            if name is not None:
                self.waits(name, seq)

    def _posted(self, names: Iterable[str]) -> None:
        for name in names:
            self._posting[name] -= 1
            if not self._posting[name]:
                del self._posting[name]

    def waits(self, fingerprint: str, seq: int) -> None:
        self._newest[fingerprint] = max(seq, self._newest.get(fingerprint, 0))

    def joined(self, fingerprint: str, seq: int) -> None:
        """The alert of that entry belongs to an incident, durably."""
        if self._newest.get(fingerprint, seq + 1) <= seq:
            del self._newest[fingerprint]

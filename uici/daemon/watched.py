"""The journal as the daemon sees it: every durable append is counted, logged and waited for, at no cost to the store.

It must not change, delay or drop an entry; readers of the journal see the journal itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from uici.journal import Entry, Journal
from uici.model import JournalError

Seen = Callable[[Entry], None]


class WatchedJournal:
    """``seen`` is called with each entry after it is durable; ``appended`` with how long that took, seconds.

    ``failure``: what the last append failed with, None once one succeeds again.
    """

    def __init__(self, journal: Journal, seen: Seen, appended: Callable[[float], None]) -> None:
        self._journal, self._seen, self._appended = journal, seen, appended
        self.failure: str | None = None
        # Asked with every post.
        self.waiting_count = journal.waiting_count

    async def append(self, *entries: Entry) -> int:
        began = time.perf_counter()
        try:
            seq = await self._journal.append(*entries)
        except JournalError as error:
            self.failure = str(error)
            raise
        self.failure = None
        self._appended(time.perf_counter() - began)
        for entry in entries:
            self._seen(entry)
        return seq

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return getattr(self._journal, name)


def watched(journal: Journal, seen: Seen, appended: Callable[[float], None]) -> tuple[Journal, WatchedJournal]:
    """The same object twice: as the Journal that it is, and as what the daemon asks for ``failure``."""
    one = WatchedJournal(journal, seen, appended)
    return cast("Journal", one), one

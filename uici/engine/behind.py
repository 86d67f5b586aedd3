"""Appends that nobody waits for at once: what only looks goes on while they become durable, a change waits for them all.

The journal takes appends in their order, so nothing that is waited for is ever durable before what was left behind. What
is left behind must prove nothing to anybody until ``caught_up``: an accepted Request, the Result of a question.
"""

from __future__ import annotations

import asyncio

from uici.journal import Entry, Journal


class Behind:
    """Appends by the name of whatever they belong to (an incident's id, or a Request's)."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Task[int]]] = {}

    async def append(self, journal: Journal, name: str, *entries: Entry) -> None:
        """Hands them over; whatever is appended after this returned comes after them."""
        task = asyncio.ensure_future(journal.append(*entries))
        self._waiting.setdefault(name, []).append(task)
        task.add_done_callback(lambda done: self._ended(name, done))
        await asyncio.sleep(0)  # the task's first step, which hands them over

    async def caught_up(self, name: str) -> None:
        """Returns when all of that name are durable. Raises the JournalError of one that failed, once."""
        waiting = list(self._waiting.get(name, ()))
        if waiting:
            await asyncio.wait(waiting)
            self._waiting.pop(name, None)
            for task in waiting:
                task.result()

    def _ended(self, name: str, task: asyncio.Task[int]) -> None:
        failed = task.cancelled() or task.exception() is not None
        left = self._waiting.get(name, [])
        if not failed and task in left:
            left.remove(task)
            if not left:
                del self._waiting[name]

"""Looks that are shared: those who ask at one moment get one look's answer, and it always began after they asked.

A storm asks about many targets at once, and an engine that answers for all of them at a time need not be asked for each.
Nothing is kept: who asks later may want to know what has changed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Looks(Generic[T]):
    """``read``: one look, bounded by itself. Whoever is cancelled while he waits for it does not end it for the others."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._next: asyncio.Task[T] | None = None
        self._under_way: set[asyncio.Task[T]] = set()

    async def look(self) -> T:
        """Raises what ``read`` raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._begin())
            self._under_way.add(self._next)
            self._next.add_done_callback(self._ended)
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Returns when those under way have ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _begin(self) -> T:
        self._next = None
        return await self._read()

    def _ended(self, look: asyncio.Task[T]) -> None:
        self._under_way.discard(look)
        if not look.cancelled():
            look.exception()  # nobody may be left to be told

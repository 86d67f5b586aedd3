"""Locks by resource, within one process. A key is a topmost owner's (``Resource.key``); an engine's whole is exclusive.

All keys of a hold are taken at once or waited for holding none, so holds cannot deadlock. Waiters are served in order
of arrival, but one that waits delays nobody whose own keys are free: a stuck target must not hold up others, so that a
wait for many keys may end in its limit instead. Must not know what is done under a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field

from uici.model.record import dataclass


@dataclass(eq=False, slots=True)
class Hold:
    """What one command holds of one engine. ``keys`` None: all of it, excluding everybody else. ``waited``: others held
    some of it before, so what was read until then may be stale."""

    engine: str
    keys: frozenset[str] | None
    waited: bool = False
    granted: asyncio.Future[None] | None = field(default=None, repr=False)

    def conflicts(self, other: Hold) -> bool:
        if self.engine != other.engine:
            return False
        return self.keys is None or other.keys is None or not self.keys.isdisjoint(other.keys)


class Locks:
    def __init__(self) -> None:
        self._held: list[Hold] = []
        self._waiting: list[Hold] = []

    @asynccontextmanager
    async def hold(self, engine: str, keys: frozenset[str] | None, timeout: float) -> AsyncIterator[Hold]:
        """Holds the keys until the block ends; raises TimeoutError after ``timeout`` seconds of waiting."""
        hold = Hold(engine, keys)
        await self._acquire(hold, timeout)
        try:
            yield hold
        finally:
            self._release(hold)

    async def extend(self, hold: Hold, keys: frozenset[str], timeout: float, *, keep: bool = False) -> bool:
        """Adds keys to a hold. True: they were free. False: they were waited for, so what was read of them may be stale.

        Everything is let go meanwhile and what was read under the old hold is stale too; raises TimeoutError, then
        holding nothing. With ``keep`` (something was changed already, and nobody may come between) the old keys are
        held on to; two such waits for each other end in the TimeoutError of one.
        """
        if hold.keys is None or keys <= hold.keys:
            return True
        wanted = Hold(hold.engine, hold.keys | keys)
        if not any(other is not hold and wanted.conflicts(other) for other in self._held):
            hold.keys = wanted.keys
            return True
        if keep:
            more = Hold(hold.engine, keys - hold.keys)
            await self._acquire(more, timeout)
            self._held.remove(more)
            hold.keys = wanted.keys
            return False
        self._release(hold)
        hold.keys = wanted.keys
        await self._acquire(hold, timeout)
        return False

    async def _acquire(self, hold: Hold, timeout: float) -> None:
        if not any(hold.conflicts(other) for other in self._held):
            self._held.append(hold)
            return
        hold.waited = True
        hold.granted = asyncio.get_running_loop().create_future()
        self._waiting.append(hold)
        try:
            async with asyncio.timeout(timeout):
                await hold.granted
        except BaseException:
            # Granted in the very moment of the timeout or cancellation: give it back.
            if hold in self._waiting:
                self._waiting.remove(hold)
            self._release(hold)
            raise
        finally:
            hold.granted = None

    def _release(self, hold: Hold) -> None:
        if hold in self._held:
            self._held.remove(hold)
        for waiter in list(self._waiting):
            if any(waiter.conflicts(other) for other in self._held):
                continue
            self._waiting.remove(waiter)
            self._held.append(waiter)
            if waiter.granted is not None and not waiter.granted.done():
                waiter.granted.set_result(None)

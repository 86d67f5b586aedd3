"""The outbox: escalations on their way to people. Durable rows of the journal, sent by apprise, retried, never in the way.

A row is delivered when every address took it, or given up after a bounded number of attempts; both are journaled. It must
not decide who is told: that is ``escalate_to``.
"""

from __future__ import annotations

import asyncio
import random as random_module
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from uici.daemon.logs import logger
from uici.daemon.sending import Sending
from uici.engine.core import Sleep
from uici.journal import Entry, Escalation, Journal
from uici.model import Clock, JournalError

#: Seconds between two looks into the outbox; a wake comes sooner.
SWEEP = 5.0
#: Seconds before the second attempt, doubled each time up to the second figure, with up to a fifth of chance on top.
FIRST, LONGEST = 5.0, 900.0
#: After so many attempts (about two days) a row is given up, and said so in the log.
ATTEMPTS = 200

Send = Callable[[Sequence[str], Escalation], list[str]]
"""Tells the addresses; gives those that did not take it."""


class Outbox:
    """``escalate_to``: apprise URLs with their secrets filled in. ``send`` gives the addresses that did not take it."""

    def __init__(
        self,
        journal: Journal,
        escalate_to: Sequence[str],
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        random: random_module.Random | None = None,
        send: Send | None = None,
    ) -> None:
        self._journal, self.escalate_to = journal, tuple(escalate_to)
        self._clock, self._sleep = clock, sleep
        self._random = random or random_module.SystemRandom()
        self._send = send
        self._woken = asyncio.Event()
        self._log = logger()
        self._failing = ""
        self._missed: dict[str, tuple[str, ...]] = {}

    def wake(self) -> None:
        self._woken.set()

    def ready(self) -> str | None:
        """None when people can be told; else why they are not."""
        if not self.escalate_to:
            return "platform.yml has no escalate_to, so nobody is told when something needs a person"
        return self._failing or None

    async def run(self) -> None:
        """Until cancelled. A send that runs then is cut off; its row is sent again at the next start."""
        # Its own thread, so that an address that hangs delays other addresses and nothing else.
        pool, sending = ThreadPoolExecutor(1, "uici-outbox"), Sending()
        try:
            while True:
                self._woken.clear()
                try:
                    await self._deliver(pool, self._send or sending)
                except JournalError as error:
                    self._log.error("the outbox cannot be read", problem=str(error))
                await self._rest()
                await asyncio.get_running_loop().run_in_executor(pool, sending.rest)
        finally:
            sending.end()
            pool.shutdown(wait=False, cancel_futures=True)

    async def _rest(self) -> None:
        woken = asyncio.create_task(self._woken.wait())
        slept = asyncio.ensure_future(self._sleep(SWEEP))
        try:
            await asyncio.wait([woken, slept], return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            slept.cancel()

    async def _deliver(self, pool: ThreadPoolExecutor, send: Send) -> None:
        if not self.escalate_to:
            return  # the rows stay; /readyz says so
        for number, row in enumerate(await self._journal.outbox(self._clock())):
            if number and row.attempt and self._woken.is_set():
                return  # what is new may wait, and goes before what an address did not take
            loop = asyncio.get_running_loop()
            addresses = self._missed.get(row.id, self.escalate_to)
            try:
                missed = await loop.run_in_executor(pool, send, addresses, row)
                why = f"not taken by {', '.join(_scheme(one) for one in missed)}" if missed else ""
            except Exception as error:  # noqa: BLE001 - whatever a notifier raises, the row is tried again
                missed, why = list(addresses), f"{type(error).__name__}: {error}"
            # Who took it is not told again while this process lives.
            self._missed[row.id] = tuple(missed)
            delivery = self._delivery(row, why)
            await self._journal.append(delivery)
            if delivery.data["next_at"] is None:
                del self._missed[row.id]

    def _delivery(self, row: Escalation, missed: str) -> Entry:
        attempt = row.attempt + 1
        next_at: float | None = None
        message = "delivered"
        if missed:
            message = missed[:1000]
            self._failing = f"the last escalation was not delivered: {message}"
            if attempt < ATTEMPTS:
                wait = min(LONGEST, FIRST * 2 ** min(row.attempt, 20))
                next_at = self._clock() + wait * (1 + self._random.random() / 5)
            else:
                message = f"given up after {attempt} attempts; {message}"
                self._log.error("an escalation was given up", escalation=row.id, problem=message, title=row.title)
        else:
            self._failing = ""
        data = {"id": row.id, "ok": not missed, "message": message, "attempt": attempt, "next_at": next_at}
        return Entry(kind="delivery", data=data, incident=row.incident)


def _scheme(address: str) -> str:
    """What may be shown of an address: the rest may be a secret."""
    return address.partition(":")[0][:40] + ":"

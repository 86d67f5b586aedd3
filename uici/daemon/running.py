"""Requests that this process runs for its doors: started, waited for, cancelled, bounded. It decides nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from uici.daemon.logs import logger
from uici.daemon.problem import unavailable
from uici.engine.execution import keep
from uici.journal import Entry
from uici.model import Clock, Evidence, Origin, Request, Result, rfc3339

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

AT_ONCE = 256
#: Requests a second that one caller may begin, and how many at once after a pause.
RATE, BURST = 50.0, 200.0
#: Seconds that the door waits for a Request to be durable before it answers 202 all the same.
DURABLE = 5.0


@dataclass
class One:
    """A Request that runs. ``durable``: the journal has something of it."""

    id: str
    request: Request
    origin: Origin
    started_at: str
    task: asyncio.Task[Result]
    durable: asyncio.Event = field(default_factory=asyncio.Event)
    evidence: list[Evidence] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "operation": self.request.operation,
            "environment": self.request.environment,
            "origin": str(self.origin),
            "dry_run": self.request.dry_run,
            "status": "running",
            "started_at": self.started_at,
            "evidence": [seen.to_json() for seen in self.evidence],
        }


def new_id(clock: Clock = time.time) -> str:
    """Sortable by time, unguessable enough not to collide: 12 hex digits of milliseconds, 20 of chance."""
    return f"{int(clock() * 1000):012x}{secrets.token_hex(10)}"


class Running:
    """``infrastructure`` is a callable because a daemon listens before its engine has opened every environment."""

    def __init__(
        self, infrastructure: Callable[[], UniversalInfrastructureInterface], clock: Clock = time.time
    ) -> None:
        self._infrastructure, self._clock = infrastructure, clock
        self._ones: dict[str, One] = {}
        self._buckets: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._ones)

    def get(self, id: str) -> One | None:
        return self._ones.get(id)

    def all(self) -> list[One]:
        """Newest first."""
        return list(reversed(self._ones.values()))

    def submit(self, request: Request, origin: Origin) -> One:
        """Starts it; raises ProblemError 503 when too many run or come."""
        if len(self._ones) >= AT_ONCE:
            raise unavailable("saturated", f"{AT_ONCE} requests run already; try again when some have ended")
        if not self._take(str(origin)):
            raise unavailable("rate", f"{origin} asks more than {RATE:g} times a second; slow down and try again")
        id = new_id(self._clock)
        task = asyncio.create_task(self._infrastructure().execute(request, origin, id=id), name=f"request-{id}")
        one = One(id, request, origin, rfc3339(self._clock()), task)
        self._ones[id] = one
        task.add_done_callback(lambda done: self._ended(one, done))
        return one

    async def wait(self, one: One, seconds: float) -> Result | None:
        """Its Result, or None when it still runs then. Whoever waits may go; the request goes on."""
        done, _ = await asyncio.wait([one.task], timeout=seconds)
        return one.task.result() if done else None

    async def durable(self, one: One) -> None:
        """Until the journal has something of it, it ended, or ``DURABLE`` seconds went by."""
        waiting = asyncio.create_task(one.durable.wait())
        try:
            await asyncio.wait([waiting, one.task], timeout=DURABLE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def seen(self, entry: Entry) -> None:
        one = self._ones.get(entry.request or "")
        if one is not None:
            one.durable.set()

    def progress(self, id: str, evidence: Evidence) -> None:
        one = self._ones.get(id)
        if one is not None:
            keep(one.evidence, evidence)

    def _ended(self, one: One, task: asyncio.Task[Result]) -> None:
        self._ones.pop(one.id, None)
        if not task.cancelled() and task.exception() is not None:
            logger().error("a request failed inside UICI", request=one.id, exc_info=task.exception())

    def _take(self, name: str) -> bool:
        now = time.monotonic()
        level, at = self._buckets.get(name, (BURST, now))
        level = min(BURST, level + (now - at) * RATE)
        if level < 1:
            return False
        self._buckets[name] = (level - 1, now)
        return True

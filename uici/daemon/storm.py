"""The storm incident: more came than one post may carry, so something is unknown here and a person must look.

One open at a time, however many posts are too large; it never acts.
"""

from __future__ import annotations

import asyncio
import time

from uici.daemon import incidents
from uici.daemon.escalation import escalation
from uici.daemon.running import new_id
from uici.journal import Journal
from uici.model import Clock, Incident, IncidentState, rfc3339

KEY = "storm"
_lock = asyncio.Lock()


async def storm(journal: Journal, message: str, clock: Clock = time.time) -> None:
    """Opens and escalates it unless one is open; raises JournalError."""
    async with _lock:
        if await journal.unended(key=KEY) is not None:
            return
        id, now = new_id(clock), rfc3339(clock())
        incident = Incident(
            id=id,
            key=KEY,
            environment=None,
            target=None,
            state=IncidentState.ESCALATED,
            alerts=(),
            reason=KEY,
            message=f"{message}; look at Alertmanager itself, and `uici reopen {id}` once it is over",
            started_at=now,
            opened_at=now,
            changed_at=now,
        )
        await journal.append(incidents.entry(incident), escalation(incident))

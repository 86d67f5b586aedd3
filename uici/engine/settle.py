"""Settling a doubt: did a call happen whose outcome nobody told? Only evidence decides; silence is for a person.

Must not run anything that changes: the evidence is an observing question, asked on the very engine of the intent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.execution import Recorded
from uici.engine.verdict import EndedError
from uici.model import ExpressionError, Status, UnreachableError

#: Seconds after the call's deadline for which an engine that does not answer is asked again.
PATIENCE = 10.0
#: Seconds between two questions.
EVERY = 1.0


class Settled(StrEnum):
    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"
    UNKNOWN = "unknown"


async def settle(
    core: Core, place: OpenEnvironment, doubt: Recorded, evidence: Callable[[], Awaitable[bool]]
) -> tuple[Settled, str]:
    """``evidence`` tells whether the effect is there. "No" counts only after the call's deadline: until then it may
    still be under way. No answer until ``PATIENCE`` after it: unknown."""
    give_up = max(core.clock(), doubt.deadline) + PATIENCE
    while True:
        try:
            engine = await bounded("the engine's id", place.executor.engine_id(), 5.0)
            if engine != doubt.engine:
                return (
                    Settled.UNKNOWN,
                    f"the engine behind {place.name} is another now ({engine}, it was {doubt.engine})",
                )
            if await evidence():
                return Settled.HAPPENED, "its effect is there"
            if core.clock() >= doubt.deadline:
                return Settled.NOT_HAPPENED, "its effect is not there, after its deadline"
            why = "its effect is not there yet"
        except EndedError as ended:
            if ended.status is Status.IN_DOUBT:
                return Settled.UNKNOWN, str(ended)
            why = str(ended)
        except (UnreachableError, ExpressionError) as error:
            why = str(error)
        if core.clock() >= give_up:
            return Settled.UNKNOWN, f"no evidence: {why}"
        await core.sleep(EVERY)

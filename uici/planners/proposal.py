"""What a planner says: a Proposal, again and again, and at last a Conclusion. Plain data; whoever plans, the words are these.

A planner is an async generator: it yields a Proposal, is sent the Result, and yields a Conclusion as its last word. It
holds no credentials and reaches no engine; what it proposes is refused by ``engine.execute`` like anybody's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum

from uici.model import OnlyIf, Request, Result
from uici.model.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """``step``: index of the runbook's step, None for what is only asked. ``only_if``: what must be seen right before it
    changes anything."""

    request: Request
    step: int | None = None
    changing: bool = False
    only_if: OnlyIf | None = None


class Verdict(StrEnum):
    """``changed``: watch whether the alerts go. ``nothing_to_do``: the trouble is not there; watch. ``blocked``: the cause
    lies in a dependency. ``escalate``: a person is needed."""

    CHANGED = "changed"
    NOTHING_TO_DO = "nothing_to_do"
    BLOCKED = "blocked"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """``reason``: a ``Reason`` value, or ``dependency`` or ``dry_run``. ``message``: what was found, for people.

    ``dependency``: name and namespace of what is down, of a ``blocked``.
    """

    verdict: Verdict
    reason: str | None = None
    message: str = ""
    dependency: tuple[str, str | None] | None = None


Planning = AsyncGenerator[Proposal | Conclusion, Result | None]

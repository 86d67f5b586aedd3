"""The closed sets of the project: risks, statuses, reasons. Nothing here does I/O."""

from __future__ import annotations

from enum import StrEnum


class Risk(StrEnum):
    """How much a call or an operation may harm; ordered ``observe < change < destroy``."""

    OBSERVE = "observe"
    CHANGE = "change"
    DESTROY = "destroy"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def __lt__(self, other: object) -> bool:
        return self.rank < other.rank if isinstance(other, Risk) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.rank <= other.rank if isinstance(other, Risk) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.rank > other.rank if isinstance(other, Risk) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.rank >= other.rank if isinstance(other, Risk) else NotImplemented


_RANKS = {Risk.OBSERVE: 1, Risk.CHANGE: 2, Risk.DESTROY: 3}


class Autonomy(StrEnum):
    """The highest risk that an origin without a person may take in an environment."""

    NONE = "none"
    OBSERVE = "observe"
    CHANGE = "change"
    DESTROY = "destroy"

    def covers(self, risk: Risk) -> bool:
        return self is not Autonomy.NONE and Risk(self.value) >= risk


class Status(StrEnum):
    """How a Request ended. ``exit_code`` is what the command line returns for it."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    UNVERIFIED = "unverified"
    NEEDS_APPROVAL = "needs_approval"
    IN_DOUBT = "in_doubt"


class Verification(StrEnum):
    """What an operation's ``verify`` proved."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    INCONCLUSIVE = "inconclusive"


class Reason(StrEnum):
    """Why a Request ended as it did; a closed set, the same at every door."""

    SCHEMA = "schema"
    UNKNOWN_OPERATION = "unknown_operation"
    UNKNOWN_ENVIRONMENT = "unknown_environment"
    AMBIGUOUS_ENVIRONMENT = "ambiguous_environment"
    UNKNOWN_TARGET = "unknown_target"
    AMBIGUOUS_TARGET = "ambiguous_target"
    AUTONOMY = "autonomy"
    POLICY = "policy"
    PERMISSION = "permission"
    SELF = "self"
    PROTECTED = "protected"
    UNRESOLVED = "unresolved"
    BRAKE = "brake"
    BLAST_RADIUS = "blast_radius"
    PAUSED = "paused"
    CLOSED = "closed"
    NOT_OFFERED = "not_offered"
    BUSY = "busy"
    MANAGED_ELSEWHERE = "managed_elsewhere"
    MOVED_ON = "moved_on"
    NOTHING_TO_DO = "nothing_to_do"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_VOID = "approval_void"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    EXECUTOR = "executor"
    UNREACHABLE = "unreachable"
    IN_DOUBT = "in_doubt"
    VERIFICATION = "verification"
    INCONCLUSIVE = "inconclusive"


#: The Request itself is invalid; the command line exits with 2 for these.
INVALID = frozenset(
    {
        Reason.SCHEMA,
        Reason.UNKNOWN_OPERATION,
        Reason.UNKNOWN_ENVIRONMENT,
        Reason.AMBIGUOUS_ENVIRONMENT,
        Reason.UNKNOWN_TARGET,
        Reason.AMBIGUOUS_TARGET,
        Reason.NOT_OFFERED,
    }
)

_EXIT = {
    Status.DONE: 0,
    Status.FAILED: 1,
    Status.REFUSED: 3,
    Status.UNVERIFIED: 4,
    Status.NEEDS_APPROVAL: 5,
    Status.IN_DOUBT: 6,
}


def exit_code(status: Status, reason: Reason | None) -> int:
    """The command line's exit status of a Result."""
    if status is Status.REFUSED and reason in INVALID:
        return 2
    return _EXIT[status]


class IncidentState(StrEnum):
    OPEN = "open"
    ACTING = "acting"
    WAITING = "waiting"
    WATCHING = "watching"
    RESOLVED = "resolved"
    ESCALATED = "escalated"


#: Not ended: alerts of the same target join it. An escalated incident is not ended either.
UNENDED = frozenset(IncidentState) - {IncidentState.RESOLVED}

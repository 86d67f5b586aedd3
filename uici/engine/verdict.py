"""How a Request ends early: one exception inside the engine, never outside of it."""

from __future__ import annotations

from uici.model import Reason, Status, UICIError


class EndedError(UICIError):
    """The walk ends here with this status and reason; ``execute`` turns it into a Result."""

    def __init__(self, status: Status, reason: Reason, message: str, gate: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.gate = gate or reason.value


class StaleError(UICIError):
    """Before its first change the command had to wait for a lock: what it saw is stale, its steps begin anew."""


def refused(reason: Reason, message: str, gate: str | None = None) -> EndedError:
    return EndedError(Status.REFUSED, reason, message, gate)


def failed(reason: Reason, message: str, gate: str | None = None) -> EndedError:
    return EndedError(Status.FAILED, reason, message, gate)


def in_doubt(message: str) -> EndedError:
    return EndedError(Status.IN_DOUBT, Reason.IN_DOUBT, message)

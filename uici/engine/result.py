"""Results: how the walk of a Request ended, and how that is journaled with what follows from it.

Must not walk, ask or change anything: ``execute`` and ``recover`` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.engine.core import Core
from uici.engine.execution import Execution
from uici.engine.undo import closing
from uici.engine.verdict import EndedError
from uici.journal import Entry
from uici.model import DeniedError, Reason, Result, Risk, Status, UICIError, UnreachableError, Verification


def ended_by(execution: Execution, error: Exception) -> Result:
    """The Result of a walk that ended early."""
    if isinstance(error, EndedError):
        return execution.result(error.status, error.reason, str(error))
    if execution.intents:
        message = f"something was changed, and then: {_said(error)}; a person has to look"
        return execution.result(Status.IN_DOUBT, Reason.IN_DOUBT, message)
    reason = unread(error) if isinstance(error, UnreachableError) else Reason.EXECUTOR
    return execution.result(Status.FAILED, reason, _said(error))


def unread(error: Exception) -> Reason:
    """Why something could not be read."""
    return Reason.PERMISSION if isinstance(error, DeniedError) else Reason.UNREACHABLE


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, UICIError) else f"UICI failed inside: {type(error).__name__}: {error}"


def cancelled(execution: Execution) -> Result:
    """The Result of a walk whose task was cancelled."""
    if execution.intents:
        return execution.result(
            Status.IN_DOUBT, Reason.IN_DOUBT, "cancelled after something was changed and before it was verified"
        )
    return execution.result(Status.FAILED, Reason.CANCELLED, "cancelled before anything was changed")


def not_recovered(execution: Execution, undone: Mapping[str, Any] | None, *, nothing: bool = False) -> Result:
    """``nothing``: it is an undo that found nothing to do, which must not be taken for one that did all it can."""
    message = f"{execution.request.operation}: it did not help" + undo_message(undone)
    return execution.result(
        Status.UNVERIFIED,
        Reason.NOTHING_TO_DO if nothing else Reason.VERIFICATION,
        message,
        verification=Verification.NOT_RECOVERED,
        undo=undone,
    )


def undo_message(undone: Mapping[str, Any] | None) -> str:
    """What a message says last: what became of the undo; nothing where there was none."""
    if undone is None:
        return ""
    return "; it was undone" if undone["status"] == "done" else f"; undoing it failed: {undone['message']}"


async def record(core: Core, execution: Execution, result: Result) -> Result:
    """Journals the Result, with what follows from it, in one transaction."""
    redacted = Result.from_json(core.redact(execution, result.to_json()))
    key = execution.target.key if execution.target else (f"{execution.place.engine}|" if execution.place else None)
    entries = [
        Entry(
            kind="result",
            data={
                "result": redacted.to_json(),
                "key": key,
                "changed": execution.intents > 0,
                "seen": execution.seen,
                "started": execution.started,
            },
            incident=execution.incident,
            request=execution.id,
            at=core.clock(),
        )
    ]
    # Inconclusive or in doubt: no next change there by anyone but a person.
    if result.status is Status.IN_DOUBT or (result.reason is Reason.INCONCLUSIVE and execution.intents):
        entries += closing(core, execution, redacted.message)
    # An incident's worker escalates for its own, a command for its undo; other doors have nobody who would.
    undo_failed = result.undo is not None and result.undo["status"] != "done"
    person = undo_failed or result.status in (Status.IN_DOUBT, Status.NEEDS_APPROVAL)
    person = person or result.reason is Reason.INCONCLUSIVE
    if person and execution.incident is None and not execution.undoing and not execution.dry_run:
        reason = result.reason.value if result.reason else result.status.value
        entries.append(
            core.escalation(
                "undo_failed" if undo_failed else reason,
                f"{result.operation} in {result.environment}: {result.status.value}",
                redacted.message,
                environment=result.environment,
                request=result.id,
            )
        )
    if execution.incident is not None and execution.risk is Risk.OBSERVE and result.status is Status.DONE:
        await core.write_behind(execution, *entries)  # a question of a plan; its next change waits for it
        return redacted
    await core.caught_up(execution)
    await core.journal.append(*entries)
    return redacted

"""Undo: back to how it was, when a change did not help. Either the translation's ``revert`` or the operation's ``undo``.

It runs only while the target is as the change left it; otherwise somebody else has moved on, and a person decides. It is
guarded like everything else, but stopped by no brake, no pause and no closed target, and never undone itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from uici.catalog.expressions import render
from uici.engine.asking import with_namespace
from uici.engine.changes import run_part
from uici.engine.core import Core
from uici.engine.execution import Execution, undo_id
from uici.engine.left import moved_on, not_as_before
from uici.engine.steps import Steps
from uici.engine.validate import operation_of, target_of
from uici.engine.verdict import EndedError
from uici.journal import Entry
from uici.model import Command, ExpressionError, Reason, Request, Result, Status, UnreachableError, Verification

Walk = Callable[[Core, Execution], Awaitable[Result]]


async def undo(core: Core, execution: Execution, command: Command, steps: Steps, walk: Walk) -> dict[str, Any] | None:
    """What came of it (``status``, ``reason``, ``request``, ``message``); None where nothing undoes this operation, or where
    it was verified before a restart and begun to clear up."""
    if not (command.translation.revert or command.operation.undo) or execution.clearing:
        return None
    moved = await moved_on(core, execution, command, steps)
    if moved is not None:
        outcome: dict[str, Any] = {
            "status": "refused",
            "reason": Reason.MOVED_ON.value,
            "request": None,
            "message": moved,
        }
    elif command.translation.revert:
        outcome = await _revert(core, execution, command, steps)
    else:
        outcome = await _child(core, execution, command, steps, walk)
    execution.note("undo", command.operation.name, outcome["status"], outcome)
    if outcome["status"] != "done" and outcome["reason"] != Reason.MOVED_ON.value:
        why = f"the undo of {command.operation.name} failed: {outcome['message']}"
        await core.journal.append(*closing(core, execution, why))
    return outcome


def closing(core: Core, execution: Execution, why: str) -> list[Entry]:
    """Entries that close the target to automation until a person reopens it; without a target, all that was touched."""
    engine = execution.place.engine if execution.place else ""
    keys = {execution.target.key} if execution.target else {f"{engine}|", *execution.touched}
    return [
        core.entry(execution, "closed", {"key": key, "reason": Reason.CLOSED.value, "message": why})
        for key in sorted(keys)
    ]


async def _revert(core: Core, execution: Execution, command: Command, steps: Steps) -> dict[str, Any]:
    execution.calls_until = core.clock() + command.operation.timeout
    applied = execution.applied
    try:
        await run_part(core, execution, steps, "revert", command.translation.revert)
    except EndedError as ended:
        return {
            "status": ended.status.value,
            "reason": ended.reason.value,
            "request": execution.id,
            "message": str(ended),
        }
    except UnreachableError as error:
        return {
            "status": "failed",
            "reason": Reason.UNREACHABLE.value,
            "request": execution.id,
            "message": str(error),
        }
    gone = await _gone(execution, command, steps)
    if gone is None and execution.applied == applied:
        differs = await not_as_before(core, execution, command, steps)
        if differs is not None:
            message = f"it changed nothing, and {differs}"
            return {
                "status": "failed",
                "reason": Reason.VERIFICATION.value,
                "request": execution.id,
                "message": message,
            }
    if gone is not None:
        return {"status": "failed", "reason": Reason.UNKNOWN_TARGET.value, "request": execution.id, "message": gone}
    return {"status": "done", "reason": None, "request": execution.id, "message": "reverted"}


async def _gone(execution: Execution, command: Command, steps: Steps) -> str | None:
    """A `revert` that found nothing to put back has failed, however well its calls went."""
    if execution.target is None or execution.place is None:
        return None
    try:
        await target_of(execution.place, command.operation, command.parameters, listed=steps.roots["inventory"])
    except EndedError as ended:
        return f"after it nothing is there to be its target: {ended}"
    except UnreachableError as error:
        return f"whether its target is there again cannot be told: {error}"
    return None


async def _child(core: Core, execution: Execution, command: Command, steps: Steps, walk: Walk) -> dict[str, Any]:
    definition = command.operation.undo
    if definition is None:
        return {"status": "failed", "reason": Reason.EXECUTOR.value, "request": None, "message": "nothing undoes it"}
    try:
        request = Request(
            operation=definition.operation,
            # Of one that failed half way there is no answer, and an undo that reads it is a person's.
            parameters=render(definition.parameters, {**steps.roots, "answer": execution.answer}),
            environment=command.environment.name,
            reason=f"undo of {command.id}",
            confirm=command.request.confirm,
        )
        operation = operation_of(execution.catalog, request)
        request = with_namespace(request, operation, execution.target.namespace if execution.target else None)
    except (EndedError, ExpressionError) as error:
        return {"status": "failed", "reason": Reason.EXECUTOR.value, "request": None, "message": str(error)}
    child = core.execution(
        # One id for each: after a restart it is known what came of it, and no second one is begun.
        id=undo_id(execution.id),
        request=request,
        origin=execution.origin,
        catalog=execution.catalog,
        incident=execution.incident,
        parent=execution,
        before=execution.before,
        has_before=execution.has_before,
        hold=execution.hold,
    )
    return undone_by(await walk(core, child))


def undone_by(result: Result) -> dict[str, Any]:
    """What the child's Result says of the undo. One that changed nothing is done only where its verify shows that what
    it brings back is there already."""
    if result.reason is Reason.NOTHING_TO_DO and result.verification is not Verification.RECOVERED:
        return {
            "status": Status.FAILED.value,
            "reason": Reason.VERIFICATION.value,
            "request": result.id,
            "message": f"it changed nothing, and nothing shows that it is as before: {result.message}",
        }
    undone = result.status is Status.DONE or (
        # It is as before, and before it was ill: that is what an undo can give.
        result.status is Status.UNVERIFIED and result.verification is Verification.NOT_RECOVERED
    )
    return {
        "status": "done" if undone else result.status.value,
        "reason": None if undone else (result.reason.value if result.reason else None),
        "request": result.id,
        "message": result.message,
    }

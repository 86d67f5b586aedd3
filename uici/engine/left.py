"""Left: how a change left its target, so that whoever undoes it later sees whether somebody else has acted since.

Only observes. What cannot be told is never taken for "nobody has": a person decides then.
"""

from __future__ import annotations

from uici.catalog.expressions import fields_read
from uici.engine.asking import ask
from uici.engine.core import Core
from uici.engine.execution import Execution
from uici.engine.steps import Steps
from uici.engine.validate import target_of
from uici.engine.verdict import EndedError
from uici.model import Command, ExpressionError, UnreachableError


def written_back(command: Command) -> frozenset[str] | None:
    """The fields of ``before`` that taking this command back writes; none where its ``revert`` looks for itself, None where
    it is taken whole. Only they show that somebody else has acted since: others (a state, a count of restarts, the memory
    in use) change by themselves on a service that is ill."""
    undoes = command.operation.undo.parameters if command.operation.undo else {}
    # `each` says where it is written, and that may change by itself (the container that ran out of memory).
    return fields_read([undoes, *(dict(step.arguments) for step in command.translation.revert)], "before")


async def remember(core: Core, execution: Execution, command: Command, steps: Steps) -> None:
    """How the change left its target; asked once for each call that was applied."""
    if not (command.translation.revert or command.operation.undo) or execution.place is None:
        return
    if execution.left_after == execution.applied:
        return
    execution.left_after, execution.left_unknown = execution.applied, False
    try:
        execution.left_target = await target_of(
            execution.place, command.operation, command.parameters, listed=steps.roots["inventory"]
        )
        if command.operation.before is not None:
            before = command.operation.before
            execution.left = await ask(core, execution, before.operation, before.parameters, steps.roots)
    except (EndedError, ExpressionError, UnreachableError) as error:
        execution.left_unknown = True
        execution.note("undo", "left", "no_answer", {"message": str(error)})


async def remember_half(core: Core, execution: Execution, steps: Steps) -> None:
    """The same between two calls, for when the next one fails. Cut off between two renames nothing bears the name, so a
    ``revert`` that looks for itself needs none of it."""
    command = execution.command
    if command is not None and not execution.dry_run and not execution.undoing and written_back(command) != frozenset():
        await remember(core, execution, command, steps)


async def moved_on(core: Core, execution: Execution, command: Command, steps: Steps) -> str | None:
    """Why the target is not as the change left it, as far as can be told; None where it is."""
    fields = written_back(command)
    if execution.left_unknown:
        return "how the change left it could not be told, so nobody knows whether somebody else has changed it since"
    if execution.place is None:
        return None
    if execution.left_after is None and fields == frozenset():
        return None
    # Where nothing was certainly applied, it is to be as it was before; a call in doubt that left something is no proof.
    target = execution.left_target if execution.left_after is not None else execution.target
    left = execution.left if execution.left_after is not None else execution.before
    if execution.left_after is None and execution.applied:
        return "how the change left it was not seen, so nobody knows whether somebody else has changed it since"
    try:
        now_target = await target_of(
            execution.place, command.operation, command.parameters, listed=steps.roots["inventory"]
        )
        if now_target is not None and target is not None and now_target != target:
            return f"{target.name} is another one now ({now_target.id[:12]}): somebody else has changed it"
        if command.operation.before is None or not isinstance(left, dict):
            return None
        before = command.operation.before
        now = await ask(core, execution, before.operation, before.parameters, steps.roots)
    except (EndedError, ExpressionError, UnreachableError) as error:
        return f"whether it is still as it was left cannot be told: {error}"
    if not isinstance(now, dict):
        return f"{before.operation} does not tell any more how it is"
    for field in sorted(left.keys() if fields is None else fields):
        if now.get(field) != left.get(field):
            return (
                f"{field} was left as {left.get(field)!r} and is {now.get(field)!r} now: somebody else has changed it"
            )
    return None


async def not_as_before(core: Core, execution: Execution, command: Command, steps: Steps) -> str | None:
    """Which of the fields that an undo writes back is not as it was before the change; None where all are."""
    before, fields = command.operation.before, written_back(command)
    if fields == frozenset() or before is None or not isinstance(execution.before, dict):
        return None
    try:
        now = await ask(core, execution, before.operation, before.parameters, steps.roots)
    except (EndedError, ExpressionError, UnreachableError) as error:
        return f"whether it is as before cannot be told: {error}"
    for field in sorted(execution.before.keys() if fields is None else fields):
        was, is_ = execution.before.get(field), now.get(field) if isinstance(now, dict) else None
        if is_ != was:
            return f"{field} was {was!r} before and is {is_!r} now"
    return None

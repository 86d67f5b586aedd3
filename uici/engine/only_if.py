"""Whether the trouble is still there: asked right before a command's first change, under its lock.

How the target was before that change is mostly the same question; then one look answers both. Must not change anything,
nor decide what follows for the incident: its planner does.
"""

from __future__ import annotations

from typing import Any

from uici.catalog.expressions import condition
from uici.engine.asking import ask_exactly, with_namespace
from uici.engine.core import Core
from uici.engine.execution import Execution
from uici.engine.result import unread
from uici.engine.validate import operation_of
from uici.engine.verdict import EndedError, refused
from uici.model import ExpressionError, OnlyIf, Reason, Request, UnreachableError, in_short


async def see(core: Core, execution: Execution, asked: Request | None) -> None:
    """Refuses the command (EndedError, ``nothing_to_do``) where its ``only_if`` does not hold, or cannot be told.

    ``asked``: the question that ``execution.before`` answers; None where there is none.
    """
    only_if = execution.only_if
    if only_if is None:
        return
    try:
        same = asked is not None and _question(execution, asked) == _question(execution, _request(only_if))
        answer = execution.before if same else await _answer(core, execution, only_if)
        held = condition(only_if.expect, {**only_if.roots, "answer": answer})
    except ExpressionError as error:
        raise refused(Reason.SCHEMA, f"only_if could not be decided: {error}") from error
    execution.note("only_if", only_if.operation, "holds" if held else "does_not_hold", {"answer": answer})
    if not held:
        raise refused(
            Reason.NOTHING_TO_DO, f"the trouble is not there any more: {only_if.operation} says {in_short(answer)}"
        )
    execution.seen = True


async def _answer(core: Core, execution: Execution, only_if: OnlyIf) -> Any:
    target = execution.target
    try:
        return await ask_exactly(core, execution, only_if.operation, only_if.parameters, known_target=target)
    except (EndedError, UnreachableError) as error:
        reason = error.reason if isinstance(error, EndedError) else unread(error)
        raise refused(reason, f"{only_if.operation} gave no answer, so nothing was done: {error}") from error


def _request(only_if: OnlyIf) -> Request:
    return Request(operation=only_if.operation, parameters=only_if.parameters)


def _question(execution: Execution, request: Request) -> tuple[str, dict[str, Any]]:
    """What is asked, with the namespace that is understood."""
    operation = operation_of(execution.catalog, request)
    namespace = execution.target.namespace if execution.target else None
    return operation.name, dict(with_namespace(request, operation, namespace).parameters)

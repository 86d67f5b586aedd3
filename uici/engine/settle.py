"""Settling a doubt: did a call happen whose outcome nobody told? Only evidence decides; silence is for a person.

Must not run anything that changes: the evidence is an observing question, asked on the very engine of the intent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from uici.catalog.expressions import condition
from uici.engine.asking import ask
from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.execution import Execution, Recorded
from uici.engine.steps import Steps
from uici.engine.verdict import EndedError, in_doubt
from uici.model import ExpressionError, Reason, Status, Step, UnreachableError

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


def one_of_several(execution: Execution, part: str, index: int, step: Step) -> bool:
    """Whether the call is one of several of an ``each``, of which the whole tells nothing, and which the engine would not
    refuse a second time (``accept``)."""
    return len(execution.items.get((part, index), ())) > 1 and not step.accept


async def evidence(core: Core, execution: Execution, steps: Steps, part: str, *, several: bool) -> bool:
    """Whether the effect of the whole is there, as ``took_effect`` says of ``before`` asked again. Raises what asking does.

    ``several``: of one of several a "yes" tells nothing, and a "no" only that there is something for a ``revert`` to do.
    """
    operation = execution.command.operation if execution.command else None
    reverts = execution.command is not None and bool(execution.command.translation.revert)
    if part in ("revert", "cancel"):
        raise in_doubt("what shows that a change took effect does not show that it was taken back")
    if part == "confirm":
        raise in_doubt("what shows that a change took effect does not show that it was cleared up after")
    if operation is None or operation.took_effect is None or operation.before is None or not execution.has_before:
        raise in_doubt("there is no evidence to settle it by (`before` and `took_effect`)")
    if several and not reverts:
        raise in_doubt("what shows that the whole took effect does not show it of one of several")
    asked, template = operation.before.operation, operation.before.parameters
    try:
        answer = await ask(core, execution, asked, template, steps.roots)
    except EndedError as ended:
        # Cut off between two renames, nothing bears the name. What bore it is still known, and `revert` is given back.
        if ended.reason is not Reason.UNKNOWN_TARGET or not reverts or execution.target is None:
            raise
        answer = await ask(core, execution, asked, template, steps.roots, known_target=execution.target)
    roots = {**steps.roots, "before": execution.before, "answer": answer}
    took_effect = condition(operation.took_effect, roots)
    if took_effect and several:
        raise in_doubt("the whole seems to have taken effect, which does not show it of one of several")
    return took_effect

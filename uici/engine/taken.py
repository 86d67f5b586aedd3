"""Taken: the healthy replicas that one command's own calls have taken of a service and that are not back yet.

One after the other, it takes one at a time only where each is back before the next, or where a successor stands in for it
already. No command is exempt: one that can be reverted makes its service unavailable meanwhile like any other. Must not
decide: ``guard`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uici.engine.execution import Execution
from uici.model import Pinned, Risk, Touch

#: Seconds after a call until the count of the healthy ones is believed: an engine's own controllers count a moment later.
MOMENT = 1.0


def too_soon(execution: Execution, pinned: Pinned, risk: Risk, now: float) -> float:
    """Seconds that the look is to wait, as an earlier call of this command took another replica of the same service just
    now."""
    if risk is Risk.DESTROY or not any(_others(execution, touch) for touch in pinned.touches if touch.takes):
        return 0.0
    return max(0.0, execution.took_at + MOMENT - now)


def own(execution: Execution, touches: Sequence[Touch], risk: Risk) -> Mapping[str, int]:
    """Of each owner, what earlier calls took: of a ``destroy`` for good, of a ``change`` as far as it is not back."""
    if risk is Risk.DESTROY:
        return execution.taking
    missing: dict[str, int] = {}
    for touch in touches:
        missing[touch.resource.key] = max(missing.get(touch.resource.key, 0), touch.desired - touch.healthy)
    return {
        touch.resource.key: min(
            _others(execution, touch),
            # What was down before this command began is not its doing.
            max(0, missing[touch.resource.key] - execution.missing.get(touch.resource.key, 0)),
        )
        for touch in touches
    }


def count(execution: Execution, touches: Sequence[Touch], risk: Risk) -> None:
    """Counts what a call takes, from the moment of its intent on; ``took_nothing`` takes that back."""
    execution.counted = dict(execution.taking), {key: dict(ids) for key, ids in execution.took.items()}
    before = own(execution, touches, risk)
    at_once: dict[str, int] = {}
    for touch in touches:
        key = touch.resource.key
        at_once[key] = at_once.get(key, 0) + touch.takes
        if touch.desired:  # one that is only being made is no replica yet, and tells nothing of the others
            execution.missing.setdefault(key, max(0, touch.desired - touch.healthy))
        took = execution.took.setdefault(key, {})
        took[touch.resource.id] = max(took.get(touch.resource.id, 0), touch.takes)
    for key, takes in at_once.items():
        total = before.get(key, 0) + takes
        execution.taking[key] = total if risk is Risk.DESTROY else max(execution.taking.get(key, 0), total)


def took_nothing(execution: Execution) -> None:
    """The call that was counted last proved to have done nothing."""
    if execution.counted is not None:
        execution.taking, execution.took = execution.counted
        execution.counted = None


def _others(execution: Execution, touch: Touch) -> int:
    """How many other replicas of the same service earlier calls took."""
    taken = execution.took.get(touch.resource.key, {})
    return sum(takes for id, takes in taken.items() if id != touch.resource.id)

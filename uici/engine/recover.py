"""Recover: what an earlier process accepted and did not finish. Settled by evidence before anything is done again.

A command without an intent changed nothing and ends as cancelled (its incident's planner looks again). One with intents
goes on by its own journaled copy: recorded outcomes stand, an intent without one is a doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.engine.core import Core
from uici.engine.execute import record, run_accepted
from uici.engine.execution import Execution, Recorded
from uici.engine.frozen import frozen
from uici.engine.verdict import EndedError, in_doubt
from uici.executor import Done
from uici.journal import Unsettled
from uici.model import (
    Call,
    ConfigurationError,
    ExpressionError,
    Reason,
    Resource,
    Result,
    Status,
    UnreachableError,
    epoch,
)

#: Seconds that a recovering command waits for its lock: others that recover may touch the same.
LOCK_LIMIT = 600.0


def recovered(core: Core, unsettled: Unsettled) -> Execution:
    """The execution as the journal has it."""
    command = unsettled.command
    execution = Execution(
        id=command.id,
        request=command.request,
        origin=command.origin,
        catalog=core.catalog,
        clock=core.clock,
        progress=core.progress,
        incident=command.incident,
        started=epoch(command.now),
        command=command,
        target=command.target,
        environment=command.environment.name,
        risk=command.operation.risk,
        accepted=True,
    )
    for entry in unsettled.entries:
        data = entry.data
        if entry.kind == "request":
            execution.catalog = frozen(core.catalog, command, data.get("copies", {}))
        elif entry.kind == "before":
            execution.before, execution.has_before, execution.before_journaled = data["answer"], True, True
        elif entry.kind == "intent":
            execution.intents += 1
            execution.recorded_answers.update(data.get("answers", {}))
            place = (data["part"], data["index"], data["item"])
            execution.recorded[place] = Recorded(
                entry.seq,
                Call.from_json(data["call"]),
                None,
                data["deadline"],
                data["engine"],
                data.get("redacted", False),
            )
        elif entry.kind in ("outcome", "settled"):
            _close_intent(execution, entry.kind, data["intent"], data)
    return execution


def _close_intent(execution: Execution, kind: str, intent: int, data: Mapping[str, Any]) -> None:
    """An outcome that proves something closes its intent; ``unknown`` leaves it in doubt."""
    for place, recorded in list(execution.recorded.items()):
        if recorded.intent != intent:
            continue
        if data.get("status") == "done" or data.get("verdict") == "happened":
            done = Done(
                answer=data.get("answer"),
                resources=tuple(Resource.from_json(one) for one in data.get("resources", ())),
            )
            execution.recorded[place] = Recorded(
                recorded.intent, recorded.call, done, recorded.deadline, recorded.engine, recorded.redacted
            )
        elif data.get("status") == "rejected" or data.get("verdict") == "not_happened":
            del execution.recorded[place]


async def finish(core: Core, execution: Execution) -> Result:
    """Ends what was left: gives and journals its Result."""
    core.begin(execution)
    try:
        try:
            result = await _finish(core, execution)
        except EndedError as ended:
            result = execution.result(ended.status, ended.reason, str(ended))
        except (UnreachableError, ConfigurationError, ExpressionError) as error:
            doubt = execution.intents > 0
            status, reason = (Status.IN_DOUBT, Reason.IN_DOUBT) if doubt else (Status.FAILED, Reason.UNREACHABLE)
            result = execution.result(status, reason, f"after a restart: {error}")
        return await record(core, execution, result)
    finally:
        core.end(execution)


async def _finish(core: Core, execution: Execution) -> Result:
    command = execution.command
    if command is None or execution.intents == 0:
        return execution.result(
            Status.FAILED, Reason.CANCELLED, "UICI stopped before anything was changed; nothing was done"
        )
    if any(part not in ("steps", "confirm") for part, _, _ in execution.recorded):
        raise in_doubt("UICI stopped while it was undoing this; a person has to look how far that came")
    if any("writeOnly" in str(one) for one in command.operation.parameters.get("properties", {}).values()):
        raise in_doubt("its parameters hold secrets that are never stored, so it cannot be continued")
    place = execution.place = await core.environments.opened(command.environment)
    keys = frozenset({execution.target.key}) if execution.target else None
    async with core.locks.hold(place.engine, keys, LOCK_LIMIT) as hold:
        execution.hold = hold
        execution.note("settled", command.operation.name, "continued", {"intents": execution.intents})
        return await run_accepted(core, execution, command, place)

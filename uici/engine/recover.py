"""Recover: what an earlier process accepted and did not finish. Settled by evidence before anything is done again.

A command without an intent, or whose calls were all rejected, changed nothing and ends as cancelled (its incident's
planner looks again). Another goes on by its own journaled copy: recorded outcomes stand, an intent without one is a doubt.
One that was cancelled goes on only as far as it must to know what is to be taken back.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment
from uici.engine.execute import run_accepted
from uici.engine.execution import Execution, Recorded, undo_id
from uici.engine.frozen import frozen
from uici.engine.result import ended_by, not_recovered, record
from uici.engine.settle import EVERY, PATIENCE
from uici.engine.taken import count, took_nothing
from uici.engine.undo import closing, undone_by
from uici.engine.uninterrupted import uninterrupted
from uici.engine.verdict import in_doubt
from uici.engine.write_only import marks
from uici.executor import Done
from uici.journal import Unsettled
from uici.model import Call, Command, JournalError, Reason, Resource, Result, Status, Touch, UnreachableError, epoch

#: Seconds that a recovering command waits for its lock: others that recover may touch the same.
LOCK_LIMIT = 600.0


def recovered(core: Core, unsettled: Unsettled) -> Execution:
    """The execution as the journal has it."""
    command = unsettled.command
    execution = core.execution(
        id=command.id,
        request=command.request,
        origin=command.origin,
        catalog=core.catalog,
        incident=command.incident,
        command=command,
        target=command.target,
        environment=command.environment.name,
        risk=command.operation.risk,
        accepted=True,
    )
    execution.started = epoch(command.now)
    execution.formed.set()
    for entry in unsettled.entries:
        data = entry.data
        if entry.kind == "request":
            execution.catalog = frozen(core.catalog, command, data.get("copies", {}))
        elif entry.kind == "before":
            execution.before, execution.has_before, execution.before_journaled = data["answer"], True, True
        elif entry.kind == "intent":
            execution.intents += 1
            execution.recorded_answers.update(data.get("answers", {}))
            touches = tuple(Touch.from_json(one) for one in data["touches"])
            execution.touched = frozenset(touch.resource.key for touch in touches)
            count(execution, touches, Call.from_json(data["call"]).risk)
            execution.took_at = entry.at
            execution.begun = execution.begun or data["redo"]
            execution.seen = data.get("seen", False)
            if "items" in data:
                execution.items[data["part"], data["index"]] = data["items"]
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
            _close_intent(execution, data["intent"], data)
        elif entry.kind == "cancel":
            execution.cancelled_by = data["by"]
    # Once it clears up after what was verified, a cancel comes too late: what it would be reverted to is going.
    if execution.cancelled_by and not execution.clearing:
        execution.cancelled.set()
    return execution


def _close_intent(execution: Execution, intent: int, data: Mapping[str, Any]) -> None:
    """An outcome that proves something closes its intent; ``unknown`` leaves it in doubt. What was settled not to have
    happened is kept as that: whether it may be done again is decided as if there had been no restart."""
    for place, recorded in list(execution.recorded.items()):
        if recorded.intent != intent:
            continue
        if data.get("status") == "done" or data.get("verdict") == "happened":
            done = Done(
                answer=data.get("answer"),
                resources=tuple(Resource.from_json(one) for one in data.get("resources", ())),
            )
            execution.recorded[place] = dataclasses.replace(recorded, done=done)
        elif data.get("verdict") == "not_happened":
            took_nothing(execution)
            execution.recorded[place] = dataclasses.replace(recorded, not_happened=True)
        elif data.get("status") == "rejected":
            took_nothing(execution)
            del execution.recorded[place]


async def finish(core: Core, execution: Execution) -> Result:
    """Ends what was left: gives and journals its Result. Raises JournalError alone."""
    core.begin(execution)
    try:
        async with AsyncExitStack() as held:
            try:
                result = await _finish(core, execution, held)
            except (JournalError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, what was begun must not be left without an end
                result = ended_by(execution, error)
            return await uninterrupted(record(core, execution, result))
    finally:
        core.end(execution)


async def _finish(core: Core, execution: Execution, held: AsyncExitStack) -> Result:
    command = execution.command
    # Where each was rejected nothing was changed, and whether the trouble is still there (`only_if`) is its planner's to ask.
    nothing = execution.intents == 0 or not (execution.recorded or execution.begun or execution.undoing)
    if command is None or nothing:
        return execution.result(
            Status.FAILED, Reason.CANCELLED, "UICI stopped before anything was changed; nothing was done"
        )
    # Locked before its engine answers: whoever finds it up again sooner must not act on what is in doubt.
    engine, keys = core.owed[execution.id]
    try:
        execution.hold = await held.enter_async_context(core.locks.hold(engine, keys or None, LOCK_LIMIT))
    except TimeoutError as error:
        raise in_doubt(f"another command has worked there for {LOCK_LIMIT:.0f} s since the restart") from error
    if any(part not in ("steps", "confirm") for part, _, _ in execution.recorded):
        raise in_doubt("UICI stopped while it was undoing this; a person has to look how far that came")
    undone = None if execution.undoing else await core.journal.result(undo_id(execution.id))
    if undone is not None:
        execution.place = await core.environments.opened(command.environment)
        outcome = undone_by(undone)
        execution.note("undo", command.operation.name, outcome["status"], outcome)
        if outcome["status"] != "done":
            why = f"the undo of {command.operation.name} failed: {outcome['message']}"
            await core.journal.append(*closing(core, execution, why))
        return not_recovered(execution, outcome)
    if marks(command.operation.parameters):  # whether one was given is not stored either
        raise in_doubt("its parameters hold secrets that are never stored, so it cannot be continued")
    place = execution.place = await _opened(core, execution, command)
    if place.engine != engine:
        raise in_doubt(f"the engine behind {place.name} is another now ({place.engine}, it was {engine})")
    execution.note("settled", command.operation.name, "continued", {"intents": execution.intents})
    return await run_accepted(core, execution, command, place)


async def _opened(core: Core, execution: Execution, command: Command) -> OpenEnvironment:
    """A machine that starts brings its engine up beside UICI: it is waited for, as for evidence."""
    deadlines = [one.deadline for one in execution.recorded.values() if one.done is None]
    give_up = max([core.clock(), *deadlines]) + PATIENCE
    while True:
        try:
            return await core.environments.opened(command.environment)
        except UnreachableError:
            if core.clock() >= give_up:
                raise
        await core.sleep(EVERY)

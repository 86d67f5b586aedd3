"""Changes: the only place where a call that is more than ``observe`` runs.

For each: resolve and pin -> authorise its real risk -> guard -> lock all that it touches -> journal the intent -> run ->
journal the outcome. An outcome that nobody can tell is settled by evidence before anything else is done. A cancelled
task still waits for the call's end and journals what came of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from uici.catalog.expressions import condition
from uici.engine.admit import admit
from uici.engine.asking import look_again, observe_step
from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.execution import Execution, Recorded
from uici.engine.left import remember_half
from uici.engine.redact import holds_hidden
from uici.engine.roots import command_roots
from uici.engine.running import new_answers, run_and_record
from uici.engine.settle import Settled, evidence, one_of_several, settle
from uici.engine.steps import Steps, accepted, retried
from uici.engine.taken import count, took_nothing
from uici.engine.uninterrupted import uninterrupted
from uici.engine.verdict import EndedError, StaleError, failed, in_doubt
from uici.executor import Done, Outcome, Rejected, Unknown
from uici.journal import Entry
from uici.model import (
    Call,
    Command,
    ExpressionError,
    JournalError,
    Pinned,
    Reason,
    Resource,
    Risk,
    Status,
    Step,
    UnreachableError,
)

#: How often a call may find that its target was changed between the look and the act; then it fails as `conflict`.
CONFLICTS = 3
#: Seconds before the second try; twice that before the third.
PAUSE = 0.3


def steps_of(execution: Execution, command: Command, place: OpenEnvironment, inventory: Mapping[str, Any]) -> Steps:
    """The state of a command's own translation before its first step."""
    roots = command_roots(command, inventory)
    if execution.has_before:
        roots["before"] = execution.before
    return Steps(
        place=place,
        translator=execution.catalog.translator,
        dialect=command.translation.dialect,
        roots=roots,
    )


async def run_part(core: Core, execution: Execution, steps: Steps, part: str, definitions: tuple[Step, ...]) -> None:
    """Runs ``steps``, ``confirm``, ``revert`` or ``cancel`` in order; the first failure ends it with EndedError."""
    steps.looks.clear()
    # Half a change is worse than none: what stops automation does not stop it from taking back what it began.
    execution.reverting = part in ("revert", "cancel")
    for index, step in enumerate(definitions):
        _stop_if_cancelled(execution, part, index)
        try:
            if not steps.wanted(step):
                continue
            await _step(core, execution, steps, part, index, step)
        except ExpressionError as error:
            if execution.dry_run and execution.changes:
                # What comes next depends on an answer that only the change itself would give.
                execution.note("call", step.call, "would", {"template": dict(step.arguments), "part": part})
                continue
            raise failed(Reason.EXECUTOR, f"{step.call}: {error}") from error


async def _step(core: Core, execution: Execution, steps: Steps, part: str, index: int, step: Step) -> None:
    items = execution.items.get((part, index))
    if items is None:
        items = steps.items(step)
    elif holds_hidden(items):
        raise in_doubt(f"{step.call}: what it repeats over held secrets that are not stored, so it cannot be continued")
    answers: list[Any] = []
    execution.empty = execution.empty or not items
    for number, item in enumerate(items):
        _stop_if_cancelled(execution, part, index, number)
        limit = _time_left(core, execution)
        # A call that was begun before a restart is settled first: that its effect is there may be its own doing.
        begun = execution.recorded.get((part, index, number))
        draft = begun.call if begun is not None else steps.call(step, item, limit)
        if draft.risk is Risk.OBSERVE:
            # Asked in one go: `each` and `until` are the observing step's own business.
            await _observe(core, execution, steps, part, step, draft, limit)
            return
        execution.offered += 1
        if begun is None and step.unless is not None and condition(step.unless, steps.seeing(step, item)):
            execution.skipped += 1
            execution.note("call", draft.path, "skipped", {"part": part})
            answers.append(None)
            continue
        if step.each is not None:
            execution.items[part, index] = items
        known = begun is not None and begun.done is not None
        try:
            done = await _change(core, execution, steps, part, index, number, step, item, draft)
            steps.answer(step, draft, done)
            answers.append(done.answer if done else None)
            execution.applied += 0 if execution.dry_run else 1
            if part in ("steps", "cancel") and not known:
                await remember_half(core, execution, steps)
        except EndedError as ended:
            if not step.continue_ or ended.status is not Status.FAILED:
                raise
            execution.failures.append(ended)
            answers.append(None)
    if step.each is not None and step.as_ is not None:
        steps.roots[step.as_] = answers
    # Looked at once more, what was seen before this step would show what it did itself.
    steps.looks.clear()


async def _observe(
    core: Core, execution: Execution, steps: Steps, part: str, step: Step, draft: Call, limit: float
) -> None:
    """An observing step. After a restart the recorded answer holds; it is asked again for its objects alone."""
    recorded = execution.recorded_answers.get(step.as_) if step.as_ is not None else None
    known = recorded is not None and not holds_hidden(recorded)
    try:
        await observe_step(core, steps, step, timeout=limit)
    except (EndedError, UnreachableError):
        if not known:
            raise
    if known and step.as_ is not None:
        steps.roots[step.as_] = recorded
    steps.looks.append(step)
    execution.note("call", draft.path, "done", {"part": part, "risk": "observe"})


def _stop_if_cancelled(execution: Execution, part: str, index: int, number: int = 0) -> None:
    """What was done before a restart is counted first: only then is it known what is to be taken back."""
    known = any(one >= (part, index, number) for one in execution.recorded)
    if execution.cancelled.is_set() and part == "steps" and not known:
        raise failed(Reason.CANCELLED, f"cancelled by {execution.cancelled_by}")


def _time_left(core: Core, execution: Execution) -> float:
    left = execution.calls_until - core.clock()
    if left <= 0:
        raise failed(Reason.TIMEOUT, f"{execution.request.operation}: its calls took longer than its `timeout`")
    return left


async def _change(
    core: Core,
    execution: Execution,
    steps: Steps,
    part: str,
    index: int,
    number: int,
    step: Step,
    item: Any,
    draft: Call,
) -> Done | None:
    """One changing call; None where an accepted rejection or a settled doubt leaves no answer."""
    recorded = execution.recorded.pop((part, index, number), None)
    if recorded is not None:
        if recorded.done is not None:
            execution.note("call", recorded.call.path, "done", {"part": part, "recorded": True})
            return recorded.done
        return await _settle(core, execution, steps, part, index, number, step, recorded)
    retry_until = core.clock() + (step.within if step.within is not None else 0.0)
    while True:
        pinned = await admit(core, execution, steps.place, draft, step.touches)
        execution.changes += 1
        if execution.dry_run:
            if pinned.call.risk is Risk.DESTROY:
                # What goes for good is summed here too; of what else it takes nobody can tell when it would be back.
                count(execution, pinned.touches, Risk.DESTROY)
            preview = await bounded(draft.path, steps.place.executor.preview(pinned.call))
            execution.note(
                "call",
                pinned.call.path,
                "would",
                {**_shown(pinned, part), "preview": preview.text if preview is not None else None},
            )
            return None
        intent, deadline, outcome = await _act(core, execution, steps, part, index, number, pinned, redo=False)
        if isinstance(outcome, Rejected) and retried(step, outcome) and core.clock() < retry_until:
            await core.sleep(step.every)
            _stop_if_cancelled(execution, part, index, number)
            draft = steps.call(step, item, _time_left(core, execution))
            continue
        if isinstance(outcome, Rejected) and outcome.stale and not accepted(step, outcome):
            # Somebody changed it between the look and the act, and nothing was done: looked at and decided anew.
            conflicts = execution.conflicts[part, index, number] = execution.conflicts.get((part, index, number), 0) + 1
            if conflicts < CONFLICTS:
                # An engine's own controllers follow up on a change within moments, and would make the next look stale too.
                await core.sleep(PAUSE * conflicts)
                _stop_if_cancelled(execution, part, index, number)
                if part == "steps" and not execution.applied and not execution.undoing:
                    raise StaleError
                seen = await look_again(core, steps, timeout=_time_left(core, execution))
                # Of one later in an `each`, `when` would look at what the step itself has done to the ones before.
                if (number == 0 and not seen.wanted(step)) or (
                    step.unless is not None and condition(step.unless, seen.seeing(step, item))
                ):
                    # Somebody else has seen to it, as where an accepted rejection says so.
                    execution.note("call", draft.path, "skipped", {"part": part})
                    return None
                draft = seen.call(step, item, _time_left(core, execution))
                continue
        if isinstance(outcome, Unknown):
            doubt = Recorded(
                intent,
                pinned.call,
                None,
                # No answer is not the call's end: a gateway gives up while the engine still works on it.
                deadline,
                steps.place.engine,
                core.redact(execution, pinned.call.to_json()) != pinned.call.to_json(),
            )
            return await _settle(core, execution, steps, part, index, number, step, doubt, outcome.message)
        return _done(step, pinned.call, outcome)


def _done(step: Step, call: Call, outcome: Outcome) -> Done | None:
    if isinstance(outcome, Done):
        return outcome
    if isinstance(outcome, Rejected):
        if accepted(step, outcome):
            return None
        raise failed(Reason(outcome.reason), f"{call.path}: {outcome.message}")
    raise in_doubt(f"{call.path}: {outcome.message}; nobody can tell whether it happened")


def _shown(pinned: Pinned, part: str) -> dict[str, Any]:
    return {
        "part": part,
        "on": pinned.call.on.name if pinned.call.on else None,
        "arguments": dict(pinned.call.arguments),
        "risk": pinned.call.risk.value,
        "touches": [f"{touch.resource.kind}/{touch.resource.name}" for touch in pinned.touches],
    }


async def _act(
    core: Core,
    execution: Execution,
    steps: Steps,
    part: str,
    index: int,
    number: int,
    pinned: Pinned,
    *,
    redo: bool,
) -> tuple[int, float, Outcome]:
    """Intent, call, outcome. Gives the intent's seq and deadline, and the outcome; all are durable."""
    call, engine = pinned.call, steps.place.engine
    deadline = core.clock() + call.timeout
    entries: list[Entry] = []
    if execution.has_before and not execution.before_journaled:
        entries.append(core.entry(execution, "before", {"answer": execution.before}))
        execution.before_journaled = True
    intent = {
        "call": call.to_json(),
        "index": index,
        "item": number,
        "part": part,
        "touches": [touch.to_json() for touch in pinned.touches],
        "deadline": deadline,
        "engine": engine,
        "key": execution.target.key if execution.target else f"{engine}|",
        "environment": steps.place.name,
        "operation": execution.request.operation,
        "risk": max(call.risk, execution.risk or call.risk).value,
        "origin": str(execution.origin),
        "redo": redo,
        "seen": execution.seen,
        "answers": new_answers(execution, steps),
    }
    if (part, index) in execution.items and f"{part}.{index}" not in execution.told:
        intent["items"] = execution.told[f"{part}.{index}"] = execution.items[part, index]
    # By its key brakes find it again, and its engine must be the very same after a restart.
    clean = {**core.redact(execution, intent), "key": intent["key"], "engine": engine}
    clean["redacted"] = clean["call"] != intent["call"]
    entries.append(Entry(kind="intent", data=clean, incident=execution.incident, request=execution.id, at=core.clock()))
    # Counted before anything else can come between: others see at once what this one takes.
    count(execution, pinned.touches, call.risk)
    try:
        await core.caught_up(execution)
        seq = await core.journal.append(*entries)
    except JournalError:
        took_nothing(execution)
        raise
    execution.intents += 1
    execution.touched = frozenset(touch.resource.key for touch in pinned.touches)
    running = asyncio.ensure_future(run_and_record(core, execution, steps, seq, call))
    core.calls.add(running)
    running.add_done_callback(core.calls.discard)
    # Cancelled: the call is over when its thread or connection is; until then nothing is let go.
    outcome = await uninterrupted(running)
    if isinstance(outcome, Rejected):
        took_nothing(execution)
    execution.took_at = core.clock()
    return seq, deadline, outcome


async def _settle(
    core: Core,
    execution: Execution,
    steps: Steps,
    part: str,
    index: int,
    number: int,
    step: Step,
    doubt: Recorded,
    said: str = "",
) -> Done | None:
    """Settles a doubt by evidence: it happened, it did not (then once more, if that is safe), or a person must look.

    ``said``: why there is a doubt, as its executor said it; a person wants that more than how it was settled.
    """
    cause = f"; what was said: {said}" if said else ""
    operation = execution.command.operation if execution.command else None

    several = one_of_several(execution, part, index, step)
    verdict, why = Settled.NOT_HAPPENED, "as was settled before a restart"
    if not doubt.not_happened:
        verdict, why = await settle(
            core, steps.place, doubt, lambda: evidence(core, execution, steps, part, several=several)
        )
        await core.write(execution, "settled", {"intent": doubt.intent, "verdict": verdict.value, "message": why})
    execution.note("settled", doubt.call.path, verdict.value, {"message": why})
    if operation is not None:
        # Waiting for evidence was not the calls' time.
        execution.calls_until = max(execution.calls_until, core.clock() + operation.timeout)
    if verdict is Settled.HAPPENED:
        return None
    if verdict is Settled.NOT_HAPPENED:
        took_nothing(execution)
        # Of the very last call, what shows that the whole is not there shows it of that call: there is nothing to revert.
        execution.begun = execution.begun or several or not _last(execution, steps, part, index, number)
        if several:
            raise failed(
                Reason.EXECUTOR, f"{doubt.call.path}: nobody can tell whether it happened, and the whole did not{cause}"
            )
        if operation is None or not operation.idempotent or doubt.redacted:
            raise failed(
                Reason.EXECUTOR,
                f"{doubt.call.path} did not happen ({why}); it is not done again, as that may not be safe{cause}",
            )
        _stop_if_cancelled(execution, part, index, number)
        again = dataclasses.replace(doubt.call, timeout=max(1.0, min(doubt.call.timeout, _time_left(core, execution))))
        pinned = await admit(core, execution, steps.place, again, step.touches)
        _, _, outcome = await _act(
            core, execution, steps, part, index, number, dataclasses.replace(pinned, call=again), redo=True
        )
        if not isinstance(outcome, Unknown):
            return _done(step, again, outcome)
        why, cause = f"done again, and again nobody can tell: {outcome.message}", ""
    raise in_doubt(f"{doubt.call.path}: {why}; look at {_name(execution.target)} and `uici reopen` its target{cause}")


def _last(execution: Execution, steps: Steps, part: str, index: int, number: int) -> bool:
    """Whether no other changing call of the translation was to come after this one; False where that cannot be told."""
    if execution.command is None or part != "steps" or number + 1 < len(execution.items.get((part, index), ())):
        return False
    for step in execution.command.translation.steps[index + 1 :]:
        try:
            if steps.wanted(step) and not steps.observes(step):
                return False
        except ExpressionError:
            return False
    return True


def _name(target: Resource | None) -> str:
    return f"{target.kind} {target.name}" if target else "the environment"

"""Running: one call whose intent is durable, until its outcome is as well.

Must not decide whether it may run, nor what follows from its outcome: ``changes`` does.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from uici.engine import execution as execution_bounds
from uici.engine.core import Core
from uici.engine.execution import Execution, plain, size_of
from uici.engine.steps import Steps
from uici.executor import Done, Outcome, Rejected, Unknown
from uici.model import Call


async def run_and_record(core: Core, execution: Execution, steps: Steps, intent: int, call: Call) -> Outcome:
    """The outcome, journaled; whatever the executor did not list is a doubt."""
    outcome: Outcome
    try:
        try:
            outcome = await steps.place.executor.run(call)
        finally:
            # What a name means may be another thing from here on.
            steps.place.located.clear()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the process ends: the next one settles it
        outcome = Unknown(message="the call was cancelled inside of its executor")
    except Exception as error:  # noqa: BLE001 - any exception that the executor did not list is a doubt, not a crash
        outcome = Unknown(message=f"{type(error).__name__}: {error}")
    data: dict[str, Any] = {"intent": intent, "answer": None, "resources": [], "errors": [], "message": ""}
    if isinstance(outcome, Done):
        outcome = dataclasses.replace(outcome, answer=plain(outcome.answer))
        size = size_of(outcome.answer)
        data.update(
            status="done",
            answer=outcome.answer if size <= execution_bounds.ANSWER else {"left_out": f"{size} bytes"},
            resources=[resource.to_json() for resource in outcome.resources],
        )
    elif isinstance(outcome, Rejected):
        data.update(status="rejected", errors=list(outcome.errors), message=outcome.message)
    else:
        data.update(status="unknown", message=outcome.message)
    shown = {"on": call.on.name if call.on else None, "arguments": dict(call.arguments), "risk": call.risk.value}
    entry = core.entry(execution, "outcome", data)
    await core.journal.append(entry)
    if entry.data["message"]:
        shown["message"] = entry.data["message"]
    execution.note("call", call.path, data["status"], shown)
    return outcome


def new_answers(execution: Execution, steps: Steps) -> Mapping[str, Any]:
    """The recorded answers that are new since the last intent, so that another process can go on where this one ended."""
    if execution.command is None:
        return {}
    translation = execution.command.translation
    names = {
        step.as_ for step in (*translation.steps, *translation.confirm, *translation.revert) if step.as_ is not None
    }
    new = {
        name: steps.roots[name]
        for name in names
        if name in steps.roots and execution.told.get(name, execution) is not steps.roots[name]
    }
    execution.told.update(new)
    # One that is too large to be kept is asked for again after a restart, like one that held secrets.
    return {name: answer for name, answer in new.items() if size_of(answer) <= execution_bounds.ANSWER}

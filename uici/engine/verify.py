"""Verify: did it help? Three values. An observing question, asked until its expectation has held for ``stable_for``.

No answer is never a pass and never a failure: it is ``inconclusive``. Woken early by the executor's ``watch``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from uici.catalog.expressions import condition, render
from uici.engine import execution as execution_bounds
from uici.engine.asking import ask
from uici.engine.core import Core
from uici.engine.execution import Execution, size_of
from uici.engine.verdict import EndedError
from uici.model import ExpressionError, Resource, UnreachableError, Verification, Verify


async def verify(
    core: Core,
    execution: Execution,
    definition: Verify,
    roots: Mapping[str, Any],
    watched: Sequence[Resource] = (),
) -> Verification:
    """Samples are the execution's evidence. Ends at once where ``fail`` holds or the execution is cancelled.

    ``watched``: what may tell that it is time for another sample.
    """
    changed = asyncio.Event()
    watcher = asyncio.ensure_future(_watch(execution, watched, changed))
    try:
        return await _verify(core, execution, definition, roots, changed)
    finally:
        watcher.cancel()
        # Whatever became of it: a watch that breaks only makes verify slower, it polls anyway.
        await asyncio.gather(watcher, return_exceptions=True)


async def _verify(
    core: Core, execution: Execution, definition: Verify, roots: Mapping[str, Any], changed: asyncio.Event
) -> Verification:
    until = core.clock() + definition.within
    held_since: float | None = None
    held: Any = None
    while True:
        changed.clear()
        asked = core.clock()
        verdict, seen, steady = await _sample(core, execution, definition, roots)
        at = core.clock()
        execution.note("sample", definition.operation, verdict, seen)
        if definition.answers and "answer" in seen and size_of(seen["answer"]) <= execution_bounds.ANSWER:
            execution.answer = seen["answer"]
        if verdict == "fail":
            return Verification.NOT_RECOVERED
        if verdict == "holds":
            if held_since is None or steady != held:
                if held_since is not None and at >= until:
                    return Verification.NOT_RECOVERED  # it comes and goes
                held_since, held = at, steady
            if at - held_since >= definition.stable_for:
                return Verification.RECOVERED
            # Answers count, so the last one is asked for as long ahead as this one took to come.
            wait = min(definition.every, max(0.0, held_since + definition.stable_for - at - (at - asked)))
        else:
            held_since = None
            if at >= until:
                return Verification.NOT_RECOVERED if verdict == "does_not_hold" else Verification.INCONCLUSIVE
            wait = min(definition.every, until - at)
        if execution.cancelled.is_set():
            return Verification.INCONCLUSIVE
        await _pause(core, execution, wait, changed)


async def _sample(
    core: Core, execution: Execution, definition: Verify, roots: Mapping[str, Any]
) -> tuple[str, dict[str, Any], Any]:
    """The verdict, what is shown of it, and what must not change while it holds."""
    try:
        answer = await ask(core, execution, definition.operation, definition.parameters, roots)
        seeing = {**roots, "answer": answer}
        if definition.fail is not None and condition(definition.fail, seeing):
            return "fail", {"answer": answer}, None
        if not condition(definition.expect, seeing):
            return "does_not_hold", {"answer": answer}, None
        return "holds", {"answer": answer}, render(definition.steady, seeing)
    except (EndedError, ExpressionError, UnreachableError) as error:
        return "no_answer", {"message": str(error)}, None


async def _pause(core: Core, execution: Execution, seconds: float, changed: asyncio.Event) -> None:
    """Until the next sample: ``seconds``, or at once when something changed or somebody cancelled."""
    waits = [
        asyncio.ensure_future(core.sleep(seconds)),
        asyncio.ensure_future(changed.wait()),
        asyncio.ensure_future(execution.cancelled.wait()),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _watch(execution: Execution, watched: Sequence[Resource], changed: asyncio.Event) -> None:
    if execution.place is None or not watched:
        return
    async for _ in execution.place.executor.watch(watched):
        changed.set()

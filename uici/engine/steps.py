"""The steps of one translation on their way: rendered one after another, because later ones see earlier answers.

This module renders calls and runs those that only observe. It must not run a call that changes anything: those go
through ``changes``, where they are pinned, guarded and journaled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.catalog import CommandTranslator
from uici.catalog.expressions import condition, render
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.redact import without_keys
from uici.engine.verdict import failed, in_doubt
from uici.executor import Done, Outcome, Rejected, StepToCheck
from uici.model import Call, ExpressionError, Pinned, Reason, Resource, Risk, Step, Translation
from uici.model.record import dataclass

#: How many lines of a ``stream: true`` step are kept as its answer.
STREAM_LINES = 10_000
#: Above so many items, or characters (some hundred lines), an answer takes milliseconds to build.
LARGE_LIST, LARGE_TEXT = 100, 10_000


@dataclass(slots=True)
class Steps:
    """What the steps of one translation have seen so far.

    ``roots``: what expressions see, earlier ``as`` among them. ``receivers``: id -> the Resource of an answered object and
    its type in the SDK's words, so that ``container.restart`` finds its container.
    """

    place: OpenEnvironment
    translator: CommandTranslator
    dialect: str
    roots: dict[str, Any]
    receivers: dict[str, tuple[Resource, str]] = field(default_factory=dict)
    looks: list[Step] = field(default_factory=list)

    def wanted(self, step: Step) -> bool:
        """Whether the step's ``when`` lets it in. What one that is left out would have answered is null, as in a runbook, so
        that a later ``when`` may ask first whether it was made at all."""
        wanted = step.when is None or condition(step.when, self.roots)
        if not wanted and step.as_ is not None:
            self.roots.setdefault(step.as_, None)
        return wanted

    def items(self, step: Step) -> list[Any]:
        """What the step repeats over; one None for a step without ``each``. Raises ExpressionError."""
        if step.each is None:
            return [None]
        found = render(step.each, self.roots)
        if not isinstance(found, list):
            raise ExpressionError(f"each: {step.each!r} gave {type(found).__name__}, not a list")
        return found

    def seeing(self, step: Step, item: Any) -> dict[str, Any]:
        return {**self.roots, "item": item} if step.each is not None else self.roots

    def call(self, step: Step, item: Any, timeout: float) -> Call:
        """The step as a Call with its real risk; raises ExpressionError, or EndedError for a receiver that is none."""
        roots = self.seeing(step, item)
        head, _, method = step.call.partition(".")
        on, path = None, step.call
        if head == "item" or (head in self.roots and method):
            datum = item if head == "item" else self.roots[head]
            known = self.receivers.get(str(datum.get("id"))) if isinstance(datum, Mapping) else None
            if known is None:
                raise failed(Reason.EXECUTOR, f"{step.call}: {head!r} is no object that the engine answered with")
            on, kind = known
            path = f"{kind}.{method}"
        draft = Call(
            on=on,
            path=path,
            arguments=self.translator.arguments(step, roots),
            risk=Risk.DESTROY,
            timeout=timeout,
        )
        risk = self.place.executor.risk(Pinned(call=draft))
        return Call(on=on, path=path, arguments=draft.arguments, risk=risk, timeout=timeout)

    def answer(self, step: Step, call: Call, outcome: Done | None, items: list[Any] | None = None) -> None:
        """Keeps an answer under its ``as``. ``items``: the answers of an ``each``, which are kept as a list."""
        if outcome is not None:
            kind = self._type(call)
            for resource in outcome.resources:
                self.receivers[resource.id] = (resource, kind)
        if step.as_ is not None:
            self.roots[step.as_] = items if items is not None else (outcome.answer if outcome else None)

    def observes(self, step: Step) -> bool:
        """Whether its path alone tells that it only observes; of ``item.restart`` it does not."""
        known = self.place.executor.check(StepToCheck(path=step.call, arguments={}, dialect=self.dialect))
        return known.risk is Risk.OBSERVE

    def _type(self, call: Call) -> str:
        checked = self.place.executor.check(StepToCheck(path=call.path, arguments={}, dialect=self.dialect))
        kind = checked.answer or ""
        return kind.removeprefix("list[").removesuffix("]")

    async def built(self, translation: Translation) -> Any:
        """The operation's answer, of all that was recorded; of much in a thread, so that nobody else has to wait for it.

        Raises ExpressionError.
        """
        # Of what is counted or cut out of lines nobody could tell any more that it is a part of a key.
        roots = {name: without_keys(value) for name, value in self.roots.items()}
        if any(_large(value) for value in roots.values()):
            return await asyncio.to_thread(self.translator.answer, translation, roots)
        return self.translator.answer(translation, roots)

    async def observe(self, call: Call) -> Outcome:
        """Runs a call that only observes; it is neither pinned nor journaled."""
        if call.risk is not Risk.OBSERVE:
            raise failed(Reason.EXECUTOR, f"{call.path} does more than observe")
        # The executor bounds its own read; this is for one that does not keep its word.
        return await bounded(call.path, self.place.executor.run(call), call.timeout + 5.0)

    async def stream(self, call: Call) -> Done:
        if call.risk is not Risk.OBSERVE:
            raise failed(Reason.EXECUTOR, f"{call.path} does more than observe")
        return await bounded(call.path, self._lines(call), call.timeout + 5.0)

    async def _lines(self, call: Call) -> Done:
        lines: list[str] = []
        async for line in self.place.executor.stream(call):
            lines.append(line.text)
            if len(lines) >= STREAM_LINES:
                break
        return Done(answer=lines)


def _large(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) > LARGE_LIST or any(_large(one) for one in value if isinstance(one, str))
    return isinstance(value, str) and len(value) > LARGE_TEXT


def accepted(step: Step, outcome: Rejected) -> bool:
    return any(error in step.accept for error in outcome.errors)


def retried(step: Step, outcome: Rejected) -> bool:
    return any(error in step.retry for error in outcome.errors)


def done_or_ended(call: Call, outcome: Outcome) -> Done:
    """The answer of an outcome, or EndedError: a rejection fails with the engine's own reason."""
    if isinstance(outcome, Done):
        return outcome
    if isinstance(outcome, Rejected):
        raise failed(Reason(outcome.reason), f"{call.path}: {outcome.message}")
    if call.risk is Risk.OBSERVE:
        raise failed(Reason.UNREACHABLE, f"{call.path}: {outcome.message}")
    raise in_doubt(f"{call.path}: {outcome.message}; nobody can tell whether it happened")

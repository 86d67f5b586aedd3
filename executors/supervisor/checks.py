"""A translation's step judged without a supervisord: is there such a call, does it take these arguments, what may it harm?

It must not talk to anything; what it knows is the installed SDK's own signatures and the table in ``calls``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from uici.executor import Checked, CheckProblem, StepToCheck
from uici.model import Risk
from uici_executors.supervisor import calls
from uici_executors.supervisor.faults import REJECTIONS, STARTED_AND_ENDED


def check(step: StepToCheck) -> Checked:
    """Problems, static risk and the answer's form of one step."""
    wanted = calls.arguments(step.path)
    if wanted is None:
        near = difflib.get_close_matches(step.path, calls.paths(), 1)
        return Checked(
            problems=(
                CheckProblem(
                    code="unknown_call",
                    message=f"supervisor has no call {step.path!r}",
                    hint=f"did you mean {near[0]!r}?" if near else "see http://supervisord.org/api.html",
                ),
            )
        )
    problems = [*_argument_problems(step, wanted), *_error_problems(step)]
    if step.stream and step.path not in calls.STREAMS:
        hint = f"these are streams: {', '.join(sorted(calls.STREAMS))}"
        problems.append(CheckProblem(code="not_a_stream", message=f"{step.path} gives no lines", hint=hint))
    known = {name: schema["const"] for name, schema in step.arguments.items() if "const" in schema}
    schema = calls.ANSWERS.get(step.path)
    return Checked(problems=tuple(problems), risk=_static_risk(step, known), answer_schema=schema)


def _argument_problems(step: StepToCheck, wanted: Sequence[calls.Argument]) -> list[CheckProblem]:
    problems = []
    names = [one.name for one in wanted]
    for name in step.arguments:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(names) or 'none'}"
            message = f"{step.path} takes no argument {name!r}"
            problems.append(CheckProblem(code="unknown_argument", message=message, hint=hint, argument=name))
    for one in wanted:
        if one.name not in step.arguments:
            if one.required:
                message = f"{step.path} needs the argument {one.name!r}"
                hint = f"add {one.name} ({one.type}) under `with`"
                problems.append(CheckProblem(code="missing_argument", message=message, hint=hint, argument=one.name))
        elif why := calls.misfit(step.arguments[one.name], one.type):
            message = f"{step.path}: argument {one.name!r}: {why}"
            hint = f"give a {one.type}"
            problems.append(CheckProblem(code="wrong_argument", message=message, hint=hint, argument=one.name))
    return problems


def _error_problems(step: StepToCheck) -> list[CheckProblem]:
    known = [*REJECTIONS, "FAILED", "NOT_LOCAL"]
    problems = []
    for name in (*step.accept, *step.retry):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            if name in STARTED_AND_ENDED:
                hint = "a start that ended at once is answered with false; `verify` tells whether it runs"
            problems.append(
                CheckProblem(code="unknown_error", message=f"supervisor rejects nothing with {name!r}", hint=hint)
            )
    return problems


def _static_risk(step: StepToCheck, known: Mapping[str, Any]) -> Risk:
    signal = step.arguments.get("signal", {})
    if step.path.startswith("supervisor.signal") and "enum" in signal:
        return max(
            (calls.risk_of(step.path, {**known, "signal": one}) for one in signal["enum"]), key=lambda one: one.rank
        )
    return calls.risk_of(step.path, known)

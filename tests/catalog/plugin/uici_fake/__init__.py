"""A plugin as a third party would write it: an executor whose SDK has five calls, and a catalog to include."""

from __future__ import annotations

from typing import Any

from uici.executor import Checked, CheckProblem, StepToCheck
from uici.model import Risk

THING = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "state": {"enum": ["up", "down"]}, "note": {"type": ["string", "null"]}},
}
CALLS: dict[str, tuple[set[str], Risk, str | None, dict[str, Any] | None]] = {
    "things.get": ({"id"}, Risk.OBSERVE, "Thing", THING),
    "things.list": (set(), Risk.OBSERVE, "list[Thing]", {"type": "array", "items": THING}),
    "things.count": (set(), Risk.OBSERVE, None, {"type": "integer"}),
    "Thing.stop": ({"after"}, Risk.CHANGE, None, None),
    "Thing.scale": ({"to"}, Risk.CHANGE, None, None),
}


class FakeExecutor:
    """``seen`` are the steps that were checked."""

    settings = {
        "type": "object",
        "additionalProperties": False,
        "required": ["url"],
        "properties": {
            "url": {"type": "string"},
            "key": {"type": "string", "writeOnly": True},
            "port": {"type": "integer"},
        },
    }
    dialects = ("fake", "faker")
    seen: list[StepToCheck] = []
    here = False

    def detect(self) -> dict[str, Any] | None:
        return {} if self.here else None

    def check(self, step: StepToCheck) -> Checked:
        self.seen.append(step)
        if step.path not in CALLS:
            return Checked(problems=(CheckProblem(code="unknown_call", message=f"there is no {step.path}"),))
        arguments, risk, answer, schema = CALLS[step.path]
        problems = tuple(
            CheckProblem(code="unknown_argument", message=f"{name}?", argument=name)
            for name in step.arguments
            if name not in arguments
        )
        if step.path == "Thing.scale" and step.arguments.get("to", {}).get("minimum", 0) == 0:
            risk = Risk.DESTROY
        return Checked(problems=problems, risk=risk, answer=answer, answer_schema=schema)

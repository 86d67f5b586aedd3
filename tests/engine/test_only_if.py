"""What must be seen right before a command changes anything: asked under its lock, by the look that tells how it was before."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_outcomes import RESTART, comes_out
from uici.executor import Outcome
from uici.model import Call, OnlyIf

FAILED = OnlyIf(operation="service_status", parameters={"service": "web"}, expect='answer.state == "failed"')

#: As ``test_outcomes.OUTCOMES``.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str | None, str | None], list[str]]] = {
    "the trouble that it is for is there": (
        {"operation": "restart_service", "service": "web", "only_if": FAILED},
        {"services": {"web": {"state": "failed"}}},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "the trouble that it is for has gone": (
        {"operation": "restart_service", "service": "web", "only_if": FAILED},
        {},
        ("refused", "nothing_to_do", None),
        [],
    ),
    "the trouble has gone, and nothing tells how it is before": (
        {"operation": "restart_blindly", "service": "web", "only_if": FAILED},
        {},
        ("refused", "nothing_to_do", None),
        [],
    ),
    "the trouble of something else that it is for": (
        {
            "operation": "restart_service",
            "service": "web",
            "only_if": dataclasses.replace(FAILED, parameters={"service": "db"}),
        },
        {"services": {"web": {}, "db": {"state": "failed"}}},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "the trouble cannot be seen": (
        {"operation": "restart_service", "service": "web", "only_if": FAILED},
        {"script": [{"call": "services.get", "then": "rejected"}]},
        ("refused", "conflict", None),
        [],
    ),
    "the trouble of something else cannot be seen": (
        {"operation": "restart_blindly", "service": "web", "only_if": FAILED},
        {"script": [{"call": "services.get", "then": "rejected"}]},
        ("refused", "conflict", None),
        [],
    ),
    "whether there is trouble cannot be decided": (
        {
            "operation": "restart_service",
            "service": "web",
            "only_if": dataclasses.replace(FAILED, expect="answer.nope == 1"),
        },
        {},
        ("refused", "schema", None),
        [],
    ),
    "a value is no template": (
        {
            "operation": "restart_service",
            "service": "web",
            "only_if": dataclasses.replace(FAILED, parameters={"service": "${alert.name}"}),
        },
        {},
        ("refused", "unknown_target", None),
        [],
    ),
    "what the trouble is may depend on what else is known": (
        {
            "operation": "restart_service",
            "service": "web",
            "only_if": dataclasses.replace(FAILED, expect="answer.state == wanted", roots={"wanted": "running"}),
        },
        {},
        ("done", None, "recovered"),
        [RESTART],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_must_be_seen(name: str, folder: Path) -> None:
    await comes_out(folder, *CASES[name])


@pytest.mark.parametrize(("about", "looks"), [("web", 2), ("db", 3)])
async def test_the_same_question_is_asked_once(
    about: str, looks: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it was before and whether the trouble is there: one look tells both, right before the change."""
    failed = {"state": "failed"}
    write_world(folder / "world.json", services={"web": failed, "db": failed})
    async with rehearsing(folder) as rehearsal:
        opened = await rehearsal.infrastructure._core.environments.get("stage")
        run, paths = opened.executor.run, []

        async def watched(call: Call) -> Outcome:
            paths.append(call.path)
            return await run(call)

        monkeypatch.setattr(opened.executor, "run", watched)
        only_if = dataclasses.replace(FAILED, parameters={"service": about})
        result = await rehearsal.run("restart_service", service="web", only_if=only_if)
        seen = [(one.kind, one.verdict) for one in result.evidence if one.kind in ("before", "only_if")]
        assert seen == [("before", "done"), ("only_if", "holds")], result.message
        assert paths.index("Service.restart") == looks
        [entry] = await rehearsal.entries("result")
        assert entry.data["seen"] is True

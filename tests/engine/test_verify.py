"""What must not change while a verification holds, with a clock that runs by itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from uici.engine import verify as verifying
from uici.model import Verification, Verify

BY_SECOND: dict[str, tuple[list[dict[str, Any]], Verification]] = {
    "nothing changes": ([{"up": True, "restarts": 2}], Verification.RECOVERED),
    "it restarts once and holds then": (
        [{"up": True, "restarts": 0}, {"up": True, "restarts": 0}, {"up": True, "restarts": 1}],
        Verification.RECOVERED,
    ),
    "it restarts again and again": (
        [{"up": True, "restarts": number // 2} for number in range(60)],
        Verification.NOT_RECOVERED,
    ),
}


@pytest.mark.parametrize("name", BY_SECOND)
async def test_what_keeps_changing_is_not_proven(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, wanted = BY_SECOND[name]
    now = 0.0

    async def ask(*_: Any, **__: Any) -> dict[str, Any]:
        return answers[min(int(now), len(answers) - 1)]

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    monkeypatch.setattr(verifying, "ask", ask)
    core: Any = SimpleNamespace(clock=lambda: now, sleep=sleep)
    execution: Any = SimpleNamespace(note=lambda *_: None, cancelled=asyncio.Event(), place=None, target=None)
    definition = Verify(
        operation="service_status",
        parameters={},
        expect="answer.up",
        fail=None,
        within=20.0,
        every=1.0,
        stable_for=4.0,
        steady="${answer.restarts}",
    )
    assert await verifying.verify(core, execution, definition, {}, []) is wanted
    assert now < 40, "it ends"

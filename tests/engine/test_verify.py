"""What must not change while a verification holds and how long it holds, with a clock that runs by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from uici.engine import verify as verifying
from uici.model import Verification, Verify

STABLE_FOR = 4.0

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

#: Seconds that each answer takes to come (the last for all that follow), and the second in which it is proven.
TOOK: dict[str, tuple[list[float], float]] = {
    "all alike": ([0.5], 4.5),
    "the last ones are faster": ([0.5, 0.5, 0.5, 0.125], 4.5),
    "slower than the time it has to hold": ([5.0], 10.0),
}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize("name", BY_SECOND)
async def test_what_keeps_changing_is_not_proven(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, wanted = BY_SECOND[name]
    clock = Clock()
    assert await _verified(clock, lambda: answers[min(int(clock.now), len(answers) - 1)], monkeypatch) is wanted
    assert clock.now < 40, "it ends"


@pytest.mark.parametrize("name", TOOK)
async def test_it_holds_from_the_first_answer_to_the_last(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    took, wanted = TOOK[name]
    clock, asked = Clock(), 0

    def answer() -> dict[str, Any]:
        nonlocal asked
        clock.now += took[min(asked, len(took) - 1)]
        asked += 1
        return {"up": True, "restarts": 0}

    assert await _verified(clock, answer, monkeypatch) is Verification.RECOVERED
    assert clock.now == wanted
    assert clock.now - took[0] >= STABLE_FOR


async def _verified(
    clock: Clock, answer: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Verification:
    async def ask(*_: Any, **__: Any) -> dict[str, Any]:
        return answer()

    monkeypatch.setattr(verifying, "ask", ask)
    core: Any = SimpleNamespace(clock=lambda: clock.now, sleep=clock.sleep)
    execution: Any = SimpleNamespace(note=lambda *_: None, cancelled=asyncio.Event(), place=None, target=None)
    definition = Verify(
        operation="service_status",
        parameters={},
        expect="answer.up",
        fail=None,
        within=20.0,
        every=1.0,
        stable_for=STABLE_FOR,
        steady="${answer.restarts}",
    )
    return await verifying.verify(core, execution, definition, {}, [])

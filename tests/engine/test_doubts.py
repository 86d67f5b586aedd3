"""A call whose outcome nobody told: what is still under way, and what somebody else does until that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import Rehearsal, rehearsing, write_world
from tests.engine.test_execute import short
from uici.executor import Outcome, Unknown
from uici.model import Call


def after(rehearsal: Rehearsal, seconds: float, what: Any) -> None:
    """Runs ``what`` once the clock has come so far."""
    at, sleep, done = rehearsal.time.now + seconds, rehearsal.time.sleep, False

    async def sleeping(for_: float) -> None:
        nonlocal done
        await sleep(for_)
        if rehearsal.time.now >= at and not done:
            done = True
            await what()

    rehearsal.infrastructure._core.sleep = sleeping


@pytest.mark.parametrize("operation", ["restart_service", "restart_once"])
async def test_what_is_still_under_way_is_not_said_not_to_have_happened(
    operation: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway gives up while the engine still works on it; done again, it would be done twice."""
    run, sent = RehearsalExecutor.run, []

    async with rehearsing(folder) as rehearsal:

        async def given_up(self: RehearsalExecutor, call: Call) -> Outcome:
            if call.path != "Service.restart" or sent:
                return await run(self, call)
            sent.append(call)

            async def later() -> None:
                await run(self, call)

            after(rehearsal, 12, later)
            return Unknown(message="504 gateway timeout")

        monkeypatch.setattr(RehearsalExecutor, "run", given_up)
        result = await rehearsal.run(operation, service="web")
        assert short(result)[:2] == ("done", None), result.message
        assert rehearsal.effects == ["Service.restart web"]


async def test_what_did_not_happen_is_only_known_after_its_deadline(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_before"}])
    async with rehearsing(folder) as rehearsal:
        await rehearsal.run("restart_once", service="web")
        (intent,) = await rehearsal.entries("intent")
        (settled,) = await rehearsal.entries("settled")
        assert settled.data["verdict"] == "not_happened"
        assert settled.at >= intent.data["deadline"]

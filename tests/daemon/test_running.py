"""Requests that run: what is kept of them while they do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from uici.daemon.running import Running
from uici.engine import execution as bounds
from uici.model import Evidence, Origin, Request


async def test_what_is_told_of_a_request_that_runs_long_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EVIDENCE", 8)
    over = asyncio.Event()

    class Engine:
        async def execute(self, *_: Any, **__: Any) -> Any:
            await over.wait()

    running = Running(lambda: Engine())  # type: ignore[arg-type, return-value]  # a walk that only waits
    one = running.submit(Request(operation="wait"), Origin("human", "anna"))
    for number in range(100):
        running.progress(one.id, Evidence(kind="sample", name=str(number), verdict="no", at="", data={}))
    told = [seen["name"] for seen in one.to_json()["evidence"]]
    assert len(told) <= 9
    assert (told[0], told[-1]) == ("0", "99")
    assert "left_out" in told
    over.set()
    await one.task

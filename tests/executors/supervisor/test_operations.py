"""The starter's operations on a real supervisord, through the engine: what is asked, what is called, what comes of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

import uici
from tests.engines.supervisord import STAYS, Supervisord, supervisord
from uici.model import Origin, Request, Result

pytestmark = pytest.mark.engine("supervisord")

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/supervisor/operations.yml").read_text())


def catalog(folder: Path, url: str, unanswered: int) -> Path:
    """One that includes the starter, with one environment; nobody answers at the port ``unanswered``."""
    for name in ("operations", "command_translations", "runbooks", "policies"):
        (folder / f"{name}.yml").write_text("version: 1\ninclude: [starter]\n")
    probe = f"http://127.0.0.1:{unanswered}/"
    place = {
        "executor": "supervisor",
        "settings": {"url": url},
        "autonomy": "change",
        "inventory": {
            "services": {"ill": {"probe": probe, "depends_on": ["db"]}, "web": {"labels": {"role": "front"}}}
        },
    }
    environments = {"version": 1, "default": "local", "environments": {"local": place}}
    (folder / "environments.yml").write_text(json.dumps(environments))
    (folder / "platform.yml").write_text(
        json.dumps({"version": 1, "journal": {"url": f"sqlite:///{folder}/journal.db"}})
    )
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    programs = {
        "web": STAYS,
        "db": STAYS,
        "solo": "/bin/sh -c 'echo error: connection refused by db; exec sleep 600'",
        "ill": STAYS,
        "idle": {"command": STAYS, "autostart": "false"},
        "dies": {"command": "/bin/false", "startsecs": 10, "startretries": 0, "autostart": "false"},
        "once": {"command": "/bin/sh -c 'exit 2'", "startsecs": 0, "autorestart": "false", "exitcodes": "0,2"},
    }
    with socket.socket() as held, supervisord(programs, groups={"shop": "web,db"}) as one:
        held.bind(("127.0.0.1", 0))  # and never listens: a port that nobody held might soon be somebody's
        said(one, "solo")
        folder = catalog(tmp_path_factory.mktemp("catalog"), one.url, held.getsockname()[1])
        async with uici.connect(folder) as opened:
            yield one, opened


def said(one: Supervisord, name: str) -> None:
    """Waits until a program has written something: it runs before it has."""
    deadline = time.monotonic() + 20
    while not one.call("supervisor.readProcessStdoutLog", name, 0, 0):
        assert time.monotonic() < deadline, f"{name} has written nothing"
        time.sleep(0.02)


def given(one: Supervisord, states: dict[str, str]) -> None:
    """Puts programs into the states that a case begins with, past the executor."""
    for name, state in states.items():
        runs = one.info(name)["statename"] == "RUNNING"
        if runs != (state == "running"):
            one.call("supervisor.stopProcess" if runs else "supervisor.startProcess", name)
        one.wait(name, *(["RUNNING"] if state == "running" else ["STOPPED", "EXITED"]))


def changes(result: Result) -> list[dict[str, Any]]:
    """The changing calls that were made, with their arguments."""
    return [
        {seen.name: dict(seen.data["arguments"])}
        for seen in result.evidence
        # One that `unless` left out has no arguments.
        if seen.kind == "call" and seen.data and seen.data.get("risk") != "observe" and "arguments" in seen.data
    ]


# One supervisord for all; a case that needs a program in a certain state says so (`given`).
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.xdist_group("supervisor-operations")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_an_operation_of_the_starter(case: dict[str, Any], infrastructure: Any) -> None:
    one, opened = infrastructure
    given(one, case.get("given", {}))
    request = Request(
        operation=case["operation"],
        parameters=case["parameters"],
        environment="local",
        confirm=case.get("confirm", False),
    )
    result = await opened.execute(request, Origin("human", "anna"))
    assert (result.status.value, result.reason and result.reason.value) == (case["status"], case.get("reason")), (
        result.message
    )
    assert (result.verification and result.verification.value) == case.get("verification"), result.message
    assert changes(result) == case.get("calls", [])
    for name, value in case.get("answer", {}).items():
        assert result.answer[name] == value

"""Ways of asking UICI to stop itself through the supervisord above it: none passes, and what is nobody's may be stopped."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.process import answers, free_port
from tests.engines.supervisord import STAYS, Supervisord, supervisord, write_configuration
from tests.executors.supervisor.opening import call, opened
from uici.engine.guard import Surroundings, guard
from uici.executor import Facts, Identity, Target
from uici.model import Environment, Operation, Origin, Policies, Request
from uici_executors.supervisor.identity import identity
from uici_executors.supervisor.place import Snapshot

pytestmark = pytest.mark.engine("supervisord")

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/supervisor/self.yml").read_text())
SERVICE = Path(__file__).parents[3] / "uici/cli/demo_service.py"
OPERATION = Operation.parse("anything", {"summary": "Anything.", "risk": "destroy", "parameters": {"type": "object"}})
PERSON = Origin("human", "anna")


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Supervisord, int]]:
    store = free_port()
    programs = {
        "keeper": STAYS,
        "wrapper": "/bin/sh -c '/bin/sleep 600 & wait'",
        "store": f"{sys.executable} {SERVICE} store {store}",
        "named": STAYS,
        "mate": STAYS,
        "uici2": STAYS,
        "web": STAYS,
    }
    with supervisord(programs, groups={"crew": "mate,uici2"}, port=free_port()) as one:
        (one.folder / "link.sock").symlink_to(one.folder / "s.sock")
        # It is found by its listening socket, which Python opens a moment after its start.
        deadline = time.monotonic() + 20
        while not answers(f"http://127.0.0.1:{store}/") and time.monotonic() < deadline:
            time.sleep(0.02)
        yield one, store


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def identity_of_all(executor: Any, one: Supervisord, store: int) -> Identity:
    """As the engine does: the union of what every daemon that shares the journal says."""
    shell = one.info("wrapper")["pid"]
    daemons = [
        Facts(
            pids=(one.info("keeper")["pid"], one.process.pid), needs=(f"127.0.0.1:{store}",), names=({"name": "named"},)
        ),
        Facts(pids=(child_of(shell), shell, one.process.pid)),
        Facts(pids=(one.info("crew:uici2")["pid"], one.process.pid)),
    ]
    found = [await executor.identity(facts) for facts in daemons]
    assert [each.unknown for each in found] == [None, None, None]
    return Identity(resources=tuple(resource for each in found for resource in each.resources), shows=found[0].shows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_no_way_of_stopping_itself_passes(case: dict[str, Any], place: tuple[Supervisord, int]) -> None:
    one, store = place
    urls = {"link": f"unix://{one.folder}/link.sock", "http": one.http, None: one.url}
    async with opened(one.url) as first, opened(urls[case.get("through")] or "") as executor:
        # Who UICI is was told by the first environment; the call comes through the other.
        around = Surroundings(
            environment=Environment.parse("other", {"executor": "supervisor"}),
            names=("local", "other"),
            identity=await identity_of_all(first, one, store),
            policies=Policies(),
        )
        pinned = await executor.resolve(call(case["path"], **case["arguments"]))
        request = Request(operation="anything", confirm=True)
        risk = executor.risk(pinned)
        refusal = guard(pinned, risk, request=request, origin=PERSON, operation=OPERATION, target=None, around=around)
        assert (refusal[0].value if refusal else None) == case.get("reason", "self")


@pytest.mark.parametrize(
    "path", ["supervisor.shutdown", "supervisor.restart", "supervisor.reloadConfig", "supervisor.clearLog"]
)
async def test_a_supervisord_that_runs_nothing_of_uici_is_needed_all_the_same(
    path: str, place: tuple[Supervisord, int]
) -> None:
    one, _ = place
    async with opened(one.url) as executor:
        around = Surroundings(
            environment=Environment.parse("local", {"executor": "supervisor"}),
            names=("local",),
            identity=await executor.identity(Facts(pids=(1,))),
            policies=Policies(),
        )
        pinned = await executor.resolve(call(path))
        request = Request(operation="anything", confirm=True)
        risk = executor.risk(pinned)
        refusal = guard(pinned, risk, request=request, origin=PERSON, operation=OPERATION, target=None, around=around)
        assert refusal is not None
        assert refusal[0] == "self"


async def test_identity_says_what_shows_it(place: tuple[Supervisord, int]) -> None:
    one, store = place
    async with opened(one.url) as executor:
        found = await identity_of_all(executor, one, store)
        assert "keeper:keeper: UICI runs in it" in found.shows
        assert f"store:store: UICI needs 127.0.0.1:{store}" in found.shows
        assert {each.id for each in found.resources} == {
            "keeper:keeper",
            "store:store",
            "named:named",
            "wrapper:wrapper",
            "crew:uici2",
            "supervisord",
        }
        nobody = await executor.identity(Facts(pids=(1,)))
        assert [each.kind for each in nobody.resources] == ["supervisord"]
        assert "none of its 7 processes" in nobody.shows


async def test_the_variables_of_the_supervisord_above_tell_too(place: tuple[Supervisord, int]) -> None:
    one, _ = place
    variables = {"SUPERVISOR_PROCESS_NAME": "web", "SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_SERVER_URL": one.url}
    async with opened(one.url) as executor:
        # Its process has long forked twice, so no pid tells.
        found = await executor.identity(Facts(pids=(1,), environment_variables=variables))
        assert "web:web" in {each.id for each in found.resources}
        elsewhere = {**variables, "SUPERVISOR_SERVER_URL": "unix:///run/another.sock"}
        found = await executor.identity(Facts(pids=(1,), environment_variables=elsewhere))
        assert "web:web" not in {each.id for each in found.resources}


def elsewhere(address: str) -> Snapshot:
    return Snapshot(
        engine="e",
        identification="supervisor",
        pid=7,
        local=False,
        address=address,
        processes=({"id": "web:web", "name": "web", "group": "web", "pid": 41},),
    )


@pytest.mark.parametrize(
    ("address", "facts", "said", "known"),
    [
        ("10.0.0.9:9001", Facts(pids=(41,)), None, True),  # another machine's pid 41 is not this one's
        ("10.0.0.9:9001", Facts(containers=("c" * 64,)), None, False),
        ("/run/supervisor.sock", Facts(pids=(41,)), None, False),  # this machine, another pid namespace
        ("/run/supervisor.sock", Facts(pids=(41,)), "elsewhere", True),
        ("/run/supervisor.sock", Facts(pids=(41,)), "web", True),
        ("/run/supervisor.sock", Facts(environment_variables={"SUPERVISOR_PROCESS_NAME": "web"}), None, True),
    ],
)
def test_what_cannot_be_told_is_said_to_be_so(address: str, facts: Facts, said: str | None, known: bool) -> None:
    found = identity(elsewhere(address), facts, "local", said)
    assert (found.unknown is None) == known
    own = {each.id for each in found.resources}
    assert ("web:web" in own) == (said == "web" or bool(facts.environment_variables))
    assert "supervisord" in own


@pytest.fixture
def in_the_background() -> Iterator[tuple[Path, int]]:
    """A supervisord as it starts by itself: it listens, then forks and ends, so that its child goes on."""
    folder, port = Path(tempfile.mkdtemp(prefix="uici-supervisord-background-")), free_port()
    configuration = write_configuration(folder, {"web": STAYS}, port=port)
    configuration.write_text(configuration.read_text().replace("nodaemon=true\n", ""))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    subprocess.run(command, cwd=folder, check=True, timeout=30, stdout=subprocess.DEVNULL)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        deadline = time.monotonic() + 20
        while not (folder / "supervisord.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        pid = os.pidfd_open(int((folder / "supervisord.pid").read_text()))
        stack.callback(os.close, pid)
        stack.callback(select.select, [pid], [], [], 15)
        stack.callback(signal.pidfd_send_signal, pid, signal.SIGTERM)
        yield folder, port


async def test_one_in_the_background_is_of_this_machine_too(in_the_background: tuple[Path, int]) -> None:
    folder, port = in_the_background
    async with opened(f"unix://{folder}/s.sock") as executor, opened(f"http://127.0.0.1:{port}") as other:
        found = await executor.identity(Facts(pids=(os.getpid(),)))
        assert found.unknown is None
        assert [one.kind for one in found.resources] == ["supervisord"]
        assert await other.engine_id() == await executor.engine_id()
        process = (await executor.locate(Target(kind="service", name="web", namespace=None)))[0]
        pid = (await executor.run(call("supervisor.getProcessInfo", name=process.id))).answer["pid"]
        assert "web:web" in [one.id for one in (await executor.identity(Facts(pids=(pid,)))).resources]

"""The tests' own dockerd: shared by a run, private where asked for, and gone with its last user, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine("docker")

ROOT = Path(__file__).parents[3]
USER = """
import sys, time
from tests.engines.docker import docker
with docker(private=sys.argv[1] == "private") as engine:
    engine.run(engine.name("left"), restart_policy={"Name": "always"})
    engine.network(engine.name("left"))
    print(engine.folder, engine.pid, flush=True)
    sys.stdin.read()
"""


def user(how: str, run: str) -> tuple[subprocess.Popen[str], Path, int]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTEST_XDIST_TESTRUNUID": run},
    )  # fmt: skip
    assert process.stdout is not None
    folder, pid = process.stdout.readline().split()
    return process, Path(folder), int(pid)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def left(folder: Path) -> list[str]:
    """Files, processes, control groups and bridges of an engine."""
    found = [str(one) for one in folder.parent.glob(f"{folder.name}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    found += [str(one) for one in Path("/sys/fs/cgroup").glob(f"*/{folder.name}")]
    return found


def bridges() -> set[str]:
    return {one.name for one in Path("/sys/class/net").glob("br-*")}


@pytest.mark.skipif("UICI_TEST_DOCKER_HOST" in os.environ, reason="another engine is used")
@pytest.mark.parametrize("how", ["private", "shared"])
def test_nothing_is_left_after_a_kill(how: str, tmp_path: Path) -> None:
    process, folder, pid = user(how, str(tmp_path))
    own = {f"br-{network.name[:12]}" for network in (folder / "networks").iterdir()}
    assert own <= bridges()
    process.kill()
    process.communicate()
    until(lambda: not left(folder))
    assert not Path(f"/proc/{pid}").exists()
    assert not own & bridges()


@pytest.mark.skipif("UICI_TEST_DOCKER_HOST" in os.environ, reason="another engine is used")
def test_two_users_of_one_run_share_an_engine_until_the_last_ends(tmp_path: Path) -> None:
    first, folder, pid = user("shared", str(tmp_path))
    second, same, _ = user("shared", str(tmp_path))
    assert same == folder
    first.send_signal(signal.SIGKILL)
    first.communicate()
    os.kill(pid, 0)
    second.communicate("", timeout=30)
    until(lambda: not left(folder))

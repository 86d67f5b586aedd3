"""The tests' own dockerd: shared by a run, private where asked for, and gone with its last user, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.remains import wait_gone

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
    wait_gone(folder)
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
    wait_gone(folder)

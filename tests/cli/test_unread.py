"""Whoever reads what the command line says may go at any moment: what was asked for goes on, and its exit status stays true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Uici
from tests.daemon.test_serve import process
from tests.engines.supervisord import Supervisord

pytestmark = pytest.mark.engine("supervisord")

RESTART = ("run", "restart_service", "service=web")


def _unread(*words: str, stderr: bool = True) -> subprocess.CompletedProcess[str]:
    """As a process into pipes that nobody reads."""
    theirs, ours = os.pipe()
    os.close(theirs)
    try:
        return subprocess.run(
            [sys.executable, "-m", "uici", *words],
            stdin=subprocess.DEVNULL,
            stdout=ours,
            stderr=ours if stderr else subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)


def _restarted(catalog: Path, supervisor: Supervisord) -> None:
    before = supervisor.info("web")["pid"]
    assert _unread(*RESTART, "--config", str(catalog)).returncode == 0
    after = supervisor.info("web")
    assert (after["statename"], after["pid"] != before) == ("RUNNING", True)


def test_a_request_is_not_ended_by_its_reader(uici: Uici, catalog: Path, supervisor: Supervisord) -> None:
    _restarted(catalog, supervisor)
    with process(catalog) as daemon:
        daemon.line("ready")
        _restarted(catalog, supervisor)
        assert daemon.end() == 0


def test_the_exit_status_is_the_requests(catalog: Path) -> None:
    for words, status in ((("run", "restart_service", "service=gone"), 2), (("run", "list_services", "--json"), 0)):
        said = _unread(*words, "--config", str(catalog), stderr=False)
        assert (said.returncode, "Traceback" in said.stderr, "Exception" in said.stderr) == (status, False, False)


@pytest.mark.parametrize(
    "words", [("operations",), ("operations", "--json"), ("check",), ("--help",), ("run", "--help")], ids=" ".join
)
def test_what_is_only_shown_is_no_failure_when_nobody_reads(catalog: Path, words: tuple[str, ...]) -> None:
    more = () if "--help" in words else ("--config", str(catalog))
    said = _unread(*words, *more, stderr=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    ("to", "status", "told"),
    [(">/dev/full", 1, "cannot be written: No space left"), (">&-", 0, ""), (">&- 2>&-", 0, "")],
)
def test_what_cannot_be_written_is_told_in_one_line(catalog: Path, to: str, status: int, told: str) -> None:
    said = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m uici operations --config "$1" {to}', sys.executable, str(catalog)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == status
    assert told in said.stderr
    assert said.stderr.count("\n") == bool(told)

"""Signals and a daemon that goes away while a request runs: nothing is left running, or unsaid, that was not meant to be."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Uici
from tests.daemon.test_serve import process
from uici.cli.client import Client
from uici.cli.remote import Remote
from uici.model import Request

pytestmark = pytest.mark.engine("supervisord")

RESTART = [sys.executable, "-m", "uici", "run", "restart_service", "service=web"]


@contextlib.contextmanager
def _verifying(catalog: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A request of the command line that has been carried out, and whose verification has begun."""
    words = [*before, *RESTART, "--config", str(catalog)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stderr is not None
        for line in one.stderr:
            if line.split()[:1] == ["sample"]:
                break
        try:
            yield one
        finally:
            if one.poll() is None:
                one.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_ends_the_request_in_order(catalog: Path, number: signal.Signals) -> None:
    with _verifying(catalog) as one:
        one.send_signal(number)
        said, _ = one.communicate(timeout=60)
        assert (one.returncode, said.partition(":")[0]) == (1, "failed (cancelled)")


def test_a_terminal_that_was_closed_is_nothing_to_what_ignores_it(catalog: Path) -> None:
    with _verifying(catalog, "nohup") as one:
        one.send_signal(signal.SIGHUP)
        said, _ = one.communicate(timeout=60)
        assert (one.returncode, said.partition(":")[0]) == (0, "done")


def test_a_daemon_that_goes_away_leaves_a_doubt_with_a_name(catalog: Path) -> None:
    with process(catalog) as daemon:
        daemon.line("ready")
        with _verifying(catalog) as one:
            daemon.popen.kill()
            _, said = one.communicate(timeout=60)
            assert one.returncode == 6
    with process(catalog) as daemon:
        client = Client(Path(daemon.line("listening")["socket"]))
        daemon.line("ready")
        where = re.search(r"it has taken the request (\w+), .* GET /(api/v1/requests/\1) tells", said)
        assert where is not None, said
        assert client.get(where[2])["operation"] == "restart_service"
        assert daemon.end() == 0


class _Interrupted(Client):
    """Ctrl-C comes just when the request is sent."""

    def _sent(self, method: str, path: str, *more: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        if (method, path) == ("POST", "/api/v1/requests"):
            os.kill(os.getpid(), signal.SIGINT)
        return super()._sent(method, path, *more)


def test_an_interrupt_before_the_daemons_answer_cancels_what_it_took(catalog: Path) -> None:
    with process(catalog) as daemon:
        client = _Interrupted(Path(daemon.line("listening")["socket"]))
        daemon.line("ready")
        asked = Request(operation="restart_service", parameters={"service": "web"}, environment=None)
        seen: list[Mapping[str, Any]] = []
        result = Remote(client).ask(asked, seen.append)
        assert (result["status"], result["reason"]) == ("failed", "cancelled")
        assert [one["kind"] for one in seen].count("cancel") == 1
        assert daemon.end() == 0


def test_what_a_daemon_will_not_even_take_is_invalid(uici: Uici, catalog: Path) -> None:
    with process(catalog) as daemon:
        daemon.line("ready")
        said = uici("run", "x" * 200, "--config", str(catalog))
        assert said.returncode == 2
        assert "operation: the name of an operation is wanted" in said.stderr
        assert daemon.end() == 0

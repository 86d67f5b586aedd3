"""The process that tells people: one for many escalations, begun anew when it is gone, and never waited for without an end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from uici.daemon.sending import Sending
from uici.journal import Escalation

ROW = Escalation(
    id="i", reason="not_offered", title="web", message="down", environment=None, incident=None, request=None, attempt=0, next_at=0.0
)  # fmt: skip


@pytest.fixture
def sending() -> Iterator[Sending]:
    made = Sending()
    yield made
    made.end()


def _children() -> list[int]:
    return [int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _refusing() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{one.getsockname()[1]}"


def test_one_process_for_many_and_another_when_it_is_gone(sending: Sending) -> None:
    nobody = _refusing()
    before = set(_children())
    assert sending([nobody], ROW) == [nobody]
    assert sending([nobody], ROW) == [nobody]
    (child,) = set(_children()) - before
    os.kill(child, signal.SIGKILL)
    with pytest.raises(OSError, match=r"has ended|Broken pipe"):
        sending([nobody], ROW)
    assert sending([nobody], ROW) == [nobody]
    sending.end()
    assert set(_children()) == before
    with pytest.raises(OSError, match="stops"):
        sending([nobody], ROW)


def test_an_address_that_never_answers_is_not_waited_for() -> None:
    sending = Sending(longest=0.5)
    before = set(_children())
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        sending([f"json://127.0.0.1:{silent.getsockname()[1]}"], ROW)
    assert set(_children()) == before
    sending.end()

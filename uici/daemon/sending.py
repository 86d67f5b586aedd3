"""Escalations are sent by apprise in a process of its own, so that telling people never costs the daemon its processor.

The process is begun with the first escalation, behind all others in priority, and ended when there was none for a while: a
daemon that tells nobody never holds apprise in memory. It must not decide who is told, nor try again: the outbox does.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from uici.journal import Escalation

#: Seconds that one escalation may take at all its addresses; apprise gives up on each after about ten.
LONGEST = 120.0
#: Seconds after the last escalation for which the process is kept.
LINGERS = 60.0
_NICE = 10
# The same search path as ours, and nothing of the folder that we happen to stand in.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from uici.daemon.sending import main; main()"


class Sending:
    """Called in one thread at a time; ``rest`` too. ``end`` may be called from any.

    ``longest``: seconds that one call may take.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._process: subprocess.Popen[bytes] | None = None
        self._used = 0.0
        self._over = False
        self._lock = threading.Lock()

    def __call__(self, addresses: Sequence[str], row: Escalation) -> list[str]:
        """Tells every address; gives those that did not take it. Raises OSError where nobody knows."""
        process = self._running()
        said = {"addresses": list(addresses), "title": row.title, "body": row.message}
        try:
            cast("IO[bytes]", process.stdin).write(json.dumps(said).encode() + b"\n")
            answer = json.loads(_line(cast("IO[bytes]", process.stdout), time.monotonic() + self._longest))
        except (OSError, ValueError):
            _ended(process)
            self._process = None
            raise
        self._used = time.monotonic()
        if "error" in answer:
            raise OSError(answer["error"])
        return list(answer["missed"])

    def rest(self) -> None:
        """Ends the process where it was not used for a while."""
        if self._process is not None and time.monotonic() - self._used > LINGERS:
            _ended(self._process)
            self._process = None

    def end(self) -> None:
        """At once: what is being sent then may have been taken or not, and is sent again by the next start."""
        with self._lock:
            self._over = True
            if self._process is not None:
                _ended(self._process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._over:
                raise OSError("the daemon stops")
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C is for the daemon, which says what becomes of this one
                )
            return self._process


def _line(stream: IO[bytes], until: float) -> bytes:
    """The next line. Raises TimeoutError, or OSError where the stream ends before one."""
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not read.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError("an address did not answer in time")
            part = stream.read(65536)
            if not part:
                raise BrokenPipeError("the process that tells people has ended")
            read += part
    return read


def _ended(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def main() -> None:
    """In the process of its own: a line in, a line out, until its input ends."""
    os.nice(_NICE)
    for line in sys.stdin.buffer:
        said: dict[str, Any]
        try:
            said = {"missed": send_by_apprise(**json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whatever a notifier raises, the outbox tries again
            # Its text may hold an address, and an address a secret.
            said = {"error": f"apprise failed with {type(error).__name__}; look at the addresses of escalate_to"}
        sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
        sys.stdout.buffer.flush()


def send_by_apprise(addresses: Sequence[str], title: str, body: str) -> list[str]:
    """Tells every address; gives those that did not take it."""
    import apprise

    missed = []
    for address in addresses:
        notifier = apprise.Apprise()
        told = notifier.add(address) and notifier.notify(title=title, body=body, notify_type=apprise.NotifyType.WARNING)
        if not told:
            missed.append(address)
    return missed

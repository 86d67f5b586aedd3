"""Starting one program for a test: private folder and port, ready when it says so, gone when the test is, however it ends.

It must not use a fixed port or a shell, nor wait longer than it says.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback that nobody holds now; where the program gives no way to say 0."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a GET gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310  loopback only
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


class NotReadyError(RuntimeError):
    """The program ended or did not become ready; the message carries the end of its log."""


@contextlib.contextmanager
def started(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    ready: str | None = None,
    seconds: float = 30,
    environ: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
    grace: float = 10,
) -> Iterator[subprocess.Popen[bytes]]:
    """The running program, once ``ready`` (a URL) answers. Killed with this process, by the kernel, if that dies first.

    Raises NotReadyError with the end of ``log``. ``grace``: seconds between ``stop`` and SIGKILL.
    """
    with log.open("ab") as output:
        # The thread that starts it must live as long as the test: the kernel's signal follows the thread.
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environ) if environ is not None else None,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        if ready is not None:
            wait_ready(process, ready, log=log, seconds=seconds)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def wait_ready(process: subprocess.Popen[bytes], url: str, *, log: Path, seconds: float = 30) -> None:
    """Returns when ``url`` answers 200; raises NotReadyError when the program ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            what = (
                f"ended with {process.returncode}"
                if process.returncode is not None
                else f"not ready in {seconds:.0f} s"
            )
            tail = log.read_text(errors="replace")[-3000:]
            raise NotReadyError(f"{Path(str(process.args[0])).name} {what} ({url}); its log ends with:\n{tail}")  # type: ignore[index]
        time.sleep(0.02)

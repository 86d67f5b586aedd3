"""A function in a copy of this process: that saves a start of Python, and the import of all that is imported here.

For a process that has just begun: the copy has only the thread that made it, and whatever another thread held stays locked in
it. So it must not be made where there are threads.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable


class Copy:
    """As much of ``subprocess.Popen`` as a check needs. ``stdout`` is a pipe; stderr is kept until the end."""

    def __init__(self, pid: int, stdout: io.FileIO, stderr: io.FileIO) -> None:
        self.stdout, self._stderr = stdout, stderr
        self.returncode: int | None = None
        self._pid = pid
        self._lock = threading.Lock()

    def communicate(self) -> tuple[bytes, bytes]:
        """Waits for its end; gives what is left to be read of both, and nothing when it is asked again."""
        if self.stdout.closed:
            return b"", b""
        with self.stdout, self._stderr:
            said = self.stdout.readall()
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
            with self._lock:  # it is this process's to be ended until here, and nobody's afterwards
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            self._stderr.seek(0)
            return said, self._stderr.readall()

    def kill(self) -> None:
        with self._lock:
            if self.returncode is None:
                os.kill(self._pid, signal.SIGKILL)


def copied(function: Callable[[str], None], argument: str) -> Copy | None:
    """``function(argument)`` in a copy, its stdout and stderr to be read; None where this system cannot do it well.

    Other systems than Linux have libraries that do not survive a copy.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return None
    stdout, said = os.pipe()
    stderr = os.memfd_create("stderr")
    pid = os.fork()
    if not pid:
        _run(function, argument, said, stderr)
    os.close(said)
    return Copy(pid, io.FileIO(stdout), io.FileIO(stderr, "r+"))


def _run(function: Callable[[str], None], argument: str, said: int, stderr: int) -> None:
    """In the copy; it ends here, without what this process does at its own end."""
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for place, number in ((nothing, 0), (said, 1), (stderr, 2)):
            os.dup2(place, number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - until the end
        function(argument)
        status = 0
    except BaseException:  # noqa: BLE001 - told on stderr, as Python tells it at the end of a process
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

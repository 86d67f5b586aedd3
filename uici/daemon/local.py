"""The socket beside the journal: the command line's door on this machine. It knows where it is and how to bind it.

Mode 0600 from its first moment, so only the daemon's own user (and root) can connect. It must not be bound by anyone but
the holder of the journal.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from uici.model import UICIError

_LONGEST = 100
_umask = threading.Lock()


def socket_of(journal: Path) -> Path:
    """``<journal>.sock``."""
    return journal.with_name(journal.name + ".sock")


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket's address (107 bytes on Linux), by way of its open folder."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def bind(path: Path) -> Iterator[socket.socket]:
    """The bound socket. A file that is there already is taken away: the journal's lock says that its holder is gone.

    Raises UICIError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _umask, reachable(path) as name:
            before = os.umask(0o177)
            try:
                path.unlink(missing_ok=True)
                made.bind(name)
            finally:
                os.umask(before)
    except OSError as error:
        made.close()
        raise UICIError(f"the local socket {path} cannot be made: {error.strerror or error}") from error
    yield made

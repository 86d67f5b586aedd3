"""A unix socket in front of dockerd's, which can hold a request back, or its answer: where a daemon is to be killed.

It must not change a byte, and it must not know UICI.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Where a request is held: before dockerd has it, or once dockerd has answered and before the client knows.
BEFORE, SENT, AFTER = "before", "sent", "after"


class Hold:
    """One request that matches is held at ``where``; ``reached`` is set then. Unless it is let pass, it is lost."""

    def __init__(self, pattern: str, where: str) -> None:
        self.pattern, self.where = re.compile(pattern), where
        self.reached = threading.Event()
        self.passes = False
        self._go = threading.Event()

    def stop_here(self) -> bool:
        """Whether it may go on after all."""
        self.reached.set()
        self._go.wait()
        return self.passes

    def let_pass(self) -> None:
        """What is held goes on as if it had only been slow."""
        self.passes = True
        self._go.set()

    def release(self) -> None:
        self._go.set()


class Proxy:
    """``url`` for ``base_url``. ``forwarded``: the request lines that dockerd got, in order, and when (``moments``, since the epoch)."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.path, self.upstream = folder / "docker.sock", upstream.removeprefix("unix://")
        self.url = f"unix://{self.path}"
        self.forwarded: list[str] = []
        self.moments: list[float] = []
        self._hold: Hold | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def changes(self) -> list[str]:
        """Of those forwarded, the ones that change something."""
        return [line for line in self.forwarded if not line.startswith(("GET ", "HEAD "))]

    @contextlib.contextmanager
    def holding(self, pattern: str, where: str) -> Iterator[Hold]:
        """Holds the first request line that the pattern finds; at the end, nothing held is ever forwarded."""
        self._hold = hold = Hold(pattern, where)
        try:
            yield hold
        finally:
            self._hold = None
            hold.release()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            try:
                server.connect(self.upstream)
            except OSError:
                return
            answers = threading.Event()  # cleared: what dockerd says is kept back
            answers.set()
            threading.Thread(target=self._answers, args=(server, client, answers), daemon=True).start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    hold, line = self._hold, data.split(b"\r\n", 1)[0].decode(errors="replace")
                    if not re.fullmatch(r"[A-Z]+ \S+ HTTP/1\.1", line):
                        server.sendall(data)
                        continue
                    matched = hold is not None and hold.pattern.search(line) is not None
                    if hold is not None and matched and hold.where == BEFORE and not hold.stop_here():
                        return
                    if hold is not None and matched and hold.where == AFTER:
                        answers.clear()
                    self.moments.append(time.time())
                    self.forwarded.append(line)
                    server.sendall(data)
                    if hold is not None and matched and hold.where == SENT:
                        hold.stop_here()
                        return
            # The client may be gone while dockerd still works: it is not told, as by a kernel that has not noticed yet.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket, answers: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not answers.is_set() and self._hold is not None:
                    self._hold.stop_here()
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """``upstream``: dockerd's own ``unix://`` address."""
    folder = Path(tempfile.mkdtemp(prefix="uici-proxy-"))
    one = Proxy(folder, upstream)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)

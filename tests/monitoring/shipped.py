"""The shipped monitoring folder, copied, with nothing changed but addresses, tokens and targets; and who listens to it.

It must not rewrite a rule, a route or an interval: what runs in the tests is what people get.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
TOKEN = "a-token-of-the-tests"
SHIPPED_WEBHOOK = "http://127.0.0.1:8080/webhooks/alertmanager"
SHIPPED_MAIL = "localhost:25"


def copy(folder: Path) -> Path:
    """The whole folder, with the token files that its README asks for."""
    shutil.copytree(MONITORING, folder)
    (folder / "prometheus" / "uici-metrics.token").write_text(TOKEN)
    (folder / "alertmanager" / "uici-alerts.token").write_text(TOKEN)
    return folder


def alertmanager_configuration(folder: Path, *, webhook: str, mail: str = SHIPPED_MAIL) -> Path:
    """Points the receivers elsewhere; raises ValueError where the shipped address is not there to be replaced."""
    path = folder / "alertmanager" / "alertmanager.yml"
    text = path.read_text()
    for shipped, ours in ((SHIPPED_WEBHOOK, webhook), (SHIPPED_MAIL, mail)):
        if text.count(shipped) != 1:
            raise ValueError(f"{path}: {shipped} is there {text.count(shipped)} times, not once")
        text = text.replace(shipped, ours)
    path.write_text(text)
    return path


def prometheus_configuration(
    folder: Path,
    *,
    alertmanagers: Sequence[str],
    services: Mapping[str, Mapping[str, str]] | None = None,
    uici: str | None = None,
    exporters: Sequence[str] = (),
) -> Path:
    """Names the targets: addresses (``host:port``); of services with their labels."""
    targets = folder / "prometheus" / "targets"
    for name, groups in {
        "alertmanager": [{"targets": [url.removeprefix("http://") for url in alertmanagers]}],
        "services": [{"targets": [at], "labels": dict(labels)} for at, labels in (services or {}).items()],
        "uici": [{"targets": [uici]}] if uici else [],
        "exporters": [{"targets": list(exporters)}] if exporters else [],
    }.items():
        (targets / f"{name}.yml").write_text(yaml.safe_dump(groups))
    return folder / "prometheus" / "prometheus.yml"


class Listener:
    """``url`` takes posts; each is put into ``posts`` as (headers, body); they are answered with 200."""

    def __init__(self) -> None:
        self.posts: queue.Queue[tuple[Mapping[str, str], Any]] = queue.Queue()
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.put((dict(self.headers), json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"up_and_well 1\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.address}"


@contextlib.contextmanager
def listener() -> Iterator[Listener]:
    one = Listener()
    with _served(one.server):
        yield one


class Mailbox(socketserver.ThreadingTCPServer):
    """As much of SMTP as a sender needs; each message is put into ``messages`` as text."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.messages: queue.Queue[str] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Mail)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 tests\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (part := self.rfile.readline()) != b".\r\n" and part:
                    text += part
                self.server.messages.put(text.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@contextlib.contextmanager
def mailbox() -> Iterator[Mailbox]:
    one = Mailbox()
    with _served(one):
        yield one


@contextlib.contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

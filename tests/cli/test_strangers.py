"""``--server`` may name something that is no UICI: every command says so, and none says that it was done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Uici

PROBLEM = "application/problem+json"
#: Status, media type and body.
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "nothing": (204, "", b""),
    "elsewhere": (301, "text/html", b""),
    "a page": (200, "text/html", b"<html>"),
    "an object": (200, "application/json", b'{"ok": true}'),
    "a list": (200, "application/json", b"[1]"),
    "busy": (503, "application/json", b'{"message": "busy"}'),
    "a list of problems": (404, PROBLEM, b"[]"),
    "problems of another form": (422, PROBLEM, b'{"errors": [1]}'),
}
WORDS = [
    "operations",
    "environments",
    "incidents",
    "incidents one",
    "run restart_service service=web",
    "plan alert.json",
    "pause",
    "resume",
    "reopen one",
    "cancel one",
    "doctor",
]


@pytest.fixture(params=ANSWERS)
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    status, kind, body = ANSWERS[request.param]

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the server looks for this name

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def test_a_stranger_is_told(uici: Uici, tmp_path: Path, stranger: str) -> None:
    (tmp_path / "alert.json").write_text(json.dumps({"labels": {"alertname": "A"}}))
    for words in WORDS:
        said = uici(*words.split(), environ={"UICI_SERVER": stranger})
        assert said.returncode == 1, words
        told = said.stdout if words == "doctor" else said.stderr
        assert "is UICI there?" in told.splitlines()[-1], words
        assert "Traceback" not in said.stderr

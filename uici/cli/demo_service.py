"""A sample service of ``uici demo``: answers every GET with its name. Run as a script, so it imports nothing of UICI.

SIGUSR1 makes it hang: it lives on and answers nothing, like a program with a deadlock. It listens on loopback only.
"""

from __future__ import annotations

import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

NAME, PORT = sys.argv[1], int(sys.argv[2])


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{NAME} is here\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        sys.stdout.write(f"{self.command} {self.path} {arguments[1] if len(arguments) > 1 else ''}\n")
        sys.stdout.flush()


def hang(*_: Any) -> None:
    sys.stdout.write("waiting for a lock that nobody gives back\n")
    sys.stdout.flush()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, hang)
    HTTPServer.allow_reuse_address = True
    HTTPServer(("127.0.0.1", PORT), Answer).serve_forever()

"""A bounded look at a service from outside, for executors whose engine does not tell whether a service answers.

Both built-in executors offer it to translations as ``probe.check``. It reads only: one request, no redirect followed, a
few bytes of the answer, no proxy, no login. It blocks; call it in a thread. It must not be a way to fetch anything.
"""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlsplit

MOST_SECONDS = 30.0
_MOST_BYTES = 4096


def check(url: str | None, timeout_seconds: float = 2.0) -> dict[str, Any]:
    """``{url, health, message}`` and, where there was something to ask, ``healthy``.

    ``health`` is ``healthy``, ``unhealthy`` or ``unknown`` (no url: nobody said how to ask). ``http(s)://``: healthy when
    the answer's status is 200 to 399; a redirect counts and is not followed. ``tcp://host:port``: when a connection
    comes about. The whole check takes at most ``timeout_seconds`` (not more than 30). Never raises for what a
    service does; ValueError for a url of another scheme, which a person wrote.
    """
    if not url:
        return {"url": "", "health": "unknown", "message": "no probe is given for it in the environment's inventory"}
    parts = urlsplit(url)
    bad = any(mark <= " " or mark > "~" for mark in url)  # nothing that could end a line of the request
    if (
        bad
        or parts.scheme not in ("http", "https", "tcp")
        or not parts.hostname
        or (parts.scheme == "tcp" and not parts.port)
    ):
        raise ValueError(f"probe {url!r}: write http://host:port/path, https://… or tcp://host:port")
    until = time.monotonic() + min(max(timeout_seconds, 0.05), MOST_SECONDS)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=_left(until)) as connection:
            if parts.scheme == "tcp":
                return _said(url, True, f"{parts.hostname}:{port} accepts connections")
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            if parts.scheme == "http":
                status = _status(connection, parts.netloc.rpartition("@")[2], path, until)
            else:
                import ssl  # only those who probe https pay for it

                with ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname) as secured:
                    status = _status(secured, parts.netloc.rpartition("@")[2], path, until)
    except TimeoutError:
        return _said(url, False, f"no answer from {url} within {timeout_seconds:g}s")
    except (OSError, ValueError) as error:
        return _said(url, False, f"no answer from {url}: {error or type(error).__name__}")
    return _said(url, 200 <= status < 400, f"{url} answered {status}")


def _status(connection: socket.socket, host: str, path: str, until: float) -> int:
    """The status of one GET. Read by hand, because http.client gives a server that drips a new deadline with each byte."""
    connection.settimeout(_left(until))
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: uici-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode("ascii", "strict"))
    said = b""
    while b"\n" not in said and len(said) < _MOST_BYTES:
        connection.settimeout(_left(until))
        more = connection.recv(_MOST_BYTES)
        if not more:
            break
        said += more
    words = said.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("what it says is no HTTP")
    return int(words[1])


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _said(url: str, healthy: bool, message: str) -> dict[str, Any]:
    return {"url": url, "health": "healthy" if healthy else "unhealthy", "healthy": healthy, "message": message}

"""The daemon's API as the command line uses it: over its local socket or over HTTP(S). Blocking, standard library only.

Answers are given as parsed JSON. It must not print or keep a token, and it follows no redirects.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from uici.model.errors import ConfigurationError, DaemonError

_SECONDS = 30.0
#: Connections that are tried one after another before a daemon counts as gone; half a minute.
_TRIES = 15


class RefusedError(DaemonError):
    """The daemon's problem+json. ``status``: of HTTP; ``problem``: all of it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, problem
        #: Of the command line.
        self.exit_code = 1
        said = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        errors = [f"{one['path']}: {one['message']}" for one in problem.get("errors", ())[:20]]
        more = "".join(f"\n  {one}" for one in errors if one not in said)
        cure = "; give the command line its token in UICI_TOKEN" if status == 401 else ""
        super().__init__(f"{said}{cure}{more}")


class LostError(DaemonError):
    """The daemon went away after it was asked: what it was asked for may have been taken."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(self.timeout)
        try:
            # Some paths are longer than a socket's address; through its open folder it is short.
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                long = len(os.fsencode(self._path)) > 100
                made.connect(f"/proc/self/fd/{folder}/{self._path.name}" if long else str(self._path))
            finally:
                os.close(folder)
        except OSError:
            made.close()
            raise
        self.sock = made


def answers(path: Path) -> bool:
    """Whether a daemon listens on that socket."""
    if not path.exists():
        return False
    connection = _Unix(path, 5.0)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


class Client:
    """One daemon. ``where``: its URL, or the path of its local socket. ``token``: None for the local socket."""

    def __init__(self, where: str | Path, token: str | None = None) -> None:
        self._token = token
        if isinstance(where, Path):
            self._socket: Path | None = where
            self.name = f"unix:{where}"
            return
        self._socket = None
        try:
            parts = urlsplit(where if "//" in where else f"http://{where}")
            right = parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
        except ValueError:  # of a port that is no number, of brackets that do not match
            right = False
        if not right:
            raise ConfigurationError(f"--server (UICI_SERVER) is {where!r}; write it as https://host:port")
        self._parts, self.name = parts, f"{parts.scheme}://{parts.netloc}"

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._socket is not None:
            return _Unix(self._socket, timeout)
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=timeout)

    def _sent(
        self, method: str, path: str, body: Any, timeout: float, more: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Accept": "application/json", **(more or {})}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        prefix = "" if self._socket else self._parts.path.rstrip("/")
        connection, connected = self._connection(timeout), False
        try:
            connection.connect()
            connected = True
            connection.request(method, prefix + path, data, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            kind = LostError if connected else DaemonError
            raise kind(
                f"the daemon at {self.name} does not answer: {error or type(error).__name__}; is it running there? "
                "(--server, UICI_SERVER)"
            ) from error

    def _json(self, method: str, path: str, body: Any = None, *, having: str | None = None) -> Any:
        connection, response = self._sent(method, path, body, _SECONDS)
        try:
            text = response.read(64 * 1024 * 1024)
        except (OSError, http.client.HTTPException) as error:
            raise LostError(f"the daemon at {self.name} went away in the middle of its answer") from error
        finally:
            connection.close()
        try:
            data = json.loads(text) if text else {}
        except ValueError:
            raise DaemonError(f"{self.name} answered {response.status} and no JSON; is UICI there?") from None
        if (problem := _problem(response, data)) is not None:
            raise problem
        if not 200 <= response.status < 300:
            raise DaemonError(f"{self.name} answered {response.status}; is UICI there?")
        if not isinstance(data, dict) or (having is not None and having not in data):
            raise DaemonError(f"{self.name} does not answer as UICI does; is UICI there?")
        return data

    def get(self, path: str, *, having: str | None = None, **query: Any) -> Any:
        """``having``: what the answer of a daemon has; raises DaemonError for one of something else that listens there."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        return self._json("GET", f"/{path}" + (f"?{asked}" if asked else ""), having=having)

    def post(self, path: str, body: Any = None, *, having: str | None = None) -> Any:
        return self._json("POST", f"/{path}", {} if body is None else body, having=having)

    def events(self, **query: Any) -> Iterator[Mapping[str, Any] | None]:
        """Entries as they come; None for a beat, so that the caller can look at the clock. Ends with the connection."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        connection, response = self._sent("GET", f"/api/v1/events?{asked}", None, 60.0)
        try:
            if response.status != 200:
                raise DaemonError(f"the events of {self.name} cannot be read: {response.status}")
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
                elif line.startswith(b":"):
                    yield None
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def lines(self, request: str, *, follow: bool) -> Iterator[Mapping[str, Any]]:
        """Lines of a request's logs, then its end (``event``: ``end``). A connection that breaks is made again and goes on
        from the last line; some may come twice then. Raises RefusedError, and DaemonError where it stays away or breaks
        again and again."""
        last, tries = "", 0
        path = f"/api/v1/requests/{segment(request)}/logs?follow={'true' if follow else 'false'}"
        while True:
            try:
                for event in self._events(path, last):
                    yield event
                    if event["event"] == "end":
                        return
                    last, tries = event["id"] or last, 0
            except RefusedError as error:
                if error.status < 500 or tries >= _TRIES:
                    raise
            except DaemonError:
                if tries >= _TRIES:
                    raise
            if tries >= _TRIES:
                raise DaemonError(
                    f"{self.name} ends the logs of {request[:64]} again and again without their end; is UICI there?"
                )
            tries += 1
            time.sleep(min(_SECONDS, 0.2 * tries))

    def _events(self, path: str, last: str) -> Iterator[dict[str, Any]]:
        """Server-sent events as they come: their data with ``event`` and the ``id`` that holds after them."""
        connection, response = self._sent("GET", path, None, 60.0, {"Last-Event-ID": last} if last else {})
        id, kind = "", "message"
        try:
            if response.status != 200:
                raise _refusal(self.name, response)
            while line := response.readline():
                if line.startswith(b"id: "):
                    id = line[4:].decode().rstrip("\n")
                elif line.startswith(b"event: "):
                    kind = line[7:].decode().rstrip("\n")
                elif line.startswith(b"data: "):
                    yield {**json.loads(line[6:]), "event": kind, "id": id}
                    kind = "message"
        except (OSError, ValueError, http.client.HTTPException):
            return
        finally:
            connection.close()


def _refusal(name: str, response: http.client.HTTPResponse) -> DaemonError:
    """Of an answer that is no stream; what is no problem+json does not come from UICI."""
    text = response.read(1024 * 1024)
    with contextlib.suppress(ValueError):
        if (problem := _problem(response, json.loads(text))) is not None:
            return problem
    return DaemonError(f"{name} answered {response.status}; is UICI there?")


def _problem(response: http.client.HTTPResponse, data: Any) -> RefusedError | None:
    """A daemon's problem+json; None for what another has said."""
    if response.status < 400 or "problem" not in (response.getheader("Content-Type") or ""):
        return None
    try:
        return RefusedError(response.status, data)
    except (AttributeError, KeyError, TypeError):
        return None


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")

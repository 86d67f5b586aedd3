"""One XML-RPC call to a supervisord, told apart by how far it came: not sent, answered, or nobody knows.

A connection is made for each call and closed after it: ``SupervisorTransport`` is not safe to share between threads, and
a kept connection that has died cannot tell a request that was read from one that was not. It must not repeat a call.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import xmlrpc.client
from typing import Any
from urllib.parse import urlsplit

from supervisor.xmlrpc import SupervisorTransport

from uici.executor import without_login
from uici.model import UICIError
from uici.model.record import dataclass


class NotSentError(UICIError):
    """No connection came about, so the supervisord has seen nothing of the call."""


class BrokenError(UICIError):
    """The call was sent, or may have been, and no answer came that can be read."""


class RefusedError(UICIError):
    """The supervisord's HTTP server answered before any method ran. ``status``: HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Peer:
    """Who listens at the other end. ``bound``: the path as the supervisord bound it; ``pid``: as this process sees it.

    ``address``: for http, the IP address and port that were reached.
    """

    bound: str | None = None
    pid: int | None = None
    address: tuple[str, int] | None = None


class _Connection(http.client.HTTPConnection):
    """Keeps its answer, so that one that nobody reads (HTTP 401) is closed with it."""

    answer: http.client.HTTPResponse | None = None

    def getresponse(self) -> http.client.HTTPResponse:
        self.answer = super().getresponse()
        return self.answer

    def close(self) -> None:
        if self.answer is not None:
            self.answer.close()
        super().close()


class _UnixConnection(_Connection):
    """Like supervisor's own, but its connect is bounded too."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


class _Transport(SupervisorTransport):  # type: ignore[misc] # supervisor has no types
    """Connects before it sends, so that a failure to connect is known to be one."""

    def __init__(self, url: str, username: str | None, password: str | None, timeout: float) -> None:
        super().__init__(username, password, url)
        self._url = url
        self._timeout = timeout
        self._get_connection = self._connected
        self.peer = Peer()

    def _connected(self) -> _Connection:
        connection: _Connection
        if self._url.startswith("unix://"):
            connection = _UnixConnection(self._url.removeprefix("unix://"), self._timeout)
        else:
            parts = urlsplit(self._url)
            connection = _Connection(parts.hostname or "", parts.port or 80, timeout=self._timeout)
        try:
            connection.connect()
        except OSError as error:
            raise NotSentError(
                f"no supervisord answers at {without_login(self._url)}: {error}; is it running, and the url right?"
            ) from error
        self.peer = _peer(connection.sock)
        return connection


def _peer(connection: socket.socket) -> Peer:
    name = connection.getpeername()
    if connection.family != socket.AF_UNIX:
        return Peer(address=(name[0], name[1]))
    pid = None
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0] or None
    return Peer(bound=os.fsdecode(name) or None, pid=pid)


@dataclass(frozen=True, slots=True)
class Line:
    """Where a supervisord is and how to log in. It holds no connection."""

    url: str
    username: str | None = None
    password: str | None = None

    @property
    def where(self) -> str:
        """Its address for people: a login that stands in it is not shown."""
        return without_login(self.url)

    def call(self, method: str, *arguments: Any, timeout: float) -> tuple[Any, Peer]:
        """The method's answer, and who gave it. Blocks for at most ``timeout`` seconds without a byte.

        Raises NotSentError, RefusedError, BrokenError, and ``xmlrpc.client.Fault`` as the supervisord says it.
        """
        transport = _Transport(self.url, self.username, self.password, timeout)
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy, method)(*arguments), transport.peer
        except (NotSentError, xmlrpc.client.Fault):
            raise
        except xmlrpc.client.ProtocolError as error:
            message = f"the supervisord at {self.where} answered HTTP {error.errcode} {error.errmsg}"
            if error.errcode == 401:
                message += "; give username and password in the environment's settings"
            if 400 <= error.errcode < 500:
                raise RefusedError(message, error.errcode) from None
            raise BrokenError(message) from None
        except TimeoutError:
            raise BrokenError(f"the supervisord at {self.where} did not answer {method} within {timeout:g}s") from None
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(
                f"the connection to the supervisord at {self.where} broke during {method}: {error!r}"
            ) from error
        except Exception as error:  # expat's own and others: nobody can read it
            raise BrokenError(
                f"the answer of the supervisord at {self.where} to {method} cannot be read: {error!r}"
            ) from error
        finally:
            transport.close()

"""docker-py on connections that know what they have sent, and until when they may wait.

docker-py bounds each read, not a call; it opens a pool for each URL; and it does not tell whether a request that failed
had left. Here every request belongs to an ``Exchange``: one call, its deadline, and what it may have changed. Nothing
here repeats a request, and nothing here decides what may be sent.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import docker
import docker.tls
import orjson
import requests
import urllib3
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnectionPool
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from uici_executors.docker.made import Made
from uici_executors.docker.outcomes import refused

SAFE = frozenset({"GET", "HEAD"})
#: Bytes that are kept of what is printed: the last ones.
PRINTED = 1_000_000


class WantedError(Exception):
    """docker-py wants the answers to these GETs (paths, with their queries) before it can go on."""

    def __init__(self, *paths: str) -> None:
        super().__init__(*paths)
        self.paths = paths


class PostWantedError(Exception):
    """docker-py wants to POST nothing to this path (with its query)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class ThreadNeededError(Exception):
    """docker-py wants more than an answer at hand: its call has to run on a thread. Nothing was sent."""


class Exchange:
    """One call on the wire. ``changed``: a request that changes was sent and not rejected.

    ``served``: the answers at hand, by their path; where there are any, even none, nothing is sent by it.
    """

    def __init__(self, seconds: float, served: Mapping[str, requests.Response] | None = None) -> None:
        self.deadline = time.monotonic() + seconds
        self.served = served
        self.changed = False
        self.sending = False
        self.expired = False
        self._open: list[_Tracked] = []
        self._streams: list[Any] = []

    def remaining(self) -> float:
        """Seconds until the deadline; never quite nothing, because 0 means "do not block" to a socket."""
        return max(self.deadline - time.monotonic(), 0.001)

    def uses(self, connection: _Tracked) -> None:
        connection.exchange = self
        self._open.append(connection)

    def expire(self) -> None:
        """Ends what still waits: a stream that docker-py reads without a timeout. From any thread."""
        self.expired = True
        for connection in self._open:
            sock = connection.sock
            if connection.exchange is self and sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def streams(self, response: Any) -> None:
        self._streams.append(response)

    def ends(self) -> None:
        """Nothing of it stays open: docker-py leaves a stream that was not read to its end to the garbage collector."""
        for response in self._streams:
            with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
                response.close()
        for connection in self._open:
            if connection.exchange is self:
                connection.exchange = None
            if self._streams or self.expired:
                connection.was_open = False  # closed by us: no sign of another engine
        self._streams.clear()
        self._open.clear()


_local = threading.local()


@contextlib.contextmanager
def exchanging(exchange: Exchange) -> Iterator[Exchange]:
    """All requests of this thread belong to this exchange; to the one around it again afterwards."""
    around = getattr(_local, "exchange", None)
    _local.exchange = exchange
    try:
        yield exchange
    finally:
        _local.exchange = around
        exchange.ends()


def _current() -> Exchange:
    exchange: Exchange | None = getattr(_local, "exchange", None)
    return exchange or Exchange(60.0)


class _Tracked(HTTPConnection):
    """A connection that notes for whom it sends, and closes what it could not open."""

    exchange: Exchange | None = None
    #: Called when a connection that had been open is opened anew: another engine may answer there now.
    reconnected: Any = None
    was_open = False

    def connect(self) -> None:
        if self.was_open and self.reconnected is not None:
            self.reconnected()
        super().connect()
        self.was_open = True

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = _current()
        exchange.uses(self)
        if exchange.expired:  # before there was anything to shut: whoever waited for it is gone
            self.close()
            raise TimeoutError("its time is over")
        exchange.sending = True
        super().send(data)


class _UnixConnection(_Tracked):
    unix_socket = ""

    def connect(self) -> None:
        if self.was_open and self.reconnected is not None:
            self.reconnected()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_current().remaining())
            sock.connect(self.unix_socket)
        except OSError:
            sock.close()
            raise
        self.sock = sock
        self.was_open = True


class _TLSConnection(_Tracked, HTTPSConnection):
    pass


class _UnixPool(UnixHTTPConnectionPool):
    reconnected: Any = None

    def _new_conn(self) -> _UnixConnection:
        connection = _UnixConnection("localhost")
        connection.unix_socket = self.socket_path
        connection.reconnected = self.reconnected
        return connection


class _Adapter(HTTPAdapter):
    """Gives each request what is left of its exchange's time, and notes what came of one that changes."""

    def send(self, request: Any, stream: bool = False, *given: Any, **options: Any) -> Any:
        exchange = _current()
        exchange.sending = False
        changes = request.method not in SAFE
        try:
            response = super().send(request, stream, *given, **{**options, "timeout": exchange.remaining()})
        except BaseException:
            exchange.changed |= changes and exchange.sending
            raise
        exchange.changed |= changes and not refused(response.status_code)
        if stream:
            exchange.streams(response)
        return response


class _UnixAdapter(_Adapter, UnixHTTPAdapter):
    """One pool for the socket, whatever the URL."""

    def __init__(self, path: str, size: int, reconnected: Any) -> None:
        super().__init__(f"http+unix://{path}", max_pool_size=size)
        self.pool = _UnixPool("http+docker://localhost", path, maxsize=size)
        self.pool.reconnected = reconnected

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        return self.pool

    def close(self) -> None:
        super().close()
        self.pool.close()


class _TCPAdapter(_Adapter):
    def __init__(self, size: int, reconnected: Any) -> None:
        super().__init__(pool_maxsize=size)
        plain = type("_Plain", (_Tracked,), {"reconnected": staticmethod(reconnected)})
        tls = type("_TLS", (_TLSConnection,), {"reconnected": staticmethod(reconnected)})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_HTTPPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_HTTPSPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


class _API(docker.APIClient):
    """docker-py's low-level client on the connections above."""

    def __init__(self, *, size: int, reconnected: Any, made: Made, **options: Any) -> None:
        self._size, self._reconnected, self._made = size, reconnected, made
        super().__init__(**options)

    def mount(self, prefix: Any, adapter: Any) -> None:
        if isinstance(adapter, UnixHTTPAdapter):
            adapter = _UnixAdapter(adapter.socket_path, self._size, self._reconnected)
        elif type(adapter) is HTTPAdapter:
            adapter = _TCPAdapter(self._size, self._reconnected)
        self.trust_env = False  # before the first request: no proxy from the environment between UICI and an engine
        super().mount(prefix, adapter)

    def _read_from_socket(self, response: Any, stream: bool, tty: bool = True, demux: bool = False) -> Any:
        """What a command prints: all of it is read, the end is kept."""
        if stream or demux:
            # docker-py's stubs leave this method of its own out.
            return super()._read_from_socket(response, stream, tty=tty, demux=demux)  # type: ignore[misc]  # left out of the stubs
        try:
            return last(super()._read_from_socket(response, True, tty=tty))  # type: ignore[misc]  # left out of the stubs
        finally:
            response.close()

    def inspect_container(self, container: Any) -> Any:
        attrs = super().inspect_container(container)
        self._made.learn(attrs)
        return attrs

    def _check_is_tty(self, container: Any) -> Any:
        """What a container was made with stays; docker-py inspects it again for each log."""
        known = self._made.tty(str(container))
        return super()._check_is_tty(container) if known is None else known  # type: ignore[misc]  # left out of the stubs, as those above

    def request(self, *given: Any, **options: Any) -> requests.Response:
        if _current().served is not None:
            raise ThreadNeededError
        return super().request(*given, **options)

    def get(self, url: str | bytes, **options: Any) -> requests.Response:
        """Where answers are at hand a read that is no stream is one of them, or nothing."""
        served = _current().served
        if served is None or options.get("stream") or options.keys() - {"params", "stream", "timeout"}:
            return super().get(url, **options)
        path = self._path(url, options.get("params"))
        if path not in served:
            raise WantedError(path)
        return served[path]

    def post(self, url: str | bytes, data: Any = None, json: Any = None, **options: Any) -> requests.Response:
        """As with ``get``, where it has no body; the answer at hand is one that was got for this very call."""
        served = _current().served
        if served is None or data is not None or json is not None or options.keys() - {"params", "timeout"}:
            return super().post(url, data=data, json=json, **options)
        path = self._path(url, options.get("params"))
        if posted(path) not in served:
            raise PostWantedError(path)
        return served[posted(path)]

    def _path(self, url: str | bytes, given: Any) -> str:
        path = str(url).removeprefix(self.base_url)
        if given:
            path += "?" + urlencode({name: one for name, one in given.items() if one is not None}, doseq=True)
        return path


def posted(path: str) -> str:
    """Under which name the answer to a POST is at hand."""
    return f"POST {path}"


class _Answer(requests.Response):
    def json(self, **options: Any) -> Any:
        """Read by orjson, which takes a fifth of the time; what it does not take, the usual way or with its error."""
        try:
            return super().json(**options) if options else orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return super().json()


def response(url: str, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> requests.Response:
    """What docker-py takes for an answer of its own."""
    answer = _Answer()
    answer.status_code, answer.reason, answer.url = status, reason, url
    answer.headers.update(headers)
    answer.encoding = "utf-8"
    answer.raw = io.BytesIO(body)
    return answer


class Client(docker.DockerClient):
    """docker-py's client. ``version``: of the Engine API."""

    def __init__(self, settings: Mapping[str, Any], version: str, reconnected: Any, made: Made, size: int = 64) -> None:
        tls: Any = False
        if "tls" in settings:
            given = settings["tls"]
            pair = (given["client_cert"], given["client_key"]) if "client_cert" in given else None
            tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=given.get("ca_cert"), verify=given.get("verify", True))
        self.api = _API(
            base_url=settings["base_url"],
            version=version,
            timeout=60,
            tls=tls,
            size=size,
            reconnected=reconnected,
            made=made,
        )


def last(chunks: Iterable[bytes]) -> bytes:
    """The last of what is printed, however much that is."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        if len(kept) > 2 * PRINTED:
            del kept[:-PRINTED]
    return bytes(kept[-PRINTED:])

"""GETs of one HTTP API on the event loop, over connections that are kept: for an executor's own look-ups. And POSTs without
a body, each asked once.

A general client takes five times the processor for each; httptools reads what comes back
(docs/decisions/0030-http-of-look-ups.md). Nothing is decided here, and nothing is kept of an answer. Every request ends when
its caller's time is over or when it is cancelled. Of what is sent only the path and the headers are the caller's; neither
may become another request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import httptools

from uici.model.record import dataclass

#: GETs under way at one time; more of them would only wait inside of the engine. Streams are not counted.
AT_ONCE = 16
#: Bytes of an answer that are read at the most.
MOST = 256 * 1024 * 1024
#: Bytes of a stream that wait for whoever reads it; then the engine has to wait.
WAITING = 256 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What an engine answered. ``headers``: by their names in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where an API listens: at a unix ``socket``, else at a name or number and a ``port``.

    ``host``: what the header of that name says. ``prefix``: of every path. ``tls``: None for none; ``server_name``: whom
    its certificate has to name, where that is not ``name``.
    """

    host: str
    socket: str = ""
    name: str = ""
    port: int = 0
    prefix: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


class Wire:
    """``lost``: called when a connection ends that was not ended here: another engine may answer from now on. ``connect``:
    seconds within which a connection must be there; None leaves that to the caller's own limit.

    Raises OSError: ConnectionError for an answer that is no HTTP, and for one that is too large.
    """

    def __init__(
        self, address: Address, lost: Callable[[], None], at_once: int = AT_ONCE, connect: float | None = None
    ) -> None:
        self._address, self._lost, self._connect = address, lost, connect
        self._gate = asyncio.Semaphore(at_once)
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._closed = False

    async def get(
        self, path: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """``path`` goes out as it is, ``params`` as a query. Without following a redirect."""
        async with self._gate:
            connection = await self._asked(path, params, headers or {})
            try:
                await connection.whole()
                said = connection.said()
            finally:
                self._give_back(connection)
            return said

    async def post(self, path: str, sent: Callable[[], None]) -> Said:
        """``path`` goes out as it is, without a body, on a connection that was made for it: so it is never asked twice.

        ``sent``: called right before it leaves; whatever is raised before that, nothing was sent.
        """
        request = self._request("POST", path, "Content-Length: 0\r\n")
        connection = await self._new()
        try:
            sent()
            connection.ask(request)
            await connection.whole()
            return connection.said()
        finally:
            self._give_back(connection)

    async def lines(self, path: str, params: Mapping[str, Any], seconds: float) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on: for so long, or until the engine ends it.

        Raises ConnectionError for any other answer.
        """
        until = asyncio.get_running_loop().time() + seconds
        connection = await self._asked(path, params, {})
        try:
            await connection.begun()
            if connection.status != 200:
                await connection.whole()
                said = connection.said().body[:500].decode("utf-8", "replace")
                raise ConnectionError(f"it answered {connection.status}: {said}")
            rest = b""
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await connection.more()
                except TimeoutError:
                    return
                if chunk is None:
                    return
                *whole, rest = (rest + chunk).split(b"\n")
                for line in filter(None, whole):
                    yield line
        finally:
            self._give_back(connection)

    async def _asked(self, path: str, params: Mapping[str, Any] | None, headers: Mapping[str, str]) -> _Connection:
        """A connection on which it was asked. One that was kept may have been ended just now: then a new one is."""
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if more.count("\n") + more.count("\r") != 2 * len(headers):
            raise ValueError("a header of several lines would be another request")
        request = self._request("GET", f"{path}?{urlencode(params)}" if params else path, more)
        while self._idle:
            connection = self._idle.pop()
            if connection.ask(request):
                try:
                    await connection.begun()
                except ConnectionError:
                    if connection.heard:
                        raise
                    continue
                except BaseException:
                    self._give_back(connection)
                    raise
                return connection
        connection = await self._new()
        connection.ask(request)
        return connection

    def _request(self, method: str, path: str, headers: str) -> bytes:
        target = f"{self._address.prefix}{path}"
        if any(sign in target for sign in " \r\n"):
            raise ValueError("a path with a space in it would be another request")
        return f"{method} {target} HTTP/1.1\r\nHost: {self._address.host}\r\n{headers}\r\n".encode()

    async def _new(self) -> _Connection:
        async with asyncio.timeout(self._connect):
            connection = await _connected(self._address, lambda: _Connection(self._ended))
        if self._closed:  # while it came about
            connection.close()
            raise ConnectionError("the connection was closed")
        self._all.add(connection)
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.reusable() and not self._closed:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.close()

    def _ended(self, connection: _Connection) -> None:
        """By the other side."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._lost()

    async def close(self) -> None:
        """For good: what is under way ends with ConnectionError, and what is still being connected too."""
        self._closed = True
        for connection in self._all:
            connection.close()
        self._idle.clear()
        self._all.clear()


class _Connection(asyncio.Protocol):
    """One connection, for one request after another. ``ended``: called when the other side ends it."""

    def __init__(self, ended: Callable[[_Connection], None]) -> None:
        self._ended: Callable[[_Connection], None] | None = ended
        self._transport: asyncio.Transport | None = None
        self._error: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser: Any = None
        self._forget()

    def _forget(self) -> None:
        self.status, self._reason = 0, b""
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._stream = self._paused = self._kept = False
        #: Whether a byte of the answer came; and all of it.
        self.heard = self._complete = False

    # Asking

    def ask(self, request: bytes) -> bool:
        """Whether it could be sent: not where the connection has ended."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._forget()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        return True

    async def begun(self) -> None:
        """Until its head is there."""
        while not self.status:
            await self._wait()

    async def whole(self) -> None:
        while not self._complete:
            await self._wait()

    async def more(self) -> bytes | None:
        """What came since; None at the end of the answer."""
        self._stream = True
        while not self._chunks and not self._complete:
            await self._wait()
        chunk, self._chunks, self._size = b"".join(self._chunks), [], 0
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False
        return chunk or None

    def said(self) -> Said:
        return Said(self.status, self._reason.decode("latin-1"), self._headers, b"".join(self._chunks))

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def reusable(self) -> bool:
        going_on = self._transport is not None and not self._transport.is_closing()
        return self._complete and going_on and self._kept

    def close(self) -> None:
        self._ended = None
        self._end(ConnectionError("the connection was closed"))

    # What asyncio says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream it is a Transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._complete:
            self._end(ConnectionError("it said something that it was not asked"))
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(ConnectionError(f"its answer is no HTTP: {error}"))
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.status and not {"content-length", "transfer-encoding"} & self._headers.keys():
            self._complete = True  # its end was the connection's
        why = exc if isinstance(exc, OSError) else ConnectionError("it closed the connection before its answer's end")
        self._end(why)

    def _end(self, error: OSError) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()  # a farewell in TLS would be waited for; nothing is on its way that anybody wants
        self._error = self._error or error
        self._wake()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)

    # What httptools says

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("more than one answer")

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status, self._kept = self._parser.get_status_code(), bool(self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        if self._size > MOST:
            raise ValueError(f"it is larger than {MOST} bytes")
        if self._stream and self._size > WAITING and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def on_message_complete(self) -> None:
        self._complete = True


async def _connected(address: Address, made: Callable[[], _Connection]) -> _Connection:
    loop = asyncio.get_running_loop()
    if address.socket:
        return (await loop.create_unix_connection(made, address.socket))[1]
    whose = (address.server_name or address.name) if address.tls is not None else None
    opening = loop.create_connection(made, address.name, address.port, ssl=address.tls, server_hostname=whose)
    return (await opening)[1]

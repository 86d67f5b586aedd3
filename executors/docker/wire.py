"""The executor's own look-ups on the event loop: GETs of one engine's API over connections that are kept.

docker-py would take a thread and several times the processor for each. Nothing here changes anything, nothing is decided
here, and nothing is kept of an answer. Every request ends when its caller's time is over or when it is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import certifi
import docker.utils

from uici.executor import Settings
from uici.model.record import dataclass

if TYPE_CHECKING:
    import aiohttp

#: GETs under way at one time; more of them would only wait inside of the engine. Streams are not counted.
AT_ONCE = 16
#: Seconds for which a connection that is not used is kept: the engine's own end of it tells when it is gone.
KEPT = 3600.0


def client_error() -> type[Exception]:
    """Whatever aiohttp raises. It is imported where an engine is asked: a check asks none, and it takes 100 ms."""
    import aiohttp

    return aiohttp.ClientError


@dataclass(frozen=True, slots=True)
class Said:
    """What an engine answered."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """``lost``: called when a connection that had been open is opened anew: another engine may answer there now.

    Raises what aiohttp raises, OSError and TimeoutError; ValueError for an address that is none.
    """

    def __init__(self, settings: Settings, lost: Callable[[], None]) -> None:
        self._settings, self._lost = settings, lost
        self._session: aiohttp.ClientSession | None = None
        self._root = ""
        self._gate = asyncio.Semaphore(AT_ONCE)
        #: Requests under way, and connections that must be there: so many were under way at one time.
        self._under_way = self._opened = 0

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Said:
        """``path`` with the API's version; it goes out as it is. Without following a redirect."""
        async with self._gate, self._asked(path, params) as answer:
            body = await answer.read()
            return Said(answer.status, answer.reason or "", answer.headers, body)

    async def lines(self, path: str, params: Mapping[str, Any], seconds: float) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on: for so long, or until the engine ends it.

        Raises ConnectionError for any other answer.
        """
        until = asyncio.get_running_loop().time() + seconds
        async with self._asked(path, params) as answer:
            if answer.status != 200:
                said = (await answer.content.read(500)).decode("utf-8", "replace")
                raise ConnectionError(f"it answered {answer.status}: {said}")
            rest = b""
            while not answer.content.at_eof():
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await answer.content.readany()
                except TimeoutError:
                    return
                *whole, rest = (rest + chunk).split(b"\n")
                for line in filter(None, whole):
                    yield line

    @contextlib.asynccontextmanager
    async def _asked(self, path: str, params: Mapping[str, Any] | None) -> AsyncIterator[aiohttp.ClientResponse]:
        from yarl import URL

        session = self._session or self._begun()
        url = URL(f"{self._root}{path}?{urlencode(params)}" if params else f"{self._root}{path}", encoded=True)
        self._under_way += 1
        ended = False
        try:
            async with session.get(url, allow_redirects=False) as answer:
                yield answer
                ended = answer.content.at_eof()
        finally:
            self._under_way -= 1
            if not ended:
                self._opened = max(self._opened - 1, 0)  # we close it ourselves: no sign of another engine

    def _begun(self) -> aiohttp.ClientSession:
        import aiohttp
        from yarl import URL

        base_url, tls = str(self._settings["base_url"]), self._settings.get("tls")
        connector: aiohttp.BaseConnector
        if base_url.startswith("unix://"):
            self._root = "http://docker"
            connector = aiohttp.UnixConnector(base_url.removeprefix("unix://"), limit=0, keepalive_timeout=KEPT)
        else:
            self._root = str(docker.utils.parse_host(base_url, tls=bool(tls))).rstrip("/")
            if URL(self._root).host is None:
                raise ValueError("no host")
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT, ssl=_context(tls or {}))
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(self._connecting)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[trace],
        )
        return self._session

    async def _connecting(self, *_: Any) -> None:
        """There is one for each that was under way at one time; where another has to be opened, one was lost."""
        if self._under_way <= self._opened:
            self._lost()
        self._opened = max(self._opened, self._under_way)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """As docker-py has it: the given authority's word alone, else what requests believes."""
    context = ssl.create_default_context(cafile=tls.get("ca_cert") or certifi.where())
    if "client_cert" in tls:
        context.load_cert_chain(tls["client_cert"], tls["client_key"])
    if not tls.get("verify", True):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

"""The official client's GETs over connections of our own: the client says what to ask, with which login; ``wire`` asks.

What changes something, what goes on (a watch, a followed log), what may be of any size (a log, a proxy's answer) and what
has to go through a proxy stays with the client's own HTTP. Nothing is repeated, nothing is sent on to where an answer points.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from uici.executor.wire import Address, Said, Wire

#: Ends of paths that are left to the client's own HTTP.
_OF_ANY_SIZE = ("/log", "/proxy")


class Whole:
    """An answer that is there, with as much of ``aiohttp.ClientResponse`` as is asked of one."""

    def __init__(self, said: Said) -> None:
        self.status, self.reason = said.status, said.reason
        self.headers = _Headers(said.headers)
        self.content = self
        self._body = said.body

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body

    def release(self) -> None:
        """It holds nothing."""

    close = release


class _Headers(dict[str, str]):
    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Rest:
    """In the place of the client's ``rest_client``, which it leans on. ``sent_on``: makes the error of an answer that points
    elsewhere. ``connect``: seconds until a connection must be there."""

    def __init__(self, rest: Any, sent_on: Callable[[int, str], Exception], connect: float) -> None:
        self._rest, self._sent_on = rest, sent_on
        configuration = rest.configuration
        host = urlsplit(str(configuration.host))
        secure = host.scheme == "https"
        address = Address(
            host=host.netloc.rpartition("@")[2],
            name=host.hostname or "",
            port=host.port or (443 if secure else 80),
            tls=rest.ssl_context if secure else None,
            server_name=configuration.tls_server_name or None,
        )
        direct = host.hostname and not (rest.proxy or host.username)
        at_once = int(configuration.connection_pool_maxsize)
        self._wire = Wire(address, lambda: None, at_once, connect=connect) if direct else None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        """As the client's own."""
        seconds = _request_timeout.total if isinstance(_request_timeout, aiohttp.ClientTimeout) else _request_timeout
        parts = urlsplit(url)
        left = self._wire is None or method != "GET" or not seconds or not url.isascii()
        if self._wire is None or left or parts.path.endswith(_OF_ANY_SIZE) or "/proxy/" in parts.path:
            return await self._rest.request(method, url, headers, body, post_params, _request_timeout)
        from kubernetes.aio.client.rest import RESTResponse

        async with asyncio.timeout(seconds):
            said = await self._wire.get(f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        if 300 <= said.status < 400:
            raise self._sent_on(said.status, said.headers.get("location", "?"))
        return RESTResponse(Whole(said))

    async def close(self) -> None:
        try:
            await self._rest.close()
        finally:
            if self._wire is not None:
                await self._wire.close()

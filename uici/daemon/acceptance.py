"""The answer to alerts that were accepted: its bytes are made once a second, because a storm asks for the same ones again and again.

It is what aiohttp would send for the same body. Nothing else is answered in this way, and it must not be sent before the alerts
are durable.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import cast

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.http import SERVER_SOFTWARE


class _Accepted:
    """What aiohttp's connections want of a response, and no more."""

    __slots__ = ("_body", "_head", "_request", "_response", "keep_alive")
    status = 200

    def __init__(self, body: bytes, head: bytes) -> None:
        self._body, self._head = body, head
        self._request: web.BaseRequest | None = None
        self._response: web.Response | None = None
        self.keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.keep_alive and request.version == HttpVersion11:
            self._request = request
            return
        # Such a connection needs more headers.
        self._response = web.Response(body=self._body, content_type="application/json")
        await self._response.prepare(request)
        self.keep_alive = bool(self._response.keep_alive)

    async def write_eof(self) -> None:
        if self._request is not None:
            await self._request.writer.write_eof(self._head + self._body)
        elif self._response is not None:
            await self._response.write_eof()


class Acceptance:
    """Gives the answer for so many alerts."""

    def __init__(self) -> None:
        self._second = 0
        self._known: dict[int, tuple[bytes, bytes]] = {}

    def __call__(self, alerts: int) -> web.StreamResponse:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._known.clear()
        known = self._known.get(alerts)
        if known is None:
            body = orjson.dumps({"accepted": alerts, "refused": []})
            known = self._known[alerts] = body, _head(len(body), second)
        return cast("web.StreamResponse", _Accepted(*known))


def _head(length: int, second: int) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
        f"Date: {formatdate(second, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
    ).encode()

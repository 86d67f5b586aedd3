"""Which of the client's requests go over the kept connections, with what, and which stay with the client's own HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client import ApiClient, Configuration

from uici_executors.kubernetes.rest import Rest


class SentOnError(Exception):
    pass


class Usual:
    """The client's own HTTP: only what it is asked for counts."""

    def __init__(self, rest: Any) -> None:
        self.configuration, self.ssl_context, self.proxy = rest.configuration, rest.ssl_context, rest.proxy
        self.asked: list[tuple[str, str]] = []

    async def request(self, method: str, url: str, *_: Any) -> str:
        self.asked.append((method, url.partition("/api")[2]))
        return "the client's own"

    async def close(self) -> None:
        """Nothing is open."""


class Place:
    def __init__(self, port: int) -> None:
        self.configuration = Configuration(host=f"http://127.0.0.1:{port}/cluster")
        self.asked: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def rest(self) -> tuple[Rest, Usual]:
        client = ApiClient(self.configuration)
        usual = Usual(client.rest_client)
        await client.close()
        return Rest(usual, lambda status, to: SentOnError(f"{status} {to}"), 5.0), usual


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    listening = socket.create_server(("127.0.0.1", 0))
    found = Place(listening.getsockname()[1])
    server = await asyncio.start_server(found.serve, sock=listening)
    async with asyncio.timeout(30):
        yield found
    server.close()
    await server.wait_closed()


URL = "/api/v1/namespaces/shop/pods"


async def ask(place: Place, rest: Rest, path: str = URL, method: str = "GET", seconds: Any = 5.0) -> Any:
    url = f"{place.configuration.host}{path}"
    return await rest.request(method, url, {"Authorization": "Bearer t", "User-Agent": "u"}, _request_timeout=seconds)


async def test_a_look_goes_over_a_kept_connection_with_the_client_s_path_and_login(place: Place) -> None:
    rest, usual = await place.rest()
    answer = (await ask(place, rest, f"{URL}?limit=5&fieldSelector=metadata.name%3Dweb")).response
    assert (answer.status, answer.headers.get("Content-Type"), answer.reason) == (200, "application/json", "OK")
    assert b"".join([chunk async for chunk in answer.content.iter_any()]) == b"{}"
    await ask(place, rest, seconds=aiohttp.ClientTimeout(total=5.0))
    await rest.close()
    first = place.asked[0].decode()
    assert first.startswith(f"GET /cluster{URL}?limit=5&fieldSelector=metadata.name%3Dweb HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer t\r\n" in first
    assert (len(place.asked), usual.asked) == (2, [])


@pytest.mark.parametrize(
    ("method", "path", "seconds"),
    [
        ("PATCH", URL, 5.0),
        ("DELETE", URL, 5.0),
        ("POST", URL, 5.0),
        ("GET", f"{URL}/web/log", 5.0),
        ("GET", f"{URL}/web/proxy", 5.0),
        ("GET", f"{URL}/web/proxy/metrics", 5.0),
        ("GET", f"{URL}?watch=true", aiohttp.ClientTimeout(total=None, sock_read=5.0)),
        ("GET", f"{URL}?watch=true", None),
    ],
)
async def test_what_is_no_bounded_look_stays_with_the_client(
    place: Place, method: str, path: str, seconds: Any
) -> None:
    rest, usual = await place.rest()
    assert await ask(place, rest, path, method, seconds) == "the client's own"
    await rest.close()
    assert (place.asked, usual.asked) == ([], [(method, path.removeprefix("/api"))])


async def test_with_a_proxy_everything_stays_with_the_client(place: Place) -> None:
    place.configuration.proxy = "http://127.0.0.1:1"
    rest, usual = await place.rest()
    assert await ask(place, rest) == "the client's own"
    await rest.close()
    assert (place.asked, len(usual.asked)) == ([], 1)


async def test_nothing_is_sent_on(place: Place) -> None:
    place.answer = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    rest, _ = await place.rest()
    with pytest.raises(SentOnError, match="302 http://elsewhere/"):
        await ask(place, rest)
    await rest.close()
    assert len(place.asked) == 1


async def test_no_header_becomes_another_request(place: Place) -> None:
    rest, _ = await place.rest()
    with pytest.raises(ValueError, match="another request"):
        await rest.request("GET", f"{place.configuration.host}{URL}", {"A": "b\r\n\r\nGET /"}, _request_timeout=5.0)
    await rest.close()
    assert place.asked == []

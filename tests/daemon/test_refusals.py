"""Who is let in, how much is read, and that every refusal is problem+json, a counter and a log line."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.daemon.place import TOKENS, Door, alert, payload, serving
from uici.catalog import UniversalConfigLoader
from uici.daemon.routes import Route
from uici.daemon.serve import Serving
from uici.daemon.server import Daemon, application
from uici.daemon.table import ROUTES
from uici.daemon.tokens import Caller
from uici.model import ConfigurationError

HOOK = "/webhooks/alertmanager"
OPEN = {"/healthz", "/readyz"}


def _paths() -> list[tuple[str, str, frozenset[str], bool]]:
    return [
        (route.method, re.sub(r"{\w+}", "none", route.path), route.may, route.person)
        for route in ROUTES
        if route.path not in OPEN
    ]


@pytest.mark.parametrize(("method", "path", "may", "person"), _paths())
async def test_every_door_needs_a_token_with_the_right(
    guarded: Door, method: str, path: str, may: frozenset[str], person: bool
) -> None:
    for token in (None, "wrong", "t-anna2"):
        status, said = await guarded.ask(method, path, token=token, json={} if method == "POST" else None)
        assert (status, said["code"], said["status"]) == (401, "unauthenticated", 401)
    for name, (_, rights, human) in TOKENS.items():
        if may & set(rights) and (human or not person):
            continue
        status, said = await guarded.ask(method, path, token=name, json={} if method == "POST" else None)
        assert status == 403, (name, said)
        assert said["code"] == ("permission" if not may & set(rights) else "person")
    assert (await guarded.get("/healthz"))[0] == 200


async def test_readyz_names_only_to_who_may_observe(guarded: Door) -> None:
    status, said = await guarded.get("/readyz")
    assert (status, said) == (200, {"ready": True})
    status, said = await guarded.get("/readyz", token="wrong")
    assert (status, said) == (200, {"ready": True})
    status, said = await guarded.get("/readyz", token="reader")
    assert status == 200
    assert "escalate_to" in said["warnings"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/v1/operations/none", 404, "not_found"),
        ("GET", "/api/v1/environments/none", 404, "not_found"),
        ("GET", "/api/v1/requests/none", 404, "not_found"),
        ("GET", "/api/v1/incidents/none", 404, "not_found"),
        ("POST", "/api/v1/requests/none/cancel", 404, "not_found"),
        ("DELETE", "/api/v1/requests", 405, "method_not_allowed"),
        ("GET", "/api/v1/incidents?limit=0", 422, "schema"),
        ("GET", "/api/v1/incidents?limit=x", 422, "schema"),
        ("GET", "/api/v1/incidents?state=gone", 422, "schema"),
        ("GET", "/api/v1/events?after=x", 422, "schema"),
        ("GET", "/api/v1/events?kinds=x", 422, "schema"),
    ],
)
async def test_addresses(door: Door, method: str, path: str, status: int, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    async with door.session.request(method, door.url + path, headers=headers, data=b"") as response:
        said = await response.json(content_type="application/problem+json")
        assert (response.status, said["code"]) == (status, code)
        if status == 405:
            assert response.headers["Allow"] == "GET, HEAD, POST" or "POST" in response.headers["Allow"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", [HOOK, "/api/v1/requests", "/api/v1/plan", "/api/v1/pause"])
@pytest.mark.parametrize(
    ("headers", "data", "status", "code"),
    [
        (JSON, b"{", 400, "not_json"),
        (JSON, b"\xff", 400, "not_json"),
        (JSON, b"NaN", 400, "not_json"),
        (JSON, b"[" * 100_000, 400, "not_json"),
        (JSON, b'"text"', 422, "schema"),
        ({"Content-Type": "text/plain"}, b"{}", 415, "media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"{}", 415, "media_type"),
        ({**JSON, "Content-Encoding": "gzip"}, gzip.compress(b" " * 10_000_000), 415, "encoding"),
    ],
    # Their own would hold the bytes, and with those of gzip the time, which workers must not tell apart.
    ids=["a brace", "no text", "no number", "deep", "a string", "plain text", "a form", "gzip"],
)
async def test_bodies(door: Door, path: str, headers: dict[str, str], data: bytes, status: int, code: str) -> None:
    got, said = await door.ask("POST", path, headers=headers, data=data)
    assert (got, said["code"]) == (status, code), said


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "operation"),
        ({"operation": ""}, "operation"),
        ({"operation": 5}, "operation"),
        ({"operation": "x", "origin": "human:anna"}, "origin"),
        ({"operation": "x", "parameters": []}, "parameters"),
        ({"operation": "x", "environment": 1}, "environment"),
        ({"operation": "x", "reason": None}, "reason"),
        ({"operation": "x", "dry_run": "yes"}, "dry_run"),
        ({"operation": "x", "confirm": 1}, "confirm"),
    ],
)
async def test_shapes_of_a_request(door: Door, body: dict[str, Any], path: str) -> None:
    status, said = await door.post("/api/v1/requests", body)
    assert (status, [one["path"] for one in said["errors"]]) == (422, [path])


async def test_depth_is_bounded(door: Door) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    status, said = await door.post("/api/v1/requests", {"operation": "x", "parameters": deep})
    assert status == 422
    assert said["errors"][0]["path"].startswith("$.parameters.a.a")


async def _raw(url: str, *parts: bytes) -> bytes:
    """What comes back for these bytes, and nothing more is sent."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.readuntil(b"}"), 10)
    finally:
        writer.close()


def _head(length: int | None, *more: str) -> bytes:
    size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    lines = [f"POST {HOOK} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", size, *more, "", ""]
    return "\r\n".join(lines).encode()


async def test_a_body_too_large_is_refused_before_a_byte_of_it_is_read(door: Door) -> None:
    said = await _raw(door.url, _head(50 * 1024 * 1024))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in said
    assert b"too_large" in said


async def test_a_body_too_large_is_not_asked_for(door: Door) -> None:
    said = await _raw(door.url, _head(50 * 1024 * 1024, "Expect: 100-continue"))
    assert said.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_is_wanted_is_asked_for(door: Door) -> None:
    body = json.dumps(payload(alert())).encode()
    host, _, port = door.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_head(len(body), "Expect: 100-continue"))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_chunked_body_ends_at_the_limit(door: Door) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    said = await _raw(door.url, _head(None), chunk * 17)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert [one.key for one in await door.daemon.journal.incidents()] == ["storm"]


async def test_a_wrong_token_gets_its_answer_before_its_body(guarded: Door) -> None:
    said = await _raw(guarded.url, _head(1000, "Authorization: Bearer wrong"))
    assert said.startswith(b"HTTP/1.1 401 ")


async def test_a_large_label_is_data(door: Door) -> None:
    status, said = await door.post(HOOK, payload(alert(labels={"alertname": "A", "service": "x" * 100_000})))
    assert (status, said["accepted"]) == (200, 1)


async def test_saturated_is_503_and_says_when_to_come_again(catalog: Callable[..., Path]) -> None:
    folder = catalog(
        platform={"server": {"limits": {"waiting": 1}}}, environment={"settings": {"url": "unix:///nowhere.sock"}}
    )
    async with serving(folder) as door:
        assert (await door.post(HOOK, payload(alert())))[0] == 200
        async with door.session.post(door.url + HOOK, json=payload(alert(fingerprint="b"))) as response:
            said = await response.json(content_type=None)
            assert (response.status, said["code"]) == (503, "saturated")
            assert response.headers["Retry-After"] == "1"
        status, said = await door.get("/readyz")
        assert status == 503
        assert "waiting" in said["not_ready"]


async def test_a_journal_that_fails_is_503_and_nothing_is_accepted(door: Door) -> None:
    await door.daemon.journal.close()
    status, said = await door.post(HOOK, payload(alert()))
    assert (status, said["code"]) == (503, "journal")
    status, said = await door.get("/readyz")
    assert status == 503
    assert "journal" in said["not_ready"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Origin": "https://evil.example"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
async def test_without_tokens_a_web_page_is_not_answered(door: Door, headers: dict[str, str]) -> None:
    status, said = await door.post(HOOK, payload(alert()), headers=headers)
    assert (status, said["code"]) == (403, "cross_site")
    assert await door.daemon.journal.entries(kinds=["alert"]) == []


async def test_without_tokens_a_token_is_not_known(door: Door) -> None:
    for method, path, _, _ in _paths():
        status, said = await door.ask(method, path, token="wrong", json={} if method == "POST" else None)
        assert (status, said["code"]) == (401, "unauthenticated"), path
        assert "has no server.tokens: send none" in said["detail"]
    assert await door.get("/readyz", token="wrong") == (200, {"ready": True})
    assert (await door.get("/api/v1/status"))[1]["caller"]["name"] == "loopback"


async def test_a_request_too_large_is_not_told_of_a_limit_that_is_not_its_own(door: Door) -> None:
    status, said = await door.post("/api/v1/requests", {"operation": "x", "reason": "x" * 300_000})
    assert (status, said["detail"]) == (413, "the body is larger than 262144 bytes; send less at once")
    assert b"raise server.limits.body in platform.yml" in await _raw(door.url, _head(50 * 1024 * 1024))


async def test_without_tokens_nothing_but_loopback_is_listened_on(catalog: Callable[..., Path]) -> None:
    for listen in ("0.0.0.0:0", ":0", "[::]:0"):
        with pytest.raises(ConfigurationError, match=r"no server\.tokens"):
            await Serving(UniversalConfigLoader(catalog()), listen=listen).run()


async def test_two_tokens_alike_or_empty_do_not_start(
    catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = catalog(tokens=True)
    monkeypatch.setenv("UICI_TEST_ANNA", TOKENS["reader"][0])
    with pytest.raises(ConfigurationError, match="same text"):
        await Serving(UniversalConfigLoader(folder)).run()
    monkeypatch.setenv("UICI_TEST_ANNA", "")
    with pytest.raises(ConfigurationError, match=r"anna|UICI_TEST_ANNA"):
        await Serving(UniversalConfigLoader(folder)).run()
    monkeypatch.delenv("UICI_TEST_ANNA")
    with pytest.raises(ConfigurationError, match="UICI_TEST_ANNA"):
        await Serving(UniversalConfigLoader(folder)).run()


async def test_refusals_are_counted_by_door_and_code(guarded: Door) -> None:
    await guarded.post(HOOK, payload(alert()), token="wrong")
    await guarded.post(HOOK, payload(alert()), token="reader")
    await guarded.get("/nothing", token="reader")
    _, text = await guarded.get("/metrics", token="prometheus")
    assert b'uici_http_refusals_total{door="post_alertmanager",code="unauthenticated"} 1' in text
    assert b'uici_http_refusals_total{door="post_alertmanager",code="permission"} 1' in text
    assert b'uici_http_refusals_total{door="none",code="not_found"} 1' in text
    assert b'uici_http_responses_total{door="post_alertmanager",status="403"} 1' in text


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
    ],
    ids=["TLS", "a long address", "a zero"],
)
async def test_what_is_no_http_is_counted_and_logged_without_a_traceback(
    guarded: Door, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = guarded.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.0 400 ")
    writer.close()
    _, text = await guarded.get("/metrics", token="prometheus")
    assert b'uici_http_refusals_total{door="none",code="http"} 1' in text
    assert b'uici_http_responses_total{door="none",status="400"} 1' in text
    logged = capfd.readouterr()
    assert "Traceback" not in logged.err + logged.out


async def test_an_error_of_our_own_is_500_and_says_nothing_of_itself(door: Door) -> None:
    async def broken(daemon: Daemon, request: web.Request, caller: Caller) -> web.StreamResponse:
        raise ZeroDivisionError("the secret inside")

    app = application(door.daemon, [Route(method="GET", path="/broken", handler=broken, summary="Breaks.")])
    async with TestServer(app) as server, door.session.get(server.make_url("/broken")) as response:
        said = await response.json(content_type="application/problem+json")
        assert (response.status, said["code"]) == (500, "internal")
        assert "secret" not in json.dumps(said)

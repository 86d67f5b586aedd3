"""An accepted post is answered past the router, and who asks cannot tell: the connection goes on or ends as they want."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.daemon.place import Door, alert, payload, serving

HOOK = "/webhooks/alertmanager"


async def _answer(door: Door, body: bytes, version: str, header: str) -> tuple[list[bytes], bytes, bool]:
    """The lines of the head but for date and length, the body, and whether the connection takes a second request."""
    where = urlsplit(door.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    lines = [f"POST {HOOK} {version}", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *([header] if header else []), "", ""]
    answers = []
    try:
        for _ in range(2):
            writer.write("\r\n".join(lines).encode() + body)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in head[1:-2])
            assert abs(parsedate_to_datetime(fields.pop(b"Date").decode()).timestamp() - time.time()) < 60
            said = await reader.readexactly(int(fields.pop(b"Content-Length")))
            answers.append(([head[0], *(b"%b: %b" % one for one in fields.items())], said))
    except (asyncio.IncompleteReadError, ConnectionError):
        return *answers[0], False
    finally:
        writer.close()
    assert answers[0] == answers[1]
    return *answers[0], True


@pytest.mark.parametrize(
    ("version", "header", "stays"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "Connection: close", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "Connection: keep-alive", True),
    ],
)
async def test_the_answer_made_beforehand_is_as_any_other(door: Door, version: str, header: str, stays: bool) -> None:
    said = await _answer(door, json.dumps(payload(alert())).encode(), version, header)
    assert said[1:] == (b'{"accepted":1,"refused":[]}', stays)
    head, body, more = await _answer(door, json.dumps(payload(alert(), {"labels": 1})).encode(), version, header)
    assert body.startswith(b'{"accepted":1,"refused":[{')
    assert (head, more) == (said[0], stays)


async def test_what_goes_past_the_router_is_counted_and_refused_as_at_any_door(catalog: Callable[..., Path]) -> None:
    async with serving(catalog(tokens=True)) as door:
        assert (await door.post(HOOK, payload(alert()), token="alertmanager"))[0] == 200
        assert (await door.post(HOOK, payload(alert()), token="wrong"))[0] == 401
        assert (await door.post(HOOK, {"alerts": 1}, token="alertmanager"))[0] == 422
        assert (await door.ask("GET", HOOK, token="alertmanager"))[0] == 405
        seen = door.daemon.counts.responses.values
    assert {key: seen[key] for key in seen if key[0] == "post_alertmanager"} == {
        ("post_alertmanager", "200"): 1,
        ("post_alertmanager", "401"): 1,
        ("post_alertmanager", "422"): 1,
    }

"""``/api/v1/events``: the journal as it becomes durable; whoever comes back misses nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from tests.daemon.place import Door, alert, payload

EVENTS = "/api/v1/events"


async def _events(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        id, kind = "", ""
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\n")
            if line.startswith("id: "):
                id = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
                assert (str(data["seq"]), data["kind"]) == (id, kind)
                found.append(data)
    return found


async def test_new_entries_come_as_they_become_durable(door: Door) -> None:
    async with door.session.get(door.url + EVENTS + "?kinds=alert") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        await response.content.readline()
        for number in range(3):
            await door.post("/webhooks/alertmanager", payload(alert(fingerprint=f"f{number}")))
        found = await _events(response, 3)
    assert [one["data"]["alert"]["fingerprint"] for one in found] == ["f0", "f1", "f2"]


async def test_last_event_id_goes_on_from_there(door: Door) -> None:
    for number in range(5):
        await door.post("/webhooks/alertmanager", payload(alert(fingerprint=f"f{number}")))
    entries = await door.daemon.journal.entries(kinds=["alert"])
    for how in ({"headers": {"Last-Event-ID": str(entries[1].seq)}}, {"params": {"after": str(entries[1].seq)}}):
        async with door.session.get(door.url + EVENTS + "?kinds=alert", **how) as response:  # type: ignore[arg-type]
            found = await _events(response, 3)
        assert [one["data"]["alert"]["fingerprint"] for one in found] == ["f2", "f3", "f4"]


async def test_of_one_request_from_its_beginning(door: Door) -> None:
    _, said = await door.post(
        "/api/v1/requests?wait=30s", {"operation": "restart_service", "parameters": {"service": "web"}}
    )
    async with door.session.get(f"{door.url}{EVENTS}?request={said['id']}") as response:
        found = await _events(response, 4)
    assert found[0]["kind"] == "request"
    assert {one["request"] for one in found} == {said["id"]}


async def test_followers_end_with_the_daemon(door: Door) -> None:
    async with door.session.get(door.url + EVENTS) as response:
        await response.content.readline()
        assert door.daemon.streams == 1
        door.serving.stop()
        async with asyncio.timeout(10):
            await response.content.read()


async def test_followers_are_bounded(door: Door) -> None:
    from uici.daemon.events import STREAMS

    responses = [await door.session.get(door.url + EVENTS) for _ in range(STREAMS)]
    status, said = await door.get(EVENTS)
    assert (status, said["code"]) == (503, "saturated")
    for response in responses:
        response.close()

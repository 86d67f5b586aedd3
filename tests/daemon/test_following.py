"""``/api/v1/requests/{id}/logs``: every line once to every follower, until the Request and its lines are at an end."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.daemon.place import TOKENS, Door, serving
from tests.engine.rehearsal import PLUGIN, write_world

SECONDS = 20.0
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["service"],
    "properties": {"service": {"type": "string"}},
}
_GET = {"call": "services.get", "with": {"name": "${target.name}"}, "as": "found"}
OPERATIONS: dict[str, Any] = {
    "service_status": {
        "summary": "Look.",
        "risk": "observe",
        "target": {"parameter": "service"},
        "parameters": _SERVICE,
        "returns": {"type": "object", "properties": {"image": {"type": "string"}}},
    },
    "work": {
        "summary": "Work until it is finished.",
        "risk": "change",
        "target": {"parameter": "service"},
        "parameters": _SERVICE,
        "returns": {"type": "object", "properties": {"image": {"type": "string"}}},
        "verify": {
            "operation": "service_status",
            "parameters": {"service": "${parameters.service}"},
            "expect": 'answer.image == "finished"',
            "within": "60s",
            "every": "10ms",
            "answers": True,
        },
    },
    "set_image": {"summary": "Set.", "risk": "change", "target": {"parameter": "service"}, "parameters": _SERVICE},
}
_SET = {"call": "found.set", "with": {"field": "image", "value": "working"}}
TRANSLATIONS: dict[str, Any] = {
    "service_status": {"rehearsal": {"steps": [_GET], "returns": {"image": "${found.image}"}}},
    "work": {
        "rehearsal": {
            "steps": [_GET, _SET],
            "returns": {"image": "working"},
            "logs": [_GET, {"call": "found.logs", "stream": True}],
        }
    },
    "set_image": {"rehearsal": {"steps": [_GET, _SET]}},
}


class Place:
    """The daemon and what the test says in its engine's name."""

    def __init__(self, door: Door, folder: Path) -> None:
        self.door, self.folder = door, folder

    def say(self, source: str, count: int, text: str = "line") -> None:
        with (self.folder / "logs" / source).open("a") as log:
            log.write("".join(f"{text} {number}\n" for number in range(count)))

    def finish(self) -> None:
        write_world(self.folder / "world.json", {"web": {"image": "finished"}})

    async def begin(self) -> str:
        status, said = await self.door.post("/api/v1/requests", {"operation": "work", "parameters": {"service": "web"}})
        assert status == 202
        # From here on it only waits: the world may be written by the test.
        async with self.door.session.get(f"{self.door.url}/api/v1/events?kinds=outcome&request={said['id']}") as events:
            async with asyncio.timeout(SECONDS):
                while not (await events.content.readline()).startswith(b"event: outcome"):
                    pass
        return str(said["id"])

    def follow(self, id: str, *, last: str = "", **query: str) -> Any:
        headers = {"Last-Event-ID": last} if last else {}
        return self.door.session.get(f"{self.door.url}/api/v1/requests/{id}/logs", headers=headers, params=query)


Event = dict[str, Any]


async def events(response: aiohttp.ClientResponse, count: int = -1) -> list[Event]:
    """So many, or all to the end; each with ``id`` (the last one that was said) and ``event``."""
    assert response.status == 200, await response.text()
    found: list[Event] = []
    id, kind = "", "message"
    async with asyncio.timeout(SECONDS):
        while len(found) != count and (line := (await response.content.readline()).decode()):
            if line.startswith("id: "):
                id = line[4:].rstrip("\n")
            elif line.startswith("event: "):
                kind = line[7:].rstrip("\n")
            elif line.startswith("data: "):
                found.append({**json.loads(line[6:]), "id": id, "event": kind})
                kind = "message"
    return found


def texts(found: list[Event], source: str) -> list[str]:
    return [one["text"] for one in found if one.get("source") == source]


def lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def write_catalog(folder: Path, world: Path, *, tokens: bool = False) -> Path:
    server: dict[str, Any] = {"listen": "127.0.0.1:0"}
    if tokens:
        server["tokens"] = {
            name: {"token": "${env:UICI_TEST_" + name.upper() + "}", "may": may, "person": person}
            for name, (_, may, person) in TOKENS.items()
        }
    stage = {"executor": "rehearsal", "settings": {"world": str(world)}, "autonomy": "change"}
    files: dict[str, Any] = {
        "platform": {"journal": {"url": f"sqlite:///{folder.parent}/journal.db"}, "server": server},
        "environments": {"default": "stage", "environments": {"stage": stage}},
        "operations": {"operations": OPERATIONS},
        "command_translations": {"translations": TRANSLATIONS},
        "policies": {"protected": [], "blast_radius": [], "brakes": []},
    }
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **data}))
    return folder


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", PLUGIN)
    for name, (text, _, _) in TOKENS.items():
        monkeypatch.setenv(f"UICI_TEST_{name.upper()}", text)
    (tmp_path / "logs").mkdir()
    write_world(tmp_path / "world.json", {"web": {}})
    return tmp_path / "world.json"


@pytest.fixture
async def place(tmp_path: Path, world: Path) -> AsyncIterator[Place]:
    async with serving(write_catalog(tmp_path / "catalog", world)) as door:
        yield Place(door, tmp_path)


async def test_lines_come_while_it_runs_and_the_end_says_how_it_ended(place: Place) -> None:
    id = await place.begin()
    async with place.follow(id) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        place.say("fast.1", 3)
        first = await events(response, 3)
        assert [one["text"] for one in first] == lines(3)
        assert {(one["source"], one["name"], one["event"]) for one in first} == {("fast.1", "fast", "message")}
        place.say("slow.1", 2)
        assert texts(await events(response, 2), "slow.1") == lines(2)
        place.say("fast.1", 1, "last words")
        place.finish()
        *rest, end = await events(response)
    assert texts(rest, "fast.1") == ["last words 0"]
    assert (end["event"], end["status"], end["problem"]) == ("end", "done", None)
    _, result = await place.door.get(f"/api/v1/requests/{id}")
    assert result["answer"] == {"image": "finished"}, "what verify saw last is the answer"


async def test_who_comes_late_or_after_its_end_gets_everything(place: Place) -> None:
    id = await place.begin()
    place.say("a", 500)
    async with place.follow(id) as early:
        assert len(await events(early, 500)) == 500
        async with place.follow(id) as late:
            assert texts(await events(late, 500), "a") == lines(500)
        place.finish()
        assert [one["event"] for one in await events(early)] == ["end"]
    async with place.follow(id) as after:
        *found, end = await events(after)
        assert texts(found, "a") == lines(500)
        assert end["status"] == "done"


@pytest.mark.parametrize("sources", [1, 30], ids=["an id for each line", "an id for each piece"])
async def test_who_comes_back_gets_the_rest(place: Place, sources: int) -> None:
    """Cut off after any line; where many sources share a piece, only of that piece something may come again."""
    id = await place.begin()
    for number in range(sources):
        place.say(f"source-{number:02d}", 40)
    had: dict[str, list[str]] = {}
    last, seen = "", 0
    for cut in (1, 7, 250, 3):
        async with place.follow(id, last=last) as response:
            for one in await events(response, min(cut, 40 * sources - seen)):
                if one["id"] != last:
                    last = one["id"]
                had.setdefault(one["source"], []).append(one["text"])
        seen = sum(len(set(said)) for said in had.values())
    place.finish()
    async with place.follow(id, last=last) as response:
        for one in await events(response):
            if one["event"] != "end":
                had.setdefault(one["source"], []).append(one["text"])
    for said in had.values():
        assert sorted(set(said)) == sorted(lines(40))
        if sources == 1:
            assert said == lines(40)
    assert len(had) == sources


async def test_who_comes_back_to_another_daemon_gets_the_rest(tmp_path: Path, world: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", world)
    async with serving(catalog) as door:
        place = Place(door, tmp_path)
        id = await place.begin()
        place.say("a", 100)
        async with place.follow(id) as response:
            last = (await events(response, 60))[-1]["id"]
            door.serving.stop()
            assert all(one["event"] != "end" for one in await events(response)), "a daemon that stops is not its end"
    async with serving(catalog) as door:
        place = Place(door, tmp_path)
        place.say("a", 1, "more")
        async with place.follow(id, last=last) as response:
            again = asyncio.create_task(events(response, 41))
            assert texts(await again, "a") == [*lines(100)[60:], "more 0"]
        place.finish()


async def test_a_follower_that_does_not_read_slows_nobody(place: Place) -> None:
    id = await place.begin()
    async with place.follow(id) as stuck, place.follow(id) as quick:
        await events(stuck, 0)
        for _ in range(40):
            place.say("a", 1000, "x" * 200)
            assert len(await events(quick, 1000)) == 1000
        place.finish()
        assert [one["event"] for one in await events(quick)] == ["end"]
        *found, _ = await events(stuck)
        assert len(found) == 40_000


async def test_what_there_is_now(place: Place) -> None:
    id = await place.begin()
    place.say("a", 5)
    async with place.follow(id, follow="false") as response:
        *found, end = await events(response)
    assert texts(found, "a") == lines(5)
    assert (end["event"], end["status"]) == ("end", None)
    place.finish()


async def test_no_line_shows_a_secret(place: Place) -> None:
    id = await place.begin()
    with (place.folder / "logs" / "a").open("a") as log:
        log.write("login with password=hunter22\n")
    async with place.follow(id) as response:
        (one,) = await events(response, 1)
    assert "hunter22" not in one["text"]
    place.finish()


async def test_nothing_is_kept_of_those_who_have_gone(place: Place) -> None:
    id = await place.begin()
    place.say("a", 5)
    async with place.follow(id, follow="false") as response:
        await events(response)
    async with place.follow(id) as response:
        await events(response, 5)
    place.finish()
    async with place.follow(id) as response:
        await events(response)
    async with asyncio.timeout(SECONDS):
        while place.door.daemon.streams:  # noqa: ASYNC110 - a connection that closes tells nobody here
            await asyncio.sleep(0.01)
    gc.collect()
    assert list(place.door.daemon.infrastructure._core.feeds) == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing/logs", 404, "not_found"),
        ("{id}/logs?after=nonsense", 422, "schema"),
        ("{id}/logs?after=abcdefgh=1,x", 422, "schema"),
        ("{id}/logs?follow=maybe", 422, "schema"),
        ("{other}/logs", 404, "no_logs"),
    ],
)
async def test_what_cannot_be_followed_is_said(place: Place, path: str, status: int, code: str) -> None:
    id = await place.begin()
    place.finish()
    asked = {"operation": "set_image", "parameters": {"service": "web"}}
    _, other = await place.door.post("/api/v1/requests?wait=20s", asked)
    found, said = await place.door.get(f"/api/v1/requests/{path.format(id=id, other=other['id'])}")
    assert (found, said["code"]) == (status, code)


async def test_a_cursor_that_never_was_harms_nobody_else(place: Place) -> None:
    """Whoever says to have had what nobody said yet gets nothing of that source; others get everything."""
    from uici.engine.feed import digest

    id = await place.begin()
    async with place.follow(id, last=f"{digest('a')}=999999999") as liar, place.follow(id) as honest:
        place.say("a", 10)
        assert texts(await events(honest, 10), "a") == lines(10)
        place.finish()
        assert [one["event"] for one in await events(liar)] == ["end"]


async def test_followers_need_observe_and_are_bounded(tmp_path: Path, world: Path) -> None:
    from uici.daemon.events import STREAMS

    async with serving(write_catalog(tmp_path / "catalog", world, tokens=True)) as door:
        asked = {"operation": "work", "parameters": {"service": "web"}}
        _, said = await door.post("/api/v1/requests", asked, token="anna")
        path = f"/api/v1/requests/{said['id']}/logs"
        assert (await door.get(path))[0] == 401
        assert (await door.get(path, token="alertmanager"))[0] == 403
        headers = {"Authorization": f"Bearer {TOKENS['reader'][0]}"}
        responses = [await door.session.get(door.url + path, headers=headers) for _ in range(STREAMS)]
        status, problem = await door.get(path, token="reader")
        assert (status, problem["code"]) == (503, "saturated")
        for response in responses:
            response.close()
        write_world(world, {"web": {"image": "finished"}})

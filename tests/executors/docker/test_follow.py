"""What goes on by itself: lines of a log with a cursor, and events that wake whoever waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call, opened
from uici.executor import Executor, Line, Target
from uici.model import UnreachableError
from uici_executors.docker.follow import LINE, _followed
from uici_executors.docker.reads import Reads

pytestmark = pytest.mark.engine("docker")


def followers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "uici-docker-follower"]


async def test_lines_and_where_to_go_on(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "for i in 1 2 3; do echo line $i; done"]).wait()
    [web] = await executor.locate(Target(kind="service", name="web"))
    lines = [line async for line in executor.stream(call("Container.logs", web))]
    assert [line.text for line in lines] == ["line 1", "line 2", "line 3"]
    assert {line.source for line in lines} == {"web"}
    assert sorted(line.cursor for line in lines) == [line.cursor for line in lines]


async def test_following_ends_with_its_reader(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "trap 'exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"])
    [web] = await executor.locate(Target(kind="service", name="web"))
    seen: list[Line] = []
    lines = executor.stream(call("Container.logs", web, follow=True))
    async for line in lines:
        seen.append(line)
        if len(seen) == 3:
            break
    await lines.aclose()  # type: ignore[attr-defined]
    assert [line.text for line in seen] == ["0", "1", "2"]
    for thread in followers():
        await asyncio.to_thread(thread.join, 10)
    assert followers() == []


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo -n end"]).wait()
    [web] = await executor.locate(Target(kind="service", name="web"))
    everything = [line async for line in executor.stream(call("Container.logs", web))]
    assert [line.text for line in everything] == [f"line {number}" for number in range(500)] + ["end"]
    for had in (1, 250, 499, 501):
        mark = {"web": everything[had - 1].cursor}
        again = executor.stream(call("Container.logs", web), after=lambda source, mark=mark: mark[source])
        assert [line async for line in again] == everything[had:]


async def test_of_a_line_without_an_end_its_beginning_is_kept(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after"]).wait()
    [web] = await executor.locate(Target(kind="service", name="web"))
    long, after = [line async for line in executor.stream(call("Container.logs", web))]
    assert LINE - 100 < len(long.text) <= LINE
    assert after.text == "after"


async def test_its_end_gives_what_is_left(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; sleep 600"])
    [web] = await executor.locate(Target(kind="service", name="web"))
    until, seen = asyncio.Event(), []
    async with asyncio.timeout(30):
        async for line in executor.stream(call("Container.logs", web, follow=True), until=until):
            seen.append(line.text)
            if line.text == "line 499":
                until.set()
    assert seen == [f"line {number}" for number in range(500)]
    for thread in followers():
        await asyncio.to_thread(thread.join, 10)
    assert followers() == []


async def test_events_of_a_container_and_of_its_successor(docker: Docker, executor: Executor) -> None:
    docker.run("web")
    docker.run("other")
    [web] = await executor.locate(Target(kind="service", name="web"))
    changes = executor.watch([web])
    waiting = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(20):
        while not waiting.done():  # the subscription has no sign of its own; what happens before it is not seen
            docker.client.api.pause("other")
            docker.client.api.unpause("other")
            docker.client.api.pause("web")
            docker.client.api.unpause("web")
            await asyncio.sleep(0.02)
    assert (await waiting).resource == web
    docker.client.api.remove_container("web", force=True)
    docker.create("web")
    async with asyncio.timeout(10):
        async for change in changes:
            if change.what == "create":  # another container of the same name: the same service
                assert change.resource == web
                break
    await changes.aclose()  # type: ignore[attr-defined]


async def test_a_follower_whose_reader_is_gone_before_it_asks(docker: Docker) -> None:
    """A verification may end at once: nothing of its watch stays."""
    began, gate, reads = threading.Event(), threading.Event(), Reads(docker.settings)
    client = await reads.client()

    def start() -> Iterable[Any]:
        began.set()
        gate.wait(10)
        events: Iterable[Any] = client.api.events(decode=True)
        return events

    waiting = asyncio.ensure_future(anext(_followed(start, 600, reads.base_url)))
    assert await asyncio.to_thread(began.wait, 10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    for thread in followers():
        await asyncio.to_thread(thread.join, 10)
    assert followers() == []
    await reads.close()


async def test_events_of_a_compose_service(docker: Docker, executor: Executor) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "cart"}
    docker.run("shop-cart-1", labels=labels)
    docker.run("shop-cart-2", labels=labels)
    [cart] = await executor.locate(Target(kind="service", name="cart"))
    changes = executor.watch([cart])
    waiting = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(20):
        while not waiting.done():
            docker.client.api.pause("shop-cart-2")
            docker.client.api.unpause("shop-cart-2")
            await asyncio.sleep(0.02)
    assert (await waiting).resource == cart
    await changes.aclose()  # type: ignore[attr-defined]


async def test_an_engine_that_goes_away_ends_the_watch(private: Docker) -> None:
    private.run("web")
    executor = await opened(private.settings)
    [web] = await executor.locate(Target(kind="service", name="web"))
    changes = executor.watch([web])
    waiting = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(20):
        while not waiting.done():
            private.client.api.pause("web")
            private.client.api.unpause("web")
            await asyncio.sleep(0.02)
    private.kill()
    with contextlib.suppress(UnreachableError):
        async for change in changes:
            assert change.resource == web
    assert followers() == []
    await executor.close()

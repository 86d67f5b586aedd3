"""An engine behind TCP: the same promises as over its socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call, opened
from uici.executor import Done, Rejected, Target, Unknown

pytestmark = pytest.mark.engine("docker")


class Relay:
    """A port that leads to the engine's socket. ``cut``: the next change gets through, and then the line is dead."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.cut = False
        self.port = 0
        self.server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more, and no connection stays."""
        if self.server is not None:
            self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._path)
        back = asyncio.create_task(self._pump(engine_reader, writer))
        try:
            while data := await reader.read(65536):
                engine_writer.write(data)
                await engine_writer.drain()
                if self.cut and data.startswith((b"POST", b"DELETE")):
                    break
        except OSError:
            pass  # the client is gone
        finally:
            back.cancel()
            for one in (writer, engine_writer):
                one.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def relay(docker: Docker) -> AsyncIterator[Relay]:
    running = Relay(docker.base_url.removeprefix("unix://"))
    await running.start()
    yield running
    await running.stop()


@pytest.mark.parametrize("path", ["replacement.discard", "api.create_container_from_config"])
async def test_a_call_that_looks_before_it_changes_is_in_doubt_all_the_same(
    docker: Docker, relay: Relay, path: str
) -> None:
    """What it looks at (what is to be discarded, the values of variables) is another exchange than what it changes."""
    old = docker.create(f"{docker.name(path.partition('.')[0])}.uici-old-x", environment={"PASSWORD": "x"})
    executor = await opened({"base_url": f"tcp://127.0.0.1:{relay.port}"})
    await executor.engine_id()
    relay.cut = True
    config = {
        "Image": docker.image(),
        "Env": [f"PASSWORD=${{docker:{old.id}:PASSWORD}}"],
        "HostConfig": {"NetworkMode": "none"},
    }
    arguments = {
        "replacement.discard": {"container_id": old.id},
        "api.create_container_from_config": {"config": config, "name": "new"},
    }[path]
    outcome = await executor.run(call(path, **arguments))
    assert isinstance(outcome, Unknown), outcome
    await executor.close()
    for one in docker.client.containers.list(all=True, filters={"name": "new"}):
        one.remove()


async def test_tcp(docker: Docker, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # no proxy stands between UICI and an engine
    docker.run("web")
    executor = await opened({"base_url": f"tcp://127.0.0.1:{relay.port}"})
    [web] = await executor.locate(Target(kind="service", name="web"))
    assert (await executor.resolve(call("Container.restart", web))).unknown is None
    assert await executor.run(call("Container.restart", web, timeout=2)) == Done(answer=None)
    relay.cut = True
    outcome = await executor.run(call("Container.restart", web, timeout=2))
    assert isinstance(outcome, Unknown), outcome
    relay.cut = False
    await relay.stop()
    async with asyncio.timeout(10):
        while not isinstance(outcome, Rejected):  # the connections that it had are used up first
            outcome = await executor.run(call("Container.start", web))
    assert outcome.reason == "unreachable"
    await executor.close()

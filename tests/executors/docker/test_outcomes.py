"""What an error proves: rejected only where nothing was done; unknown for all else. And no wait without a bound."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from pathlib import Path
from typing import Any

import docker.errors
import pytest
import requests

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call, opened
from uici.executor import Done, Executor, Rejected, Target, Unknown
from uici.model import Resource, UnreachableError
from uici_executors.docker import reads
from uici_executors.docker.connection import Exchange
from uici_executors.docker.outcomes import outcome as outcome_of

pytestmark = pytest.mark.engine("docker")


async def one(executor: Executor, name: str) -> Resource:
    [found] = await executor.locate(Target(kind="container", name=name))
    return found


async def test_done(docker: Docker, executor: Executor) -> None:
    docker.create("web")
    web = await one(executor, "web")
    assert await executor.run(call("Container.start", web)) == Done(answer=None)
    got = await executor.run(call("containers.get", container_id=web.id))
    assert isinstance(got, Done)
    assert got.resources == (web,)
    assert (got.answer["id"], got.answer["name"], got.answer["status"]) == (web.id, "web", "running")
    # Times compare as text, whatever zeros Go leaves out.
    assert len(got.answer["State"]["StartedAt"]) == len("2026-01-01T00:00:00.000000000Z")


@pytest.mark.parametrize(
    ("path", "arguments", "reason", "error"),
    [
        ("containers.get", {"container_id": "nope"}, "unknown_target", "NotFound"),
        ("images.get", {"name": "nope:1"}, "unknown_target", "ImageNotFound"),
        ("containers.create", {"image": "nope:1"}, "unknown_target", "ImageNotFound"),
        ("containers.create", {"image": "uici-test/busybox:1", "command": "sh", "name": "web"}, "conflict", "APIError"),
        ("containers.create", {"image": "uici-test/busybox:1", "memory": 1}, "executor", "TypeError"),
        ("containers.create", {"image": "uici-test/busybox:1", "mem_limit": "1x"}, "executor", "DockerException"),
        ("containers.fly", {}, "executor", "AttributeError"),
        ("api.rename", {"container": "nope", "name": "x"}, "unknown_target", "NotFound"),
        ("networks.get", {"network_id": "nope"}, "unknown_target", "NotFound"),
        ("containers.get", {"container_id": "../images/x"}, "executor", "ValueError"),
        ("images.remove", {"image": "ID"}, "conflict", "APIError"),
        ("api.remove_container", {"container": "runs"}, "conflict", "APIError"),
        ("images.remove", {"image": "x/../../containers/web"}, "executor", "ValueError"),
    ],
)
async def test_rejected(
    docker: Docker, executor: Executor, path: str, arguments: dict[str, Any], reason: str, error: str
) -> None:
    docker.create("web")
    if arguments.get("container") == "runs":
        docker.run("runs")
    if arguments.get("image") == "ID":  # by a name it would only lose that name, where it has others
        arguments = {"image": docker.client.images.get(docker.image()).id}
    outcome = await executor.run(call(path, **arguments))
    assert isinstance(outcome, Rejected), outcome
    assert (outcome.reason, error in outcome.errors) == (reason, True), outcome


async def test_a_container_that_is_gone(docker: Docker, executor: Executor) -> None:
    docker.create("web").remove()
    docker.create("web2")
    web = await one(executor, "web2")
    docker.client.containers.get("web2").remove()
    for method in ("restart", "start", "stop", "remove", "kill", "pause", "rename"):
        given = {"name": "x"} if method == "rename" else {}
        outcome = await executor.run(call(f"Container.{method}", web, **given))
        assert isinstance(outcome, Rejected), (method, outcome)
        assert outcome.reason == "unknown_target"


async def test_a_restart_that_stops_and_then_cannot_start_is_not_rejected(
    docker: Docker, executor: Executor, tmp_path: Path
) -> None:
    """Docker answers a restart with an error after it has stopped the container: something was done."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n")
    program.chmod(0o755)
    docker.run("web", ["/at/program"], volumes={str(tmp_path): {"bind": "/at", "mode": "ro"}})
    program.unlink()
    outcome = await executor.run(call("Container.restart", await one(executor, "web"), timeout=2))
    assert isinstance(outcome, Unknown), outcome
    assert docker.client.containers.get("web").status == "exited"


async def test_a_call_of_several_requests_that_fails_half_way_is_unknown(docker: Docker, executor: Executor) -> None:
    outcome = await executor.run(
        call("containers.run", image=docker.image(), command=["/no/such"], name="web", detach=True, network_mode="none")
    )
    assert isinstance(outcome, Unknown), outcome
    docker.client.containers.get("web").remove()


async def test_nobody_listens(docker: Docker) -> None:
    executor = await opened({"base_url": "unix:///nowhere/docker.sock"})
    with pytest.raises(UnreachableError, match=r"at unix:///nowhere/docker\.sock does not answer"):
        await executor.locate(Target(kind="service", name="web"))
    outcome = await executor.run(call("containers.create", image="x"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "unreachable"
    assert (await executor.health()).ok is False
    await executor.close()


@pytest.mark.parametrize("url", ["tcp://anna:hunter2@127.0.0.1:9", "tcp://anna:hun/ter2@[::1]:nine"])
async def test_a_login_in_the_address_is_not_shown(url: str) -> None:
    executor = await opened({"base_url": url})
    said = [(await executor.health()).message, executor.permissions([])[0].name]
    outcome = await executor.run(call("containers.create", image="x"))
    said.append(outcome.message if isinstance(outcome, Rejected) else repr(outcome))
    await executor.close()
    for one in said:
        assert "tcp://" in one, "where that is"
        assert "anna" not in one
        assert "ter2" not in one


async def test_a_dead_engine_and_its_return(private: Docker) -> None:
    private.create("web")
    executor = await opened(private.settings)
    web, engine = await one(executor, "web"), await executor.engine_id()
    private.kill()
    with pytest.raises(UnreachableError):
        await executor.resolve(call("Container.restart", web))
    for path in ("Container.start", "Container.restart"):
        outcome = await executor.run(call(path, web))
        assert isinstance(outcome, Rejected), "nothing can have been sent to an engine that refuses connections"
        assert outcome.reason == "unreachable"
    private.start()
    assert await executor.engine_id() == engine
    assert isinstance(await executor.run(call("Container.start", web)), Done)
    await executor.close()


async def test_a_frozen_engine_is_a_doubt_within_the_timeout(private: Docker) -> None:
    private.run("web")
    executor = await opened(private.settings)
    web = await one(executor, "web")
    private.freeze()
    began = time.monotonic()
    outcome = await executor.run(call("Container.restart", web, 1.0))
    assert isinstance(outcome, Unknown), outcome
    look = await executor.run(call("containers.get", None, 0.5, container_id=web.id))
    assert isinstance(look, Rejected), "an observe call that got no answer has changed nothing"
    assert look.reason == "unreachable"
    assert time.monotonic() - began < 10
    private.thaw()
    await executor.close()


async def test_an_engine_that_dies_during_a_call(private: Docker) -> None:
    private.run("web", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    executor = await opened(private.settings)
    web = await one(executor, "web")
    stopping = asyncio.create_task(executor.run(call("Container.stop", web, 30.0)))
    async for change in executor.watch([web]):
        if change.what == "kill":  # it was asked to end, and the call waits for it
            break
    private.kill()
    outcome = await stopping
    assert isinstance(outcome, Unknown), outcome
    await executor.close()


async def test_a_command_that_never_ends_is_bounded(docker: Docker, executor: Executor) -> None:
    docker.run("web")
    web = await one(executor, "web")
    outcome = await executor.run(call("Container.exec_run", web, 0.5, cmd=["sleep", "60"]))
    assert isinstance(outcome, Unknown), outcome


@pytest.mark.parametrize("path", ["Container.exec_run", "Container.logs"])
async def test_what_is_printed_without_an_end_does_not_fill_the_memory(
    docker: Docker, executor: Executor, path: str
) -> None:
    much = ["sh", "-c", "yes $(printf %08000d 1) | head -c 40000000; echo; echo the end; exit 3"]
    docker.run("web", *([much] if path.endswith("logs") else ()))
    web = await one(executor, "web")
    if path.endswith("logs"):
        docker.client.containers.get("web").wait()
    tracemalloc.start()
    try:
        outcome = await executor.run(call(path, web, 60.0, **({} if path.endswith("logs") else {"cmd": much})))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, Done), outcome
    output = outcome.answer if path.endswith("logs") else outcome.answer["output"]
    assert output.endswith("the end\n")
    assert len(output) <= 1_000_000
    assert path.endswith("logs") or outcome.answer["exit_code"] == 3
    assert most < 12_000_000, most


@pytest.mark.parametrize(
    ("status", "proves"),
    [(400, True), (404, True), (409, True), (408, False), (499, False), (500, False), (503, False)],
)
def test_what_an_answer_proves(status: int, proves: bool) -> None:
    """Docker says neither 408 nor 499: something in between gave up, whatever the engine did."""
    response = requests.Response()
    response.status_code = status
    error = docker.errors.APIError("it says", response=response, explanation="it says")
    found = outcome_of(error, Exchange(1), call("Container.stop"), "unix:///s", observe=False)
    assert isinstance(found, Rejected if proves else Unknown)


async def test_looks_do_not_wait_for_calls(docker: Docker) -> None:
    docker.run("web", ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 1 & wait $!; done"])
    executor = await opened({**docker.settings, "threads": 1})
    web = await one(executor, "web")
    stopping = asyncio.create_task(executor.run(call("Container.stop", web, timeout=20)))
    async for change in executor.watch([web]):
        if change.what == "kill":
            break
    assert isinstance(await executor.run(call("containers.get", container_id=web.id)), Done)
    assert not stopping.done()
    assert isinstance(await stopping, Done)
    await executor.close()


async def test_a_look_of_many_reads_has_an_end(
    docker: Docker, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await executor.engine_id()
    monkeypatch.setattr(reads, "LOOK", 0.0)
    with pytest.raises(UnreachableError, match="too long"):
        await executor.locate(Target(kind="service", name="web"))


async def test_ten_restarts_at_once_take_no_turns(docker: Docker, executor: Executor) -> None:
    """All ten are under way before the first is done: the containers take a second each to stop."""
    slow = ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 1 & wait $!; done"]
    webs = []
    for number in range(10):
        docker.run(f"web-{number}", slow)
        webs.append(await one(executor, f"web-{number}"))
    events: list[str] = []

    async def follow() -> None:
        async for change in executor.watch(webs):
            events.append(change.what)
            if events.count("start") == 10:
                return

    following = asyncio.create_task(follow())
    first = docker.client.containers.get("web-0")
    while not events:  # the engine reports what comes after the watch stands, and that takes a moment
        await asyncio.to_thread(first.update, cpu_shares=512)
        await asyncio.sleep(0.01)
    outcomes = await asyncio.gather(*(executor.run(call("Container.restart", web, timeout=20)) for web in webs))
    assert outcomes == [Done(answer=None)] * 10
    await asyncio.wait_for(following, 20)
    assert events.index("start") > [at for at, what in enumerate(events) if what == "kill"][9]


async def test_cancelling_waits_for_the_end_of_the_call(docker: Docker, executor: Executor) -> None:
    docker.run("web", ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 1 & wait $!; done"])
    web = await one(executor, "web")
    task = asyncio.create_task(executor.run(call("Container.stop", web, timeout=20)))
    async for change in executor.watch([web]):
        if change.what == "kill":
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert docker.client.containers.get("web").status == "exited"


NO_BODY = b"Content-Length: 0\r\n\r\n"
ANSWERS = {
    "done": (b"HTTP/1.1 204 No Content\r\n\r\n", Done),
    "it is as it should be": (b"HTTP/1.1 304 Not Modified\r\n\r\n", Done),
    "gone": (b'HTTP/1.1 404 Not Found\r\nContent-Length: 28\r\n\r\n{"message":"No such thing 1"}', Rejected),
    "elsewhere": (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n" + NO_BODY, Unknown),
    "it failed": (b"HTTP/1.1 500 Internal Server Error\r\n" + NO_BODY, Unknown),
    "a gateway gave up": (b"HTTP/1.1 504 Gateway Timeout\r\n" + NO_BODY, Unknown),
    "no answer": (b"", Unknown),
    "half an answer": (b"HTTP/1.1 204 No", Unknown),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_is_answered_to_a_change(name: str, tmp_path: Path) -> None:
    """By an engine or by what stands before it; it is asked once, whatever the answer is."""
    answer, expected = ANSWERS[name]
    asked: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if answer.endswith((b"\n", b"}")):
            await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    listening = await asyncio.start_unix_server(serve, tmp_path / "s")
    executor = await opened({"base_url": f"unix://{tmp_path}/s", "api_version": "1.41"})
    web = Resource(engine="e", kind="container", id="1" * 64, name="web", names=("web", "1" * 64), owner="web")
    outcome = await executor.run(call("Container.stop", web, timeout=2))
    await executor.close()
    await asyncio.wait_for(ended.wait(), 10)
    listening.close()
    await listening.wait_closed()
    assert isinstance(outcome, expected), outcome
    assert [line.split(b" HTTP")[0] for line in asked] == [b"POST /v1.41/containers/" + b"1" * 64 + b"/stop?t=2"]

"""A server that hangs up after it has read a change, or fails then: that is sent once, and what became of it is not known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.executor import Done, Rejected, Unknown
from uici.model import Call, Risk
from uici_executors.kubernetes import calls
from uici_executors.kubernetes.connection import Server

WEB = {"name": "web", "namespace": "shop"}
SPEC = {
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}},
}


class HangingUp:
    """Answers as many requests as ``answers`` says, on kept connections, and then hangs up on each that it has read.
    ``status``: of its answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = "200 OK"
        self.connections = self.answers = self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
                if length:
                    await reader.readexactly(int(length[0].partition(":")[2]))
                self.asked.append(head.split(" ")[0])
                if len(self.asked) > self.answers:
                    return
                body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Success"}).encode()
                said = (
                    f"HTTP/1.1 {self.status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(said.encode() + body)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def api() -> AsyncIterator[HangingUp]:
    found = HangingUp()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(30):
        yield found
    server.close()
    await server.wait_closed()


@pytest.fixture
async def server(api: HangingUp, tmp_path: Path) -> AsyncIterator[Server]:
    cluster = {"name": "k", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}
    context = {"name": "k", "context": {"cluster": "k", "user": "anna"}}
    whole = {"clusters": [cluster], "contexts": [context], "users": [{"name": "anna", "user": {"token": "t"}}]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "k", **whole}))
    found = Server({"kubeconfig": str(path)})
    yield found
    await found.close()


def call(path: str, **arguments: Any) -> Call:
    return Call(on=None, path=path, arguments={**WEB, **arguments}, risk=Risk.DESTROY, timeout=10)


CHANGES = [
    ("DELETE", call("CoreV1Api.delete_namespaced_pod")),
    ("DELETE", call("AppsV1Api.delete_namespaced_deployment", body={"preconditions": {"uid": "u"}})),
    ("PUT", call("AppsV1Api.replace_namespaced_deployment", body={"metadata": {"name": "web"}, "spec": SPEC})),
    ("PATCH", call("AppsV1Api.patch_namespaced_deployment", body={"spec": {"paused": True}})),
    ("POST", call("CoreV1Api.create_namespaced_pod_eviction", body={"metadata": {"name": "web"}})),
]


@pytest.mark.parametrize("answers", [0, 1], ids=["a new connection", "a kept connection"])
@pytest.mark.parametrize(("method", "change"), CHANGES, ids=[one.path for _, one in CHANGES])
async def test_a_change_is_sent_once(api: HangingUp, server: Server, method: str, change: Call, answers: int) -> None:
    api.answers = answers
    for _ in range(answers):
        assert isinstance(await calls.run(server, CHANGES[0][1]), Done)
    outcome = await calls.run(server, change)
    assert isinstance(outcome, Unknown), outcome
    assert "may have been done" in outcome.message
    assert api.asked == ["DELETE"] * answers + [method]
    assert api.connections == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "504 Gateway Timeout"])
@pytest.mark.parametrize(("method", "change"), CHANGES, ids=[one.path for _, one in CHANGES])
async def test_a_change_that_fails_at_the_server_is_sent_once(
    api: HangingUp, server: Server, method: str, change: Call, status: str
) -> None:
    api.answers, api.status = 100, status
    outcome = await calls.run(server, change)
    assert isinstance(outcome, Unknown), outcome
    assert api.asked == [method]


async def test_where_nobody_listens_nothing_was_sent(api: HangingUp, server: Server) -> None:
    nobody = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()
    (await server.client()).configuration.host = f"http://127.0.0.1:{port}"
    outcome = await calls.run(server, CHANGES[0][1])
    assert isinstance(outcome, Rejected), outcome
    assert outcome.reason == "unreachable"
    assert api.asked == []

"""What is still under way when nobody waits for it any more does not come true later: the API server itself gives up on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import manifest, ready
from uici.executor import Unknown
from uici.model import Call, Environment, Risk
from uici_executors.kubernetes import KubernetesExecutor, deadline

WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
PATH = "https://server/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.mark.parametrize(
    ("method", "url", "seconds", "added"),
    [
        ("PATCH", PATH, 60.0, "?timeout=59000ms"),
        ("PATCH", f"{PATH}?fieldManager=uici", 60.0, "&timeout=59000ms"),
        ("DELETE", PATH, 1, "?timeout=500ms"),
        ("POST", PATH.removesuffix("/web"), 300.0, "?timeout=299000ms"),
        ("GET", PATH, 60.0, ""),
        ("PATCH", PATH, None, ""),
        ("POST", "https://server/api/v1/namespaces/shop/services/web/proxy/login", 60.0, ""),
        ("PUT", "https://server/api/v1/nodes/node-1/proxy", 60.0, ""),
        ("POST", "https://server/api/v1/namespaces/shop/pods/web-1/exec?command=ls", 60.0, ""),
        ("PATCH", "https://server/apis/apps/v1/namespaces/proxy/deployments/web", 60.0, ""),
    ],
)
def test_a_change_tells_how_long_it_may_take(method: str, url: str, seconds: Any, added: str) -> None:
    assert deadline.told(method, url, seconds) == url + added


class Gateway:
    """Passes on what comes to it, and holds on to the API server when its client is gone."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self.shut = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._to)
        self._writers += [writer, to_server]
        for source, aim, keeps in ((reader, to_server, True), (from_server, writer, False)):
            task = asyncio.create_task(self._passed(source, aim, keeps))
            self._tasks.add(task)

    async def _passed(self, source: asyncio.StreamReader, aim: asyncio.StreamWriter, keeps: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if keeps and self.shut.is_set():
                    continue  # that it is gone is told to nobody
                aim.write(data)
                await aim.drain()
        if not keeps:
            aim.close()

    async def end(self) -> None:
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(one.wait_closed() for one in self._writers), return_exceptions=True)


class Hanging:
    """An admission webhook that takes a connection and says nothing. ``asked``, ``left``: the API server came, and went."""

    def __init__(self) -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    async def end(self) -> None:
        """The API server keeps its connections; none of them outlives the test."""
        for writer in list(self._open):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        self._open.add(writer)
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                pass
        self.left.set()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._open.discard(writer)


@pytest.fixture
async def hanging(cluster: Cluster, namespace: str) -> AsyncIterator[Hanging]:
    """Asked before each change of a Deployment in the namespace; what it does not answer within seven seconds is let through."""
    one = Hanging()
    listening = await asyncio.start_server(one.taken, "0.0.0.0", 0)
    port = listening.sockets[0].getsockname()[1]
    name = f"hanging-{namespace}"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    webhook = {
        "name": "hanging.uici.test",
        "clientConfig": {"url": f"https://{cluster.host}:{port}/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Ignore",
        "timeoutSeconds": 7,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    api = "admissionregistration.k8s.io/v1"
    cluster.apply(
        {"apiVersion": api, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": [webhook]}
    )
    try:
        yield one
    finally:
        await asyncio.to_thread(cluster.kubectl, "delete", "validatingwebhookconfiguration", name)
        listening.close()
        await one.end()


@pytest.mark.engine("kubernetes")
async def test_what_nobody_waits_for_any_more_does_not_come_true(
    cluster: Cluster, namespace: str, hanging: Hanging, tmp_path: Path
) -> None:
    cluster.apply(manifest(WEB), namespace=namespace)
    await asyncio.to_thread(ready, cluster, namespace, WEB)
    host, _, port = cluster.api.removeprefix("https://").rpartition(":")
    gateway = Gateway(host, int(port))
    passing = await asyncio.start_server(gateway.taken, "127.0.0.1", 0)
    settings = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    entry = settings["clusters"][0]["cluster"]
    entry |= {"server": f"https://127.0.0.1:{passing.sockets[0].getsockname()[1]}", "tls-server-name": host}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(settings))
    executor = KubernetesExecutor()
    await executor.open(Environment.parse("k", {"executor": "kubernetes", "settings": {"kubeconfig": str(path)}}))
    try:
        outcome = await _asked(executor, namespace, hanging, gateway)
        assert isinstance(outcome, Unknown), outcome
        await asyncio.wait_for(hanging.left.wait(), 30)
        done = await asyncio.to_thread(_answered, cluster, namespace)
        assert done["responseStatus"]["code"] >= 500, done
        one = await asyncio.to_thread(cluster.get, "deployment", "web", f"--namespace={namespace}")
        assert "changed" not in one["metadata"].get("annotations", {})
    finally:
        await executor.close()
        passing.close()
        await gateway.end()


async def _asked(executor: KubernetesExecutor, namespace: str, hanging: Hanging, gateway: Gateway) -> object:
    """A change whose client gives up; a new webhook is asked some moments after it was made, so until then it is tried."""
    body = {"metadata": {"annotations": {"changed": "yes"}}}
    tried = {**body, "metadata": {"annotations": {"tried": "yes"}}}
    arguments = {"name": "web", "namespace": namespace}
    path = "AppsV1Api.patch_namespaced_deployment"
    while not hanging.asked.is_set():
        trying = Call(
            on=None, path=path, arguments={**arguments, "body": tried, "dry_run": "All"}, risk=Risk.CHANGE, timeout=1
        )
        await executor.run(trying)
    hanging.asked.clear()
    hanging.left.clear()
    call = Call(on=None, path=path, arguments={**arguments, "body": body}, risk=Risk.CHANGE, timeout=4)
    running = asyncio.ensure_future(executor.run(call))
    await asyncio.wait_for(hanging.asked.wait(), 30)
    gateway.shut.set()
    return await running


def _answered(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """What the API server says of the change, once it is over."""
    while True:
        for one in cluster.requests():
            about = one.get("objectRef") or {}
            if (one["verb"], about.get("namespace"), about.get("name")) == ("patch", namespace, "web") and (
                "dryRun" not in one["requestURI"] and "uici" in one["requestURI"] and one["stage"] == "ResponseComplete"
            ):
                return one

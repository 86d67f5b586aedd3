"""Watches on a real API server: who is woken, and that nothing that ends one makes it miss a change."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.engines.kubernetes import BUSYBOX, Cluster
from uici.executor import Target
from uici.model import UnreachableError
from uici_executors.kubernetes import KubernetesExecutor, watch
from uici_executors.kubernetes.connection import Server

pytestmark = pytest.mark.engine("kubernetes")
SECONDS = 60.0


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[Server]:
    one = Server({"kubeconfig": str(cluster.kubeconfig)})
    yield one
    await one.close()


def deployment(name: str = "web", replicas: int = 1) -> dict[str, Any]:
    container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "600"]}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": "test"}}, "data": data}


async def until(events: AsyncIterator[watch.Event], what: str, name: str = "") -> watch.Event:
    async with asyncio.timeout(SECONDS):
        async for event in events:
            if event.what == what and (not name or event.objects[0]["metadata"]["name"] == name):
                return event
    raise AssertionError("it ended")


def of_maps(server: Server, namespace: str) -> AsyncGenerator[watch.Event, None]:
    return watch.objects(server, f"/api/v1/namespaces/{namespace}/configmaps", {"labelSelector": "of=test"})


async def test_a_change_of_a_service_and_of_its_pods_wakes(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    await asyncio.to_thread(cluster.apply, deployment(), namespace=namespace)
    (found,) = await executor.locate(Target(kind="service", name="web", namespace=namespace))
    seen: set[str] = set()
    async with asyncio.timeout(SECONDS), contextlib.aclosing(executor.watch([found])) as changes:
        async for changed in changes:
            assert changed.resource == found
            seen.add(" ".join(changed.what.split("/")[:1]))
            if seen == {"LISTED deployment", "LISTED pod"}:
                await asyncio.to_thread(cluster.kubectl, "scale", "deployment/web", "--replicas=2", f"-n{namespace}")
            if {"MODIFIED deployment", "ADDED pod", "MODIFIED pod"} <= seen:
                break


async def test_what_is_not_watched_does_not_wake(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    await asyncio.to_thread(cluster.apply, deployment("web"), deployment("other"), namespace=namespace)
    (found,) = await executor.locate(Target(kind="service", name="web", namespace=namespace))
    names: set[str] = set()
    async with asyncio.timeout(SECONDS), contextlib.aclosing(executor.watch([found])) as changes:
        async for changed in changes:
            names.add(changed.what.partition("/")[2])
            if changed.what.startswith("LISTED pod"):
                await asyncio.to_thread(cluster.kubectl, "scale", "deployment/other", "--replicas=3", f"-n{namespace}")
                await asyncio.to_thread(cluster.kubectl, "label", "deployment/web", "last=1", f"-n{namespace}")
                await asyncio.to_thread(cluster.kubectl, "delete", "deployment/web", f"-n{namespace}")
            if changed.what == "DELETED deployment/web":
                break
    assert not any(name.startswith("other") for name in names)


async def test_an_api_server_that_dies_is_watched_again(server: Server, cluster: Cluster, namespace: str) -> None:
    await asyncio.to_thread(cluster.apply, config_map("one"), namespace=namespace)
    events = of_maps(server, namespace)
    assert (await until(events, "LISTED")).objects[0]["metadata"]["name"] == "one"
    coming = asyncio.ensure_future(until(events, "ADDED", "two"))
    await asyncio.to_thread(cluster.kill)
    await asyncio.to_thread(cluster.wait_ready)
    await asyncio.to_thread(cluster.apply, config_map("two"), namespace=namespace)
    await coming
    await events.aclose()


async def test_what_is_no_longer_read_is_let_go_at_once(server: Server, cluster: Cluster, namespace: str) -> None:
    """A frozen server never says farewell: a connection that waited for it would outlive its loop."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with contextlib.ExitStack() as stack:
        async with server.reading(path, {"watch": "true"}, silence=SECONDS) as response:
            assert response.connection is not None
            assert response.connection.transport is not None
            connected = response.connection.transport.get_extra_info("socket")
            stack.enter_context(cluster.frozen())
        for _ in range(10):
            await asyncio.sleep(0)
        assert connected.fileno() == -1


class Between:
    """Stands between the client and the real API server and breaks what it is told to, as real ones do."""

    def __init__(self, cluster: Cluster) -> None:
        settings = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        self._to, self._token = settings["clusters"][0]["cluster"]["server"], settings["users"][0]["user"].get("token")
        self.watches: list[Mapping[str, str]] = []
        self.lists = 0
        self.answers: list[Any] = []
        self.open: list[web.StreamResponse] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Between]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._pass)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as self._session:
            yield self
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        watching = request.query.get("watch") == "true"
        if watching:
            self.watches.append(dict(request.query))
            if self.answers:
                answer = self.answers.pop(0)
                return await answer(request)  # type: ignore[no-any-return]
        elif "configmaps" in request.path:
            self.lists += 1
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        url = self._to + request.raw_path
        async with self._session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as response:
            passed = web.StreamResponse(status=response.status, headers={"Content-Type": response.content_type})
            await passed.prepare(request)
            try:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    async for chunk in response.content.iter_any():
                        await passed.write(chunk)
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()  # as `Server.reading` does
            return passed


@pytest.fixture
async def between(cluster: Cluster) -> AsyncIterator[Between]:
    async with Between(cluster).running() as one:
        yield one


def through(between: Between, cluster: Cluster) -> Server:
    """The same cluster by way of what stands between."""
    path = cluster.kubeconfig_with("unused")
    data = json.loads(path.read_text())
    data["clusters"][0]["cluster"] = {"server": between.url}
    path.write_text(json.dumps(data))
    return Server({"kubeconfig": str(path)})


async def _gone_410(request: web.Request) -> web.StreamResponse:
    return web.json_response({"kind": "Status", "reason": "Expired", "message": "too old", "code": 410}, status=410)


async def _error_410(request: web.Request) -> web.StreamResponse:
    status = {"kind": "Status", "reason": "Expired", "message": "too old resource version", "code": 410}
    return web.Response(text=json.dumps({"type": "ERROR", "object": status}) + "\n")


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"type":"ADDED","obj')
    if request.transport is not None:
        request.transport.close()
    return response


async def _away(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="not yet")


@pytest.mark.parametrize(
    ("broken", "lists"),
    [([_gone_410], 2), ([_error_410], 2), ([_cut_off, _away, _cut_off], 1), ([_away] * 4, 1)],
    ids=["410", "410 in the stream", "cut off", "away"],
)
async def test_a_watch_that_ends_misses_nothing(
    between: Between, cluster: Cluster, namespace: str, broken: list[Any], lists: int
) -> None:
    """What was made while nobody watched is there afterwards: listed anew, or watched from where it stood."""
    server = await asyncio.to_thread(through, between, cluster)
    await asyncio.to_thread(cluster.apply, config_map("one"), namespace=namespace)
    between.answers = list(broken)
    names: set[str] = set()
    events = of_maps(server, namespace)
    try:
        async with asyncio.timeout(SECONDS):
            async for event in events:
                if not names:
                    await asyncio.to_thread(cluster.apply, config_map("two"), namespace=namespace)
                names |= {one["metadata"]["name"] for one in event.objects}
                if names == {"one", "two"}:
                    break
        assert between.lists == lists
        assert all(one["allowWatchBookmarks"] == "true" for one in between.watches)
    finally:
        await events.aclose()
        await server.close()


async def test_a_watch_goes_on_from_its_last_bookmark(between: Between, cluster: Cluster, namespace: str) -> None:
    """A watch of a quiet kind would grow too old: bookmarks keep its place."""
    server = await asyncio.to_thread(through, between, cluster)

    async def marked(request: web.Request) -> web.StreamResponse:
        mark = {"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "12345678"}}}
        return web.Response(text=json.dumps(mark) + "\n")

    between.answers = [marked, _away, _error_410]
    events = of_maps(server, namespace)
    try:
        await until(events, "LISTED")
        await until(events, "LISTED")
        assert [one["resourceVersion"] == "12345678" for one in between.watches] == [False, True, True]
    finally:
        await events.aclose()
        await server.close()


async def test_what_may_not_be_watched_ends_it(cluster: Cluster, namespace: str) -> None:
    await asyncio.to_thread(cluster.kubectl, "create", "serviceaccount", "nobody", f"--namespace={namespace}")
    kubeconfig = await asyncio.to_thread(cluster.kubeconfig_for, "nobody", namespace)
    server = Server({"kubeconfig": str(kubeconfig)})
    try:
        with pytest.raises(UnreachableError, match="forbidden"):
            await until(of_maps(server, namespace), "LISTED")
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ({"matchLabels": {"a": "1", "b": "2"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, "a in (1,2)"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, "a notin (1)"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]}, "a,!b"),
        ({}, ""),
    ],
)
def test_selectors_as_the_api_takes_them(of: Mapping[str, Any], text: str) -> None:
    assert watch.selector(of) == text

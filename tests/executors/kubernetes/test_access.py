"""Where a login leads and who answers there: always the cluster that is known, and never somebody in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from uici.executor import Done, Rejected, Unknown
from uici.model import Call, Environment, Risk, UnreachableError
from uici_executors.kubernetes import KubernetesExecutor
from uici_executors.kubernetes.connection import Server

WEB = {"name": "web", "namespace": "shop"}


class Api:
    """Answers what a look at one Deployment needs. ``instead``: what answers every other request."""

    def __init__(self, uid: str) -> None:
        self.uid, self.expired, self.url = uid, False, ""
        self.asked: list[tuple[str, str]] = []
        self.instead: dict[str, Any] = {"status": 404, "text": "404 page not found"}

    async def start(self) -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        if self.expired:
            return web.json_response({"kind": "Status", "reason": "Unauthorized"}, status=401)
        if request.method == "GET" and request.path.endswith(("/deployments/web", "/namespaces/kube-system")):
            metadata = {"name": "web", "namespace": "shop", "uid": self.uid, "resourceVersion": "1"}
            whole = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata, "spec": {"replicas": 1}}
            return web.json_response(whole)
        if "json" in self.instead:
            return web.json_response(self.instead["json"])
        return web.Response(**self.instead)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    one = Api("dev")
    runner = await one.start()
    yield one
    await runner.cleanup()


@pytest.fixture
async def prod() -> AsyncIterator[Api]:
    one = Api("prod")
    runner = await one.start()
    yield one
    await runner.cleanup()


def kubeconfig(path: Path, current: str, token: str = "t", **servers: str) -> str:  # noqa: S107  no login of anything
    clusters = [{"name": name, "cluster": {"server": url}} for name, url in servers.items()]
    contexts = [{"name": name, "context": {"cluster": name, "user": "anna"}} for name in servers]
    whole = {"clusters": clusters, "contexts": contexts, "users": [{"name": "anna", "user": {"token": token}}]}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": current, **whole}))
    return str(path)


@pytest.fixture
async def executor(api: Api, tmp_path: Path) -> AsyncIterator[KubernetesExecutor]:
    settings = {"kubeconfig": kubeconfig(tmp_path / "kubeconfig", "dev", dev=api.url)}
    one = KubernetesExecutor()
    await one.open(Environment.parse("dev", {"executor": "kubernetes", "settings": settings}))
    yield one
    await one.close()


def call(method: str, risk: Risk = Risk.CHANGE, **arguments: Any) -> Call:
    return Call(on=None, path=method, arguments=arguments, risk=risk, timeout=5.0)


PATCH = call("AppsV1Api.patch_namespaced_deployment", **WEB, body={"spec": {"replicas": 2}})
READ = call("AppsV1Api.read_namespaced_deployment", Risk.OBSERVE, **WEB)


async def test_a_new_current_context_is_not_followed(
    executor: KubernetesExecutor, api: Api, prod: Api, tmp_path: Path
) -> None:
    assert await executor.engine_id() == "dev"
    kubeconfig(tmp_path / "kubeconfig", "prod", dev=api.url, prod=prod.url)
    assert isinstance(await executor.run(READ), Done)
    api.expired = True
    outcome = await executor.run(READ)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "permission", outcome
    assert not prod.asked


async def test_a_context_that_leads_to_another_address_is_refused(
    executor: KubernetesExecutor, api: Api, prod: Api, tmp_path: Path
) -> None:
    assert await executor.engine_id() == "dev"
    kubeconfig(tmp_path / "kubeconfig", "dev", dev=prod.url)
    api.expired = True
    for what in (READ, PATCH):
        assert isinstance(await executor.run(what), Rejected)
    with pytest.raises(
        UnreachableError, match=rf"leads to {prod.url} now, and led to {api.url} before: name the context"
    ):
        await executor.engine_id()
    with pytest.raises(UnreachableError, match="led to"):
        await executor._following.get("/api/v1/namespaces/shop")
    assert not prod.asked
    kubeconfig(tmp_path / "kubeconfig", "dev", dev=api.url)
    api.expired = False
    assert await executor.engine_id() == "dev"


async def test_another_cluster_at_the_same_address_gets_nothing(executor: KubernetesExecutor, api: Api) -> None:
    """A name or a load balancer may lead to another one without any new login."""
    assert await executor.engine_id() == "dev"
    api.uid = "prod"
    assert await executor.engine_id() == "prod"
    api.asked.clear()
    for what in (READ, PATCH):
        outcome = await executor.run(what)
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "unreachable"
        assert "is another now (kube-system is prod, and was dev): see where" in outcome.message
    assert {path for _, path in api.asked} == {"/api/v1/namespaces/kube-system"}
    api.uid = "dev"
    assert await executor.engine_id() == "dev"
    assert isinstance(await executor.run(READ), Done)


async def test_what_follows_leads_to_the_same_cluster(executor: KubernetesExecutor, api: Api) -> None:
    assert await executor.engine_id() == "dev"
    api.uid = "prod"
    with pytest.raises(UnreachableError, match="is another now"):
        await executor._following.get("/apis/apps/v1/namespaces/shop/deployments/web")


OBJECT = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "uid": "dev"}}
SOMEBODY = {
    "sends on": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/login"}},
    "a page": {"text": "<html>Log in</html>", "content_type": "text/html"},
    "text": {"text": "welcome"},
    "no JSON": {"text": "{", "content_type": "application/json"},
    "no object": {"json": {"login": "https://sso"}},
    "another object": {"json": {**OBJECT, "metadata": {"name": "web", "uid": "other"}}},
}


@pytest.mark.parametrize("who", SOMEBODY)
async def test_what_the_api_server_did_not_say_proves_nothing(executor: KubernetesExecutor, api: Api, who: str) -> None:
    api.instead = {"json": {"kind": "List", "metadata": {}, "items": []}}
    pinned = (await executor.resolve(PATCH)).call
    api.instead = SOMEBODY[who]
    makes = call("BatchV1Api.create_namespaced_job", namespace="shop", body={"metadata": {"name": "once"}})
    for what in (pinned, *((makes,) if who != "another object" else ())):
        api.asked.clear()
        outcome = await executor.run(what)
        assert isinstance(outcome, Unknown), outcome
        assert "between UICI and the API server" in outcome.message
        assert "it may have been done" in outcome.message
        assert len(api.asked) == 1


@pytest.mark.parametrize("who", ["sends on", "a page"])
async def test_a_look_is_not_answered_by_a_login_page(executor: KubernetesExecutor, api: Api, who: str) -> None:
    api.instead = SOMEBODY[who]
    for what in (
        call("CoreV1Api.read_namespaced_pod_log", Risk.OBSERVE, name="web", namespace="shop"),
        call("CoreV1Api.list_namespaced_pod", Risk.OBSERVE, namespace="shop"),
    ):
        outcome = await executor.run(what)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.reason == "executor"
        assert "between UICI and the API server" in outcome.message


async def test_what_every_server_serves_is_not_taken_for_empty(api: Api, tmp_path: Path) -> None:
    server = Server({"kubeconfig": kubeconfig(tmp_path / "kubeconfig", "dev", dev=api.url)})
    assert await server.items("/apis/example.org/v1/things") == []
    assert await server.get("/apis/example.org/v1/things/a") is None
    for path in ("/api/v1/pods", "/apis/apps/v1/deployments", "/apis/batch/v1/jobs"):
        for asked in (server.items(path), server.get(f"{path}/a")):
            with pytest.raises(UnreachableError, match="404"):
                await asked
    await server.close()


async def test_a_login_that_hangs_is_bounded_by_the_look(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server({"kubeconfig": kubeconfig(tmp_path / "kubeconfig", "dev", dev=api.url)})
    monkeypatch.setattr(server.access, "configuration", asyncio.Event().wait)
    with pytest.raises(UnreachableError, match="no answer in time"):
        await server.ask("GET", "/version", seconds=0.01)
    with pytest.raises(TimeoutError):
        async with server.reading("/version", {}, silence=0.01):
            pass

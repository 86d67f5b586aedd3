"""What a call would touch, asked of a real cluster; nothing is changed by asking."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import filled, manifest, pod_of, ready
from uici.model import Call, Pinned, Risk
from uici_executors.kubernetes import calls, risks, touches
from uici_executors.kubernetes.connection import Server

pytestmark = pytest.mark.engine("kubernetes")
FILE = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/touches.yml").read_text())
CASES = FILE["cases"]


@dataclass(frozen=True)
class Scene:
    cluster: Cluster
    namespace: str
    words: dict[str, str]


@pytest.fixture(scope="module")
def scene(cluster: Cluster) -> Iterator[Scene]:
    with cluster.namespace("touches") as namespace:
        plain = [manifest(one) for one in FILE["scene"] if "manager" not in one]
        cluster.apply(*plain, namespace=namespace)
        for one in FILE["scene"]:
            if "manager" in one:
                apply = ("apply", "--server-side", f"--field-manager={one['manager']}", "--filename=-")
                cluster.kubectl(*apply, f"--namespace={namespace}", input=json.dumps(manifest(one)))
        for one in FILE["scene"]:
            if not one.get("unready"):
                ready(cluster, namespace, one)
        words = {"NS": namespace, "NODE": cluster.node}
        for app in ("web", "down", "guarded", "argo"):
            words[f"POD_{app}"] = pod_of(cluster, namespace, app)
        yield Scene(cluster, namespace, words)


async def pinned(server: Server, path: str, arguments: dict[str, Any]) -> Pinned:
    return await touches.pin(server, Call(on=None, path=path, arguments=arguments, risk=Risk.CHANGE), ())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_touches(scene: Scene, server: Server, case: dict[str, Any]) -> None:
    case = filled(case, scene.words)
    found = await pinned(server, case["call"], case["with"])
    here = {
        f"{touch.resource.kind}/{touch.resource.name}": touch
        for touch in found.touches
        if touch.resource.namespace in (scene.namespace, None)
    }
    if "unknown" in case:
        assert case["unknown"] in str(found.unknown)
    else:
        assert found.unknown is None
    assert set(case.get("touches", ())) <= set(here)
    assert not set(case.get("not", ())) & set(here)
    if "takes" in case:
        assert {name: touch.takes for name, touch in here.items() if touch.takes} == case["takes"]
    if "risk" in case:
        assert risks.risk_of(found).value == case["risk"]
    if "managed" in case:
        assert {name: touch.managed_by for name, touch in here.items() if touch.managed_by} == case["managed"]
    if "spare" in case:
        assert {name: touch.spare for name, touch in here.items() if touch.spare is not None} == case["spare"]


@pytest.mark.asyncio(loop_scope="module")
async def test_replicas_are_those_of_the_topmost_owner(scene: Scene, server: Server) -> None:
    found = await pinned(
        server, "CoreV1Api.delete_namespaced_pod", {"name": scene.words["POD_web"], "namespace": scene.namespace}
    )
    touch = found.touches[0]
    assert (touch.healthy, touch.desired, touch.resource.owner) == (4, 4, f"deployment/{scene.namespace}/web")


STALE: list[tuple[str, str, Any]] = [
    ("AppsV1Api.patch_namespaced_deployment", "one", {"metadata": {"labels": {"pinned": "1"}}}),
    ("AppsV1Api.patch_namespaced_deployment", "one", [{"op": "replace", "path": "/spec/replicas", "value": 2}]),
    ("AppsV1Api.patch_namespaced_deployment_scale", "one", {"spec": {"replicas": 2}}),
    ("AppsV1Api.delete_namespaced_deployment", "one", {"gracePeriodSeconds": 0}),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("path", "name", "body"), STALE, ids=["merge", "JSON Patch", "scale", "delete"])
async def test_a_pinned_call_is_refused_once_its_object_was_changed(
    scene: Scene, server: Server, path: str, name: str, body: Any
) -> None:
    """A conflict, which proves that nothing was done, and after which it is looked at anew."""
    found = await pinned(server, path, {"name": name, "namespace": scene.namespace, "body": body})
    assert found.unknown is None
    scene.cluster.kubectl(
        "annotate", f"deployment/{name}", f"at={time.monotonic_ns()}", "--overwrite", f"--namespace={scene.namespace}"
    )
    before = scene.cluster.get("deployment", name, f"--namespace={scene.namespace}")["metadata"]["resourceVersion"]
    outcome = await calls.run(server, found.call)
    assert isinstance(outcome, calls.Rejected)
    assert (outcome.reason, outcome.stale) == ("conflict", True), outcome.message
    after = scene.cluster.get("deployment", name, f"--namespace={scene.namespace}")["metadata"]["resourceVersion"]
    assert before == after


@pytest.mark.asyncio(loop_scope="module")
async def test_pods_are_pinned_too(scene: Scene, server: Server) -> None:
    name = scene.words["POD_web"]
    where = {"name": name, "namespace": scene.namespace}
    removed = await pinned(server, "CoreV1Api.delete_namespaced_pod", {**where, "grace_period_seconds": 0})
    evicted = await pinned(server, "CoreV1Api.create_namespaced_pod_eviction", {**where, "body": {}})
    scene.cluster.kubectl("annotate", f"pod/{name}", "at=now", "--overwrite", f"--namespace={scene.namespace}")
    for found in (removed, evicted):
        outcome = await calls.run(server, found.call)
        assert isinstance(outcome, calls.Rejected)
        assert outcome.stale, outcome.message
    assert removed.call.arguments["body"]["gracePeriodSeconds"] == 0
    assert "grace_period_seconds" not in removed.call.arguments  # a server that gets a body reads no query


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_call_says_itself_of_the_version_is_kept(scene: Scene, server: Server) -> None:
    """So that a redo, which repeats the journaled call, is refused where the object has changed since."""
    where = {"name": "one", "namespace": scene.namespace}
    own = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}
    found = await pinned(server, "AppsV1Api.patch_namespaced_deployment", {**where, "body": own})
    assert found.call.arguments["body"]["metadata"]["resourceVersion"] == "1"
    again = await pinned(server, found.call.path, dict(found.call.arguments))
    assert again.call.arguments == found.call.arguments


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"resourceVersion": None, "uid": ""}, "spec": {"replicas": 2}},
        {"metadata": None, "spec": {"replicas": 2}},
        [
            {"op": "remove", "path": "/metadata/resourceVersion"},
            {"op": "replace", "path": "/spec/replicas", "value": 2},
        ],
        [{"op": "replace", "path": "/metadata", "value": {"name": "one", "annotations": {"a": "b"}}}],
    ],
)
async def test_nothing_in_a_body_takes_the_pin_away(scene: Scene, server: Server, body: Any) -> None:
    where = {"name": "one", "namespace": scene.namespace}
    found = await pinned(server, "AppsV1Api.patch_namespaced_deployment", {**where, "body": body})
    scene.cluster.kubectl(
        "annotate", "deployment/one", f"at={time.monotonic_ns()}", "--overwrite", f"--namespace={scene.namespace}"
    )
    outcome = await calls.run(server, found.call)
    assert isinstance(outcome, calls.Rejected)
    assert outcome.stale, outcome.message


@pytest.mark.asyncio(loop_scope="module")
async def test_an_owner_of_many_pods_is_asked_for_once(
    scene: Scene, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = Server.ask

    async def counted(self: Server, method: str, path: str, **more: Any) -> dict[str, Any]:
        asked.append(path)
        return await plain(self, method, path, **more)

    monkeypatch.setattr(Server, "ask", counted)
    body = {"metadata": {"name": "all"}, "spec": {"podSelector": {}}}
    where = {"namespace": scene.namespace, "body": body}
    found = await pinned(server, "NetworkingV1Api.create_namespaced_network_policy", where)
    assert len([one for one in found.touches if one.resource.kind == "Pod"]) > 15
    assert len(asked) == len(set(asked))

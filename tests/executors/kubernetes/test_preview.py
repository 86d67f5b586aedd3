"""The server's own dry run as people see it, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import RESTART, manifest, ready
from uici.executor import Diff
from uici.model import Call, Risk
from uici_executors.kubernetes import touches
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.preview import preview

pytestmark = pytest.mark.engine("kubernetes")
SHORT: list[dict[str, Any]] = [
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "replicas": 2},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": "very-hidden"}},
]


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("preview") as name:
        cluster.apply(*(manifest(one) for one in SHORT), namespace=name)
        for one in SHORT:
            ready(cluster, name, one)
        yield name


async def shown(server: Server, path: str, **arguments: Any) -> Diff | None:
    pinned = await touches.pin(server, Call(on=None, path=path, arguments=arguments, risk=Risk.CHANGE), ())
    return await preview(server, pinned.call)


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a restart": (
        "AppsV1Api.patch_namespaced_deployment",
        {"name": "web", "body": RESTART},
        '~ Deployment NS/web\n+ spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt: "now"',
    ),
    "an image by a JSON Patch": (
        "AppsV1Api.patch_namespaced_deployment",
        {
            "name": "web",
            "body": [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}],
        },
        "~ Deployment NS/web\n"
        '- spec.template.spec.containers[main].image: "localhost/busybox:1"\n'
        '+ spec.template.spec.containers[main].image: "other"',
    ),
    "scaled to zero": (
        "AppsV1Api.patch_namespaced_deployment_scale",
        {"name": "web", "body": {"spec": {"replicas": 0}}},
        "~ Scale NS/web\n- spec.replicas: 2\n+ spec.replicas: 0",
    ),
    "nothing": (
        "AppsV1Api.patch_namespaced_deployment",
        {"name": "web", "body": {"spec": {"replicas": 2}}},
        "~ Deployment NS/web\n  nothing changes",
    ),
    "a deletion": ("CoreV1Api.delete_namespaced_pod", {"name": "lone", "grace_period_seconds": 0}, "- Pod NS/lone"),
    "an eviction": ("CoreV1Api.create_namespaced_pod_eviction", {"name": "lone", "body": {}}, "- Pod NS/lone"),
    "a Secret": (
        "CoreV1Api.patch_namespaced_secret",
        {"name": "keys", "body": {"stringData": {"key": "more-hidden", "other": "hidden-too"}}},
        "~ Secret NS/keys\n- data.key: (hidden)\n+ data.key: (hidden)\n+ data.other: (hidden)",
    ),
    "a ConfigMap that is made": (
        "CoreV1Api.create_namespaced_config_map",
        {"body": {"metadata": {"name": "made"}, "data": {"a": "b"}}},
        '+ ConfigMap NS/made\n+ metadata.name: "made"\n+ metadata.namespace: "NS"\n+ data.a: "b"',
    ),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_preview(cluster: Cluster, namespace: str, server: Server, name: str) -> None:
    path, arguments, text = CASES[name]
    kinds = "deployments,pods,secrets,configmaps"
    before = cluster.get(kinds, f"--namespace={namespace}")["items"]
    found = await shown(server, path, namespace=namespace, **arguments)
    assert found is not None
    assert found.text == text.replace("NS", namespace)
    assert "hidden-" not in found.text + str(found.data)
    assert cluster.get(kinds, f"--namespace={namespace}")["items"] == before


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_server_would_refuse_is_said_in_its_own_words(namespace: str, server: Server) -> None:
    body = {
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": ""}]}}},
    }
    found = await shown(server, "AppsV1Api.patch_namespaced_deployment", name="web", namespace=namespace, body=body)
    assert found is not None
    assert "image: Required value" in found.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("CoreV1Api.delete_collection_namespaced_pod", {}),
        ("CoreV1Api.connect_get_namespaced_pod_exec", {"name": "lone"}),
        ("CoreV1Api.create_namespaced_service_account_token", {"name": "default", "body": {"spec": {"audiences": ["x"]}}}),
        ("CustomObjectsApi.delete_namespaced_custom_object", {"group": "apps", "version": "v1", "plural": "deployments", "name": "web"}),
    ],
)  # fmt: skip
async def test_where_no_dry_run_could_be_trusted_there_is_none(
    namespace: str, server: Server, path: str, arguments: dict[str, Any]
) -> None:
    assert await shown(server, path, namespace=namespace, **arguments) is None

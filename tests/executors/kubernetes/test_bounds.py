"""A limit to namespaces holds for looks, on a real cluster: what lies elsewhere is not shown, and no right to it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster
from uici.executor import Done, Outcome, Rejected
from uici.model import Call, Environment, Risk, UnreachableError
from uici_executors.kubernetes import KubernetesExecutor, permissions

pytestmark = pytest.mark.engine("kubernetes")


@pytest.fixture
def second(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@asynccontextmanager
async def limited(kubeconfig: Path, *namespaces: str) -> AsyncIterator[KubernetesExecutor]:
    definition = {"executor": "kubernetes", "settings": {"kubeconfig": str(kubeconfig)}, "namespaces": [*namespaces]}
    executor = KubernetesExecutor()
    await executor.open(Environment.parse("k8s", definition))
    try:
        yield executor
    finally:
        await executor.close()


def call(path: str, **arguments: Any) -> Call:
    return Call(on=None, path=path, arguments=arguments, risk=Risk.OBSERVE, timeout=20.0)


def names(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Done), outcome
    return [one["metadata"]["name"] for one in outcome.answer["items"]]


def over_all(cluster: Cluster, first: str, second: str) -> Call:
    """A listing of ``b`` in the first and ``a`` in the second."""
    for place, name in ((first, "b"), (second, "a")):
        metadata = {"name": name, "labels": {"of": first}}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, namespace=place)
    return call("CoreV1Api.list_config_map_for_all_namespaces", label_selector=f"of={first}")


async def test_other_namespaces_are_not_looked_at(cluster: Cluster, namespace: str) -> None:
    async with limited(cluster.kubeconfig, namespace) as executor:
        for path, arguments in (
            ("CoreV1Api.list_namespaced_event", {}),
            ("CoreV1Api.read_namespaced_config_map", {"name": "kube-root-ca.crt"}),
            ("CustomObjectsApi.list_namespaced_custom_object", {"group": "a.io", "version": "v1", "plural": "things"}),
        ):
            outcome = await executor.run(call(path, namespace="kube-system", **arguments))
            assert isinstance(outcome, Rejected)
            assert outcome.reason == "unknown_target"
            assert "kube-system is outside the namespaces of k8s" in outcome.message
        with pytest.raises(UnreachableError, match="kube-system is outside"):
            executor.stream(call("CoreV1Api.read_namespaced_pod_log", name="a", namespace="kube-system"))
        read = call("CoreV1Api.read_namespaced_config_map", name="kube-root-ca.crt", namespace=namespace)
        assert isinstance(await executor.run(read), Done)


async def test_a_listing_over_all_is_one_of_each(cluster: Cluster, namespace: str, second: str) -> None:
    """In the order of the environment, with a login that may read nothing else."""
    listing = over_all(cluster, namespace, second)
    cluster.kubectl("create", "serviceaccount", "looks", f"--namespace={namespace}")
    rights = permissions.of_call(listing.path, listing.arguments)
    for role in permissions.role(rights, "looks", [namespace, second]):
        assert role["kind"] == "Role"
        place = role["metadata"]["namespace"]
        cluster.apply(role)
        bound = ("--role=looks", f"--serviceaccount={namespace}:looks", f"--namespace={place}")
        cluster.kubectl("create", "rolebinding", "looks", *bound)
    kubeconfig = cluster.kubeconfig_for("looks", namespace)
    async with limited(kubeconfig, namespace, second) as executor:
        outcome = await executor.run(listing)
        assert names(outcome) == ["b", "a"]
        assert isinstance(outcome, Done)
        assert outcome.answer["kind"] == "ConfigMapList"
    async with limited(kubeconfig, second, namespace) as executor:
        assert names(await executor.run(listing)) == ["a", "b"]
        part = await executor.run(call(listing.path, limit=1))
        assert isinstance(part, Rejected)
        assert "leave out limit" in part.message
    async with limited(kubeconfig, namespace, "kube-system") as executor:
        outcome = await executor.run(listing)
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "permission"


async def test_of_a_pattern_the_rest_is_left_out(cluster: Cluster, namespace: str, second: str) -> None:
    listing = over_all(cluster, namespace, second)
    async with limited(cluster.kubeconfig, f"{namespace}*") as executor:
        assert names(await executor.run(listing)) == ["b"]
        assert isinstance(await executor.run(call("CoreV1Api.list_node")), Done)
    async with limited(cluster.kubeconfig) as executor:
        assert sorted(names(await executor.run(listing))) == ["a", "b"]

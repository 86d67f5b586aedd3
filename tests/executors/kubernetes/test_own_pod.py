"""UICI finds its own Pod by what its machine tells, however the Pod is made; where nothing tells, nothing is changed.

In the Pods runs the real code that gathers the facts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import manifest, pod_of, ready
from uici.engine import gather
from uici.executor import Facts
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.identity import identity

pytestmark = pytest.mark.engine("kubernetes")

ROOT = Path(__file__).parents[3]
FACTS = "import dataclasses, json; from uici.engine import gather; print(json.dumps(dataclasses.asdict(gather())))"
#: What is not as usual in the Pod's specification.
MADE: dict[str, dict[str, Any]] = {
    "under another host name": {"hostname": "something-else", "subdomain": "x"},
    "in the node's network": {"hostNetwork": True},
    "without a token": {"automountServiceAccountToken": False},
    "all of it": {
        "hostname": "a",
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    },
}
SHORT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "uici"}}


def with_python(short: dict[str, Any]) -> dict[str, Any]:
    """With this Python and UICI from the node, which is this machine."""
    folders = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    folders |= {Path(name) for name in ("/lib", "/lib64", "/usr/lib") if Path(name).is_dir()}
    mounts = {str(one): f"h{number}" for number, one in enumerate(sorted(folders))}
    whole = manifest(short)
    spec = whole["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": name, "hostPath": {"path": path}} for path, name in mounts.items()]
    spec["containers"][0]["volumeMounts"] = [
        {"name": name, "mountPath": path, "readOnly": True} for path, name in mounts.items()
    ]
    return whole


def gathered(cluster: Cluster, namespace: str, pod: str) -> Facts:
    python = str(Path(sys.prefix, "bin", "python"))
    run = ("exec", pod, f"--namespace={namespace}", "--", "env", f"PYTHONPATH={ROOT}", python, "-c", FACTS)
    said = json.loads(cluster.kubectl(*run))
    return Facts(**{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})


@pytest.mark.parametrize("made", MADE)
async def test_its_own_pod_is_found(cluster: Cluster, namespace: str, made: str) -> None:
    if cluster.layout is None:
        pytest.skip("UICI_TEST_KUBECONFIG names a cluster whose nodes do not have this Python")
    short = {**SHORT, "template": MADE[made]}
    cluster.apply(with_python(short), namespace=namespace)
    ready(cluster, namespace, short)
    pod = pod_of(cluster, namespace, "uici")
    facts = gathered(cluster, namespace, pod)
    assert facts.hostname != pod or made == "without a token"
    server = Server({"kubeconfig": str(cluster.kubeconfig)})
    try:
        found = await identity(server, facts, "prod")
    finally:
        await server.close()
    assert found.unknown is None
    kept = {f"{one.kind}/{one.namespace or ''}/{one.name}" for one in found.resources}
    assert kept >= {f"Pod/{namespace}/{pod}", f"Deployment/{namespace}/uici", f"Node//{cluster.node}"}, facts


#: What is known of a process that runs in a Pod, and what of a sandbox keeps its control group and mounts to itself.
NOT_TOLD: dict[str, Facts] = {
    "that it is in a Pod": Facts(pids=(1,), environment_variables={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}),
    "its name without its namespace": Facts(pids=(1,), pod={"name": "uici-1"}),
    "its namespace alone": Facts(pids=(1,), pod={"namespace": "ops"}),
    "and where it is, the machine": Facts(
        pids=(1,), boot_id="b", environment_variables={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    ),
}


@pytest.mark.parametrize("told", NOT_TOLD)
async def test_where_nothing_tells_which_pod_it_is_nothing_can_be_changed(cluster: Cluster, told: str) -> None:
    server = Server({"kubeconfig": str(cluster.kubeconfig)})
    try:
        found = await identity(server, NOT_TOLD[told], "prod")
    finally:
        await server.close()
    assert found.unknown is not None
    assert "POD_NAME and POD_NAMESPACE by the downward API" in found.unknown


def test_that_it_runs_in_a_pod_is_a_fact_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    found = gather(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, proc=tmp_path, account=tmp_path)
    assert found.environment_variables == {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert (found.pod, found.containers) == ({}, ())

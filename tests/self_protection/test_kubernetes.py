"""UICI in a Pod of the cluster that it controls: no way of asking it to stop itself, or what it needs, succeeds.

The Pod runs the real code that gathers the facts about itself. Everything else that could refuse is switched off: a person
asks and confirms, the login may do everything, the environment lets everything be done, and no policy protects anything.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import filled, manifest, pod_of, ready
from tests.executors.whole import running
from tests.self_protection import attacks
from uici.catalog import UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts
from uici.model import Reason, Request, Status

pytestmark = pytest.mark.engine("kubernetes")

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE.parent / "cases/self_protection_kubernetes.yml").read_text())
FACTS = """
import dataclasses, json, sys
from uici.engine import gather
print(json.dumps(dataclasses.asdict(gather(
    listens=["0.0.0.0:8080"], needs=[f"store.{sys.argv[1]}.svc.cluster.local:5432", f"http://{sys.argv[2]}:9090"],
    paths=["/var/lib/uici/journal.db"], depends_on=[{"kind": "deployment", "name": "cold", "namespace": sys.argv[1]}],
))))
"""
FIRST = ("privileged", "its database's Pod", "restart by name", "a role that many have")


@dataclass(frozen=True)
class Scene:
    cluster: Cluster
    facts: Facts
    words: dict[str, str]
    before: dict[str, Any]

    def state(self) -> dict[str, Any]:
        """All that no attack may change."""
        kinds = (
            "pods,replicasets,deployments,statefulsets,daemonsets,jobs,cronjobs,replicationcontrollers,services,configmaps,"
            "secrets,serviceaccounts,persistentvolumeclaims,networkpolicies,resourcequotas,limitranges,poddisruptionbudgets,"
            "horizontalpodautoscalers,ingresses,endpointslices,roles,rolebindings"
        )
        seen: dict[str, Any] = {}
        for namespace in (self.words["OPS"], self.words["DATA"], "default"):
            for one in self.cluster.get(kinds, f"--namespace={namespace}")["items"]:
                seen[f"{namespace}/{one['kind']}/{one['metadata']['name']}"] = _fixed(one)
        wide = (
            "nodes,namespaces,persistentvolumes,clusterroles,clusterrolebindings,priorityclasses,runtimeclasses,storageclasses,"
            "validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies,apiservices,"
            "customresourcedefinitions"
        )
        for one in self.cluster.get(wide)["items"]:
            labels, name = one["metadata"].get("labels", {}), one["metadata"]["name"]
            # Other tests' namespaces, and what the API server makes of its own a while after its start.
            others = labels.get("uici.test") and name not in self.words.values()
            if not others and "kube-aggregator.kubernetes.io/automanaged" not in labels:
                seen[f"{one['kind']}/{one['metadata']['name']}"] = _fixed(one)
        return seen


def _fixed(one: Mapping[str, Any]) -> Any:
    """An object but for what the cluster itself keeps writing."""
    metadata = {key: value for key, value in one["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    if one["kind"] == "Node":
        metadata.pop("annotations", None)
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def _pv(name: str, namespace: str, folder: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
            "claimRef": {"namespace": namespace, "name": "uici-state"},
        },
    }


def _uici(host: str) -> list[dict[str, Any]]:
    """UICI as it would be installed, with this Python from the node."""
    folders = {Path(sys.base_prefix), Path(sys.prefix), HERE.parents[1]}
    folders |= {Path(name) for name in ("/lib", "/lib64", "/usr/lib") if Path(name).is_dir()}
    mounts = {str(one): f"h{number}" for number, one in enumerate(sorted(folders))}
    volumes: list[dict[str, Any]] = [{"name": name, "hostPath": {"path": path}} for path, name in mounts.items()]
    volumes += [
        {"name": "config", "configMap": {"name": "uici-config"}},
        {"name": "state", "persistentVolumeClaim": {"claimName": "uici-state"}},
        {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}},
    ]
    workload = manifest({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "uici"}})
    workload["spec"]["template"]["metadata"]["labels"]["tier"] = "door"
    spec = workload["spec"]["template"]["spec"]
    spec |= {"serviceAccountName": "uici", "volumes": volumes}
    spec["containers"][0] |= {
        "envFrom": [{"secretRef": {"name": "uici-keys"}}],
        "volumeMounts": [
            *({"name": name, "mountPath": path, "readOnly": True} for path, name in mounts.items()),
            {"name": "state", "mountPath": "/var/lib/uici"},
            {"name": "config", "mountPath": "/etc/uici"},
        ],
    }
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "uici"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "uici-config"}, "data": {"policies": "all"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "uici-keys"}, "stringData": {"TOKEN": "hidden"}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "uici-state"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": {"name": "uici"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "uici"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "uici"},
            "subjects": [{"kind": "ServiceAccount", "name": "uici"}],
        },
        _service("uici", {"tier": "door"}),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "uici"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "uici"}}},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "on-web"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{}]},
        },
        workload,
    ]


def _service(name: str, selector: Mapping[str, str]) -> dict[str, Any]:
    spec = {"selector": dict(selector), "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


OPS = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}]
DATA = [
    {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "store"},
        "template": {"imagePullSecrets": [{"name": "store-keys"}]},
    },
    *(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
        for name in ("metrics", "cold", "peer")
    ),
]


@pytest.fixture(scope="module")
def scene(cluster: Cluster) -> Iterator[Scene]:
    if cluster.layout is None:
        pytest.skip("UICI_TEST_KUBECONFIG names a cluster whose nodes do not have this Python")
    with cluster.namespace("ops") as ops, cluster.namespace("data") as data:
        volume, host = f"volume-{ops}", f"/srv/uici-{ops}"
        cluster.apply(_pv(volume, ops, f"/tmp/{volume}"))
        try:
            cluster.apply(*_uici(host), *(manifest(one) for one in OPS), namespace=ops)
            keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store-keys"}, "stringData": {"a": "b"}}
            services = [_service(name, {"app": name}) for name in ("store", "metrics")]
            cluster.apply(keys, *services, *(manifest(one) for one in DATA), namespace=data)
            for namespace, some in ((ops, [*OPS, {"kind": "Deployment", "metadata": {"name": "uici"}}]), (data, DATA)):
                for one in some:
                    ready(cluster, namespace, one)
            pod = pod_of(cluster, ops, "uici")
            address = cluster.get("service", "metrics", f"--namespace={data}")["spec"]["clusterIP"]
            python = str(Path(sys.prefix, "bin", "python"))
            run = ("exec", pod, f"--namespace={ops}", "--", "env", f"PYTHONPATH={HERE.parents[1]}", python)
            facts = json.loads(cluster.kubectl(*run, "-c", FACTS, data, address))
            assert facts["pod"]["name"] == pod
            words = {
                "OPS": ops,
                "DATA": data,
                "NODE": cluster.node,
                "PV": volume,
                "HOST": ops,
                "UICI_POD": pod,
                "UICI_UID": cluster.get("deployment", "uici", f"--namespace={ops}")["metadata"]["uid"],
                "UICI_RS": pod.rpartition("-")[0],
            }
            scene = Scene(cluster, attacks.facts(facts), words, {})
            scene.before.update(scene.state())
            yield scene
        finally:
            cluster.kubectl("delete", "persistentvolume", volume, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def catalog(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's operations and translations, one operation for each attack, and nothing that would refuse it."""
    folder = tmp_path_factory.mktemp("catalog")
    alias = folder / "alias.kubeconfig"
    shutil.copy(scene.cluster.kubeconfig, alias)
    settings = {
        name: {"kubeconfig": str(path)} for name, path in (("kubernetes", scene.cluster.kubeconfig), ("alias", alias))
    }
    return attacks.write(folder, "kubernetes", settings, filled(CASES, scene.words))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
async def test_refused(scene: Scene, infrastructure: UniversalInfrastructureInterface, number: int) -> None:
    case = filled(CASES[number], scene.words)
    for dry_run in (False, True):
        request = attacks.request(number, case, "kubernetes", dry_run=dry_run)
        result = await infrastructure.execute(request, attacks.ANNA)
        assert result.status is Status.REFUSED, result.message
        reasons = case.get("reasons", [Reason.SELF, Reason.PROTECTED, Reason.UNRESOLVED])
        assert result.reason in reasons, result.message


def test_nothing_was_changed_by_any_of_them(scene: Scene) -> None:
    after = scene.state()
    assert list(after) == list(scene.before)
    for name, one in after.items():
        assert one == scene.before[name], name


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", FIRST)
async def test_refused_as_the_very_first_change_after_a_start(
    scene: Scene, catalog: Path, tmp_path: Path, name: str
) -> None:
    """Nothing has been asked about UICI itself yet."""
    number = [case["name"] for case in CASES].index(name)
    request = attacks.request(number, filled(CASES[number], scene.words), "kubernetes")
    async with running(UniversalConfigLoader(catalog).load(), tmp_path, facts=scene.facts) as interface:
        result = await interface.execute(request, attacks.ANNA)
        assert result.status is Status.REFUSED, result.message
        assert result.reason in (Reason.SELF, Reason.UNRESOLVED)


def test_there_are_at_least_forty_ways() -> None:
    assert len(CASES) >= 40


BYSTANDERS: list[tuple[str, dict[str, Any]]] = [
    ("restart_service", {"service": "web", "namespace": "OPS"}),
    ("restart_service", {"service": "peer", "namespace": "DATA"}),
    ("scale_service", {"service": "peer", "namespace": "DATA", "replicas": 2}),
    ("stop_service", {"service": "peer", "namespace": "DATA"}),
    ("remove_service", {"service": "web", "namespace": "OPS"}),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("operation", "parameters"), BYSTANDERS, ids=[f"{one[0]} {one[1]['service']}" for one in BYSTANDERS]
)
async def test_bystanders_are_not_protected_by_mistake(
    scene: Scene, infrastructure: UniversalInfrastructureInterface, operation: str, parameters: dict[str, Any]
) -> None:
    request = Request(
        operation=operation, parameters=filled(parameters, scene.words), environment="kubernetes", confirm=True
    )
    result = await infrastructure.execute(request, attacks.ANNA)
    assert result.status is Status.DONE, result.message

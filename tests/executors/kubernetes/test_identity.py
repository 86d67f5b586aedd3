"""What of a cluster is UICI's own: by each kind of evidence, and what cannot be told."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import manifest, pod_of, ready
from uici.engine import gather
from uici.executor import Facts, Identity
from uici.model import Call, Risk, UnreachableError
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.identity import identity
from uici_executors.kubernetes.touches import pin

pytestmark = pytest.mark.engine("kubernetes")

ELSEWHERE = Facts(machine_id="0" * 32, boot_id="none", hostname="laptop", pids=(1,))
UID = "0e5c2b9a-1111-4222-8333-444455556666"


@dataclass(frozen=True)
class Scene:
    cluster: Cluster
    namespace: str
    pod: dict[str, Any]
    service: dict[str, Any]

    def owns(self, found: Identity, *names: str) -> bool:
        """By ``kind/name``, of this namespace or of none."""
        here = {f"{one.kind}/{one.name}" for one in found.resources if one.namespace in (self.namespace, None)}
        return set(names) <= here


SHORT: list[dict[str, Any]] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "template": {"serviceAccountName": "runner", "env": "settings"},
    },
    {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"serviceName": "db"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]},
    },
]


@pytest.fixture(scope="module")
def scene(cluster: Cluster) -> Iterator[Scene]:
    with cluster.namespace("identity") as namespace:
        cluster.apply(*(manifest(one) for one in SHORT), namespace=namespace)
        for one in SHORT:
            ready(cluster, namespace, one)
        pod = cluster.get("pod", pod_of(cluster, namespace, "web"), f"--namespace={namespace}")
        yield Scene(cluster, namespace, pod, cluster.get("service", "web", f"--namespace={namespace}"))


def facts(**more: Any) -> Facts:
    return Facts(**{"machine_id": ELSEWHERE.machine_id, "boot_id": "none", "hostname": "laptop", "pids": (1,), **more})


def in_pod(scene: Scene, **more: Any) -> Facts:
    metadata = scene.pod["metadata"]
    pod = {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    return facts(pod=pod, **more)


@pytest.mark.asyncio(loop_scope="module")
async def test_none_comes_with_what_shows_it(server: Server) -> None:
    found = await identity(server, ELSEWHERE, "prod")
    assert (found.resources, found.unknown) == ((), None)
    assert "lies in no container" in found.shows
    assert "its machine is none of the" in found.shows


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_known_is_unknown(server: Server) -> None:
    assert (await identity(server, Facts(), "prod")).unknown


@pytest.mark.asyncio(loop_scope="module")
async def test_its_pod_and_all_that_carries_it(scene: Scene, server: Server) -> None:
    found = await identity(server, in_pod(scene), "prod")
    name = scene.pod["metadata"]["name"]
    kept = (
        f"Pod/{name}", f"ReplicaSet/{name.rpartition('-')[0]}", "Deployment/web", f"Namespace/{scene.namespace}",
        f"Node/{scene.cluster.node}", "ServiceAccount/runner", "ConfigMap/settings",
    )  # fmt: skip
    assert scene.owns(found, *kept)
    assert not scene.owns(found, "StatefulSet/db")
    assert f"{scene.namespace}/{name}" in found.shows


VOLUMES = {"hostPath": "/srv/by-path/journal/", "local": "/opt/local-path-provisioner/pvc-1"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", VOLUMES)
async def test_where_its_claims_lie(scene: Scene, server: Server, kind: str) -> None:
    """What mounts that path of the node, or deletes the volume, takes the journal, whatever its namespace."""
    volume = f"{scene.namespace}-{kind.lower()}"
    storage: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none"}
    local = {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}}} if kind == "local" else {}  # fmt: skip
    lies = {**storage, "capacity": {"storage": "1Mi"}, kind: {"path": VOLUMES[kind]}, **local}
    claims = {**storage, "resources": {"requests": {"storage": "1Mi"}}, "volumeName": volume}
    mounts = {"volumes": [{"name": "state", "persistentVolumeClaim": {"claimName": kind.lower()}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"keeps-{kind.lower()}"}, "template": mounts}
    scene.cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": lies},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": kind.lower()}, "spec": claims},
        manifest(pod),
        namespace=scene.namespace,
    )
    try:
        asked = facts(pod={"namespace": scene.namespace, "name": pod["metadata"]["name"]})
        found = await identity(server, asked, "prod")
        path = VOLUMES[kind].rstrip("/")
        assert scene.owns(
            found, f"PersistentVolumeClaim/{kind.lower()}", f"PersistentVolume/{volume}", f"HostPath/{path}"
        )
        for call, with_ in (
            ("CoreV1Api.delete_persistent_volume", {"name": volume}),
            ("CoreV1Api.create_namespaced_pod", {"namespace": "default", "body": _mounting(path)}),
            ("CoreV1Api.create_namespaced_pod", {"namespace": "default", "body": _mounting("/" + path)}),
            ("CoreV1Api.create_namespaced_pod", {"namespace": "default", "body": _mounting(path.rpartition("/")[0])}),
        ):
            asks = Call(on=None, path=call, arguments=with_, risk=Risk.CHANGE)
            touched = {touch.resource for touch in (await pin(server, asks, found.resources)).touches}
            assert touched & set(found.resources), (call, with_)
    finally:
        scene.cluster.kubectl("delete", "pod", pod["metadata"]["name"], f"--namespace={scene.namespace}", "--now")
        scene.cluster.kubectl("delete", "persistentvolume", volume, "--wait=false")


def _mounting(path: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "hostPath": {"path": path}}]}
    return {"metadata": {"name": "wipes"}, "spec": spec}


@pytest.mark.asyncio(loop_scope="module")
async def test_its_pod_by_other_evidence(scene: Scene, server: Server) -> None:
    container = scene.pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    for known in (facts(containers=(container,)), facts(pod={"uid": scene.pod["metadata"]["uid"]})):
        assert scene.owns(await identity(server, known, "prod"), "Deployment/web")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pod_of_another_cluster(scene: Scene, server: Server) -> None:
    """By the same name; its uid tells them apart."""
    pod = {"namespace": scene.namespace, "name": scene.pod["metadata"]["name"], "uid": UID}
    found = await identity(server, facts(pod=pod), "prod")
    assert (found.resources, found.unknown) == ((), None)
    assert "none of this cluster's" in found.shows


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("key", ["machineID", "systemUUID", "bootID"])
async def test_a_process_of_a_node(scene: Scene, server: Server, key: str, tmp_path: Path) -> None:
    info = scene.cluster.get("node", scene.cluster.node)["status"]["nodeInfo"]
    if not info[key]:
        pytest.skip(f"this machine has no {key}")
    known = (
        {"boot_id": info[key], "machine_id": ""}
        if key == "bootID"
        else {"machine_id": info[key].replace("-", "").lower()}
    )
    found = await identity(server, facts(paths=(str(tmp_path),), **known), "prod")
    assert scene.owns(found, f"Node/{scene.cluster.node}", f"HostPath/{tmp_path}")
    assert scene.cluster.node in found.shows


@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_in_a_container_of_this_machine_is_another_machine(scene: Scene, server: Server) -> None:
    """As kind and minikube make them: the kernel is the same, and draining such a node stops nothing of this one."""
    boot = scene.cluster.get("node", scene.cluster.node)["status"]["nodeInfo"]["bootID"]
    assert (await identity(server, facts(boot_id=boot), "prod")).resources == ()
    inside = await identity(server, facts(boot_id=boot, containers=("a" * 64,)), "prod")
    assert scene.owns(inside, f"Node/{scene.cluster.node}")


HOW = ("by name", "by its whole name", "by the Service's address", "by the Pod's address", "by a port of the node")


def needs(scene: Scene) -> dict[str, str]:
    node = scene.cluster.get("node", scene.cluster.node)["status"]["addresses"][0]["address"]
    port = scene.service["spec"]["ports"][0]["nodePort"]
    return {
        "by name": f"web.{scene.namespace}.svc:80",
        "by its whole name": f"http://web.{scene.namespace}.svc.cluster.local:80/x",
        "by the Service's address": f"{scene.service['spec']['clusterIP']}:80",
        "by the Pod's address": f"{scene.pod['status']['podIP']}:80",
        "by a port of the node": f"{node}:{port}",
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("how", HOW)
async def test_what_it_needs(scene: Scene, server: Server, how: str) -> None:
    found = await identity(server, facts(needs=(needs(scene)[how],)), "prod")
    assert found.unknown is None
    assert scene.owns(found, "Deployment/web", f"Pod/{scene.pod['metadata']['name']}", "ServiceAccount/runner")
    assert scene.owns(found, "Service/web") or how == "by the Pod's address"
    assert not scene.owns(found, "StatefulSet/db")
    within = await identity(server, in_pod(scene, needs=(needs(scene)[how],)), "prod")
    assert within.unknown is None
    assert scene.owns(within, "Service/web") or how == "by the Pod's address"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("host", ["Store-1.Elb.example", "store.example"], ids=["its own name", "an alias of it"])
async def test_a_load_balancer_that_tells_its_name_alone(
    scene: Scene, server: Server, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"type": "LoadBalancer", "selector": {"app": "db"}, "ports": [{"port": 5432}]}
    scene.cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "store"}, "spec": spec}, namespace=scene.namespace
    )
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"hostname": "store-1.elb.example"}]}}})
    place = (f"--namespace={scene.namespace}", "--subresource=status", "--type=merge", f"--patch={status}")
    scene.cluster.kubectl("patch", "service", "store", *place)

    async def resolved(name: str) -> tuple[str, list[str]]:
        return "store-1.elb.example", ["203.0.113.7"]

    monkeypatch.setattr("uici_executors.kubernetes.needs._resolved", resolved)
    found = await identity(server, facts(needs=(f"postgresql://{host}:5432/uici",)), "prod")
    assert scene.owns(found, "Service/store", "StatefulSet/db", "Pod/db-0")
    scene.cluster.kubectl("delete", "service", "store", f"--namespace={scene.namespace}")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("host", ["db", "db.NS", "db-0.db.NS", "db-0.db.NS.svc.cluster.local", "db-0.db"])
async def test_short_names_are_those_of_its_own_namespace(scene: Scene, server: Server, host: str) -> None:
    found = await identity(server, in_pod(scene, needs=(f"{host.replace('NS', scene.namespace)}:5432",)), "prod")
    assert scene.owns(found, "StatefulSet/db", "Service/db", "Pod/db-0")


@pytest.mark.asyncio(loop_scope="module")
async def test_loopback_on_a_node_leads_to_what_has_its_port(scene: Scene, server: Server) -> None:
    port = scene.service["spec"]["ports"][0]["nodePort"]
    boot = scene.cluster.get("node", scene.cluster.node)["status"]["nodeInfo"]["bootID"]
    found = await identity(server, facts(boot_id=boot, machine_id="", needs=(f"127.0.0.1:{port}",)), "prod")
    assert scene.owns(found, "Service/web", "Deployment/web")
    found = await identity(server, facts(needs=(f"127.0.0.1:{port}",)), "prod")
    assert found.resources == ()


WANTED = [
    ({"kind": "deployment", "name": "web", "namespace": "NS"}, "Deployment/web"),
    ({"name": "db", "namespace": "NS"}, "StatefulSet/db"),
    ({"kind": "Service", "name": "web", "namespace": "NS"}, "Service/web"),
    ({"kind": "configmap", "name": "settings", "namespace": "NS"}, "ConfigMap/settings"),
    ({"kind": "pod", "name": "db-0", "namespace": "NS"}, "StatefulSet/db"),
    ({"kind": "deployment", "name": "web"}, "Deployment/web"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("wanted", "kept"), WANTED)
async def test_what_platform_yml_depends_on(scene: Scene, server: Server, wanted: dict[str, str], kept: str) -> None:
    named = {key: value.replace("NS", scene.namespace) for key, value in wanted.items()}
    assert scene.owns(await identity(server, facts(names=(named,)), "prod"), kept)
    elsewhere = await identity(server, facts(names=({**named, "environment": "other"},)), "prod")
    assert elsewhere.resources == ()


@pytest.mark.asyncio(loop_scope="module")
async def test_what_may_not_be_read_is_unknown_with_its_cure(scene: Scene) -> None:
    """Of a login that may read its namespace alone: it is told which right is missing, one after the other."""
    namespace, cluster = scene.namespace, scene.cluster
    # The cluster's id is the uid of kube-system, which every login has to be able to tell.
    _allow(scene, "engine", "--verb=get", "--resource=namespaces", "--resource-name=kube-system")
    server = Server({"kubeconfig": str(cluster.kubeconfig_for("runner", namespace))})
    asked = facts(needs=(f"{scene.service['spec']['clusterIP']}:80",))
    try:
        found = await _until(server, asked, namespace, '"nodes"')
        assert "cannot list resource" in found
        assert "give this login that right" in found
        _allow(scene, "nodes", "--verb=get,list", "--resource=nodes")
        found = await _until(server, asked, namespace, '"services"')
        assert f'in the namespace "{namespace}"' in found, "not of every namespace, where the environment names its own"
    finally:
        for name in ("engine", "nodes"):
            cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"{name}-{namespace}", "--ignore-not-found")
        await server.close()


def _allow(scene: Scene, name: str, *rule: str) -> None:
    whole, account = f"{name}-{scene.namespace}", f"--serviceaccount={scene.namespace}:runner"
    scene.cluster.kubectl("create", "clusterrole", whole, *rule)
    scene.cluster.kubectl("create", "clusterrolebinding", whole, f"--clusterrole={whole}", account)


async def _until(server: Server, asked: Facts, namespace: str, missing: str) -> str:
    """What is missing; the API server takes a moment to believe a new binding."""
    found = ""
    for _ in range(200):
        try:
            found = str((await identity(server, asked, "prod", [namespace])).unknown)
        except UnreachableError as error:
            found = str(error)
        if missing in found:
            break
    assert missing in found
    return found


# Facts of a Pod, without a cluster


def _proc(folder: Path, cgroup: str = "", mountinfo: str = "") -> Path:
    (folder / "self").mkdir(parents=True)
    (folder / "self/cgroup").write_text(cgroup)
    (folder / "self/mountinfo").write_text(mountinfo)
    return folder


def test_the_facts_of_a_pod_are_in_its_token(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    claims = {
        "kubernetes.io": {
            "namespace": "ops",
            "pod": {"name": "uici-1", "uid": UID},
            "node": {"name": "node-1", "uid": "n"},
            "serviceaccount": {"name": "uici", "uid": "s"},
        }
    }
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    (account / "token").write_text(f"head.{body}.signature\n")
    found = gather(environ={"POD_NAME": "lies"}, proc=_proc(tmp_path / "proc"), account=account)
    assert found.pod == {
        "namespace": "ops", "name": "uici-1", "uid": UID, "node": "node-1", "service_account": "uici",
    }  # fmt: skip


GROUPS = [
    (f"12:pids:/kubepods/burstable/pod{UID}/{'a' * 64}\n", ""),
    (f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{'a' * 64}.scope\n", ""),
    ("0::/\n", f"1 2 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda rw\n"),
]


@pytest.mark.parametrize(("cgroup", "mountinfo"), GROUPS)
def test_the_uid_of_a_pod_is_in_its_control_group_or_mounts(tmp_path: Path, cgroup: str, mountinfo: str) -> None:
    environ = {"POD_NAME": "uici-1", "POD_NAMESPACE": "ops"}
    found = gather(environ=environ, proc=_proc(tmp_path / "proc", cgroup, mountinfo), account=tmp_path)
    assert found.pod == {"uid": UID, "name": "uici-1", "namespace": "ops"}


def test_a_process_of_a_node_sees_the_volumes_of_pods_and_is_in_none(tmp_path: Path) -> None:
    mounts = f"1 2 8:1 / /var/lib/kubelet/pods/{UID}/volumes/x rw - tmpfs tmpfs rw\n"
    found = gather(
        environ={"POD_NAME": "x"}, proc=_proc(tmp_path / "proc", "0::/user.slice\n", mounts), account=tmp_path
    )
    assert found.pod == {}


@pytest.mark.parametrize("token", ["", "a.b", "a.%%%.c", "a.bm90IGpzb24.c", "a.W10.c", "a.bnVsbA.c"])
def test_a_token_that_is_none_tells_nothing(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    assert gather(environ={}, proc=_proc(tmp_path / "proc"), account=tmp_path).pod == {}

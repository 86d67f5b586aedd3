"""The starter's operations on a real cluster, through the whole engine: what they answer, change, verify and put back."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.kubernetes import BUSYBOX, Cluster, images
from uici.catalog import Catalog, UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts
from uici.journal import open_journal
from uici.model import Origin, Reason, Request, Result, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")

STARTER = Path(__file__).parents[3] / "infrastructure/config"
STAYS = ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 1 & wait; done"]
#: Takes 38 MiB and keeps them; it is the container's first process, which a kernel with cgroup v1 has to kill.
TAKES_38 = [
    "sh",
    "-c",
    "busybox mkfifo /tmp/p; sleep 1000000 <>/tmp/p & exec dd if=/dev/zero bs=38M count=1 of=/tmp/p",
]
MISSING = "localhost/uici-test/missing:2"
MIB = 1024 * 1024
FASTER = 5.0


class Place:
    """The engine with the starter's catalog, in one namespace."""

    def __init__(self, interface: UniversalInfrastructureInterface, cluster: Cluster, namespace: str) -> None:
        self.interface, self.cluster, self.namespace = interface, cluster, namespace

    async def ask(self, operation: str, **parameters: Any) -> Result:
        request = Request(operation=operation, parameters=parameters, environment="kubernetes", confirm=True)
        return await self.interface.execute(request, Origin("human", "anna"))

    async def do(self, operation: str, **parameters: Any) -> Result:
        return await self.ask(operation, namespace=self.namespace, **parameters)

    async def done(self, operation: str, **parameters: Any) -> Any:
        result = await self.do(operation, **parameters)
        assert result.status is Status.DONE, (result.message, result.undo, result.evidence[-6:])
        return result.answer

    def workload(
        self,
        name: str,
        command: list[str] | None = None,
        kind: str = "Deployment",
        *,
        replicas: int = 1,
        spec: dict[str, Any] | None = None,
        volumes: list[dict[str, Any]] | None = None,
        **container: Any,
    ) -> None:
        """Applied, not waited for."""
        one = {"name": "app", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": command or STAYS}
        pod = {"terminationGracePeriodSeconds": 1, "containers": [{**one, **container}], "volumes": volumes or []}
        labels = {"app": name}
        whole: dict[str, Any] = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        if kind != "DaemonSet":
            whole["replicas"] = replicas
        if kind == "StatefulSet":
            whole["serviceName"] = name
        manifest = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**whole, **(spec or {})},
        }
        self.cluster.apply(manifest, namespace=self.namespace)

    def up(self, name: str, kind: str = "deployment") -> None:
        """Waits for its rollout."""
        self.cluster.kubectl("rollout", "status", f"{kind}/{name}", f"--namespace={self.namespace}", "--timeout=60s")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.get(kind, name, f"--namespace={self.namespace}")

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    def container(self, name: str, kind: str = "deployment") -> dict[str, Any]:
        found: dict[str, Any] = self.get(kind, name)["spec"]["template"]["spec"]["containers"][0]
        return found

    def waits(self, name: str, *reasons: str, restarts: int = 0) -> None:
        """Until a Pod of it waits for one of these reasons."""

        def holds(pod: dict[str, Any]) -> bool:
            return pod["metadata"]["labels"].get("app") == name and any(
                one.get("state", {}).get("waiting", {}).get("reason") in reasons and one["restartCount"] >= restarts
                for one in pod["status"].get("containerStatuses", ())
            )

        self.cluster.until("pods", holds, self.namespace)


@pytest.fixture(scope="module")
def catalog(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("kubernetes") / "catalog"
    shutil.copytree(STARTER, folder)
    environment = {"executor": "kubernetes", "settings": {"kubeconfig": str(cluster.kubeconfig)}, "autonomy": "change"}
    document = {"version": 1, "environments": {"kubernetes": environment}}
    (folder / "environments.yml").write_text(yaml.safe_dump(document))
    return UniversalConfigLoader(folder).load()


@pytest.fixture
async def place(cluster: Cluster, namespace: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Place]:
    journal = await open_journal(f"sqlite:///{tmp_path}/journal.db")
    import kubernetes.aio.client  # noqa: F401  takes a second, which is several of the engine's

    # Time runs five times as fast for the engine, so that what has to last costs little.
    begin = time.time()
    interface = UniversalInfrastructureInterface(
        catalog,
        journal,
        facts=Facts(pids=(4711,), hostname="elsewhere"),
        clock=lambda: begin + (time.time() - begin) * FASTER,
        sleep=lambda seconds: asyncio.sleep(seconds / FASTER),
    )
    await interface.start()
    yield Place(interface, cluster, namespace)
    await interface.close(grace=5)
    await journal.close()


# Looking


async def test_what_is_seen(place: Place) -> None:
    place.workload("web", replicas=2, resources={"limits": {"memory": "64Mi", "cpu": "250m"}})
    place.workload("db", kind="StatefulSet")
    place.workload("agent", kind="DaemonSet")
    place.workload("crash", ["sh", "-c", "echo no space left on device; exit 3"])
    place.workload("none", replicas=0)
    # Between two crashes it runs for a moment; after the second one the next is half a minute away.
    place.waits("crash", "CrashLoopBackOff", restarts=2)
    for kind, name in (("deployment", "web"), ("statefulset", "db"), ("daemonset", "agent")):
        place.up(name, kind)
    listed = (await place.done("list_services"))["services"]
    assert {(one["service"], one["state"], one["health"]) for one in listed} == {
        ("web", "running", "healthy"),
        ("db", "running", "healthy"),
        ("agent", "running", "healthy"),
        ("crash", "starting", "unhealthy"),
        ("none", "stopped", "unknown"),
    }
    expected = {
        "web": ("running", 2, 2),
        "db": ("running", 1, 1),
        "agent": ("running", 1, 1),
        "none": ("stopped", 0, 0),
    }
    for service, answer in expected.items():
        status = await place.done("service_status", service=service)
        assert (status["state"], status["replicas"], status["ready"]) == answer, status
    status = await place.done("service_status", service="web")
    assert (status["image"], status["memory_limit_bytes"], status["restarts"]) == (BUSYBOX, 64 * MIB, 0)
    ill = await place.done("service_status", service="crash")
    assert ill["restarts"] >= 1
    assert "CrashLoopBackOff" in ill["message"]

    logs = await place.done("service_logs", service="crash")
    assert logs["lines"] == ["no space left on device"]
    assert [(one["name"], one["count"]) for one in logs["patterns"]] == [("disk_full", 1)]
    assert (await place.done("service_logs", service="web"))["lines"] == ["up", "up"]
    pod = (await place.done("identify_error_pods"))["pods"][0]
    assert (pod["service"], pod["container"], pod["exit_code"]) == ("crash", "app", 3)
    assert (await place.done("pod_logs", pod=pod["pod"], previous=True))["lines"] == ["no space left on device"]

    assert [one["service"] for one in (await place.done("list_unhealthy_services"))["services"]] == ["crash"]
    unwell = await place.done("list_unhealthy_workloads")
    assert [(one["service"], one["kind"]) for one in unwell["workloads"]] == [("crash", "Deployment")]
    assert [(one["service"], one["reason"]) for one in unwell["pods"]] == [("crash", "CrashLoopBackOff")]
    bounds = await place.done("check_resource_constraints", service="web")
    assert bounds["containers"] == [
        {
            "container": "app",
            "cpu_request_millicores": 0,
            "cpu_limit_millicores": 250,
            "memory_request_bytes": 0,
            "memory_limit_bytes": 64 * MIB,
        }
    ]
    told = (await place.done("get_events", object=pod["pod"]))["events"]
    assert "BackOff" in {one["reason"] for one in told}
    assert [one["at"] for one in told] == sorted((one["at"] for one in told), reverse=True)
    found = await place.done("diagnose_workload", service="crash")
    assert (found["cause"], found["exit_code"], found["of_newest_revision"]) == ("crash_exit", 3, False)
    assert (await place.done("diagnose_workload", service="web"))["cause"] == "none"
    described = await place.done("describe_workload", service="db")
    assert (described["kind"], described["containers"][0]["image"], len(described["pods"])) == (
        "StatefulSet",
        BUSYBOX,
        1,
    )
    assert (await place.ask("environment_health")).answer["ok"] is True


async def test_a_quota_that_is_used_up_holds_a_workload_back(place: Place) -> None:
    place.kubectl("create", "quota", "small", "--hard=pods=1")
    place.workload("web", replicas=2)
    place.cluster.until("deployment/web", lambda one: one["status"].get("availableReplicas") == 1, place.namespace)
    place.cluster.wait("deployment/web", "condition=ReplicaFailure", place.namespace)
    bounds = await place.done("check_resource_constraints", service="web")
    assert (bounds["constrained"], bounds["quotas"][0]["exhausted"]) == (True, True)
    assert (await place.done("diagnose_workload", service="web"))["cause"] == "quota"


async def test_without_a_metrics_api_that_is_what_is_said(place: Place) -> None:
    place.workload("web")
    result = await place.do("service_metrics", service="web")
    assert result.status is Status.FAILED
    assert "metrics.k8s.io" in result.message


@pytest.mark.parametrize(
    ("selector", "cause", "workload"),
    [({"app": "webb"}, "no_endpoints_selector", ""), ({"app": "web"}, "no_endpoints_not_ready", "web")],
)
async def test_a_service_without_endpoints_is_told_apart(
    place: Place, selector: dict[str, str], cause: str, workload: str
) -> None:
    place.workload("web", readinessProbe={"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1})
    service = {"selector": selector, "ports": [{"port": 80}]}
    place.cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": service},
        namespace=place.namespace,
    )
    place.cluster.until("pods", lambda one: one["status"].get("phase") == "Running", place.namespace)
    found = await place.done("diagnose_endpoints", service="front")
    assert (found["cause"], found["workload"], found["ready_endpoints"]) == (cause, workload, 0)


# Changing


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_stop_start_scale_and_restart(place: Place, kind: str) -> None:
    word = kind.lower()
    place.workload("web", kind=kind, replicas=2)
    place.up("web", word)
    result = await place.do("stop_service", service="web")
    assert (result.status, result.answer) == (Status.DONE, {"service": "web", "state": "stopped"}), result.message
    assert place.get(word, "web")["spec"]["replicas"] == 0
    again = await place.do("stop_service", service="web")
    assert (again.status, again.reason) == (Status.DONE, Reason.NOTHING_TO_DO), again.message
    await place.done("start_service", service="web")
    assert place.get(word, "web")["status"]["readyReplicas"] == 2, "as many as there were"
    await place.done("scale_service", service="web", replicas=1)
    assert place.get(word, "web")["spec"]["replicas"] == 1
    before = {one["metadata"]["uid"] for one in place.cluster.get("pods", f"--namespace={place.namespace}")["items"]}
    await place.done("restart_service", service="web")
    pods = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    now = {one["metadata"]["uid"] for one in pods if "deletionTimestamp" not in one["metadata"]}
    assert len(now) == 1
    assert not now & before


async def test_a_daemonset_is_restarted_and_cannot_be_scaled(place: Place) -> None:
    place.workload("agent", kind="DaemonSet")
    place.up("agent", "daemonset")
    await place.done("restart_service", service="agent")
    result = await place.do("scale_service", service="agent", replicas=2)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message


async def test_a_deployment_runs_another_image_and_is_marked_as_seen(place: Place) -> None:
    place.workload("web", replicas=2)
    place.up("web")
    await place.done("set_image", service="web", image=images.PAUSE, container="app")
    assert place.container("web")["image"] == images.PAUSE
    result = await place.do("set_image", service="web", image=BUSYBOX, container="sidecar")
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message
    revisions = await place.done("list_revisions", service="web")
    assert [(one["images"], one["seen"]) for one in revisions["revisions"]] == [
        ([images.PAUSE], "verified"),
        ([BUSYBOX], "no"),
    ]


@pytest.mark.parametrize("operation", ["deploy_service", "set_image"])
async def test_an_image_that_does_not_work_is_taken_back(place: Place, operation: str) -> None:
    place.workload("web", replicas=2, spec={"progressDeadlineSeconds": 3})
    place.up("web")
    before = place.get("deployment", "web")
    result = await place.do(operation, service="web", image=MISSING)
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    after = place.get("deployment", "web")
    assert after["spec"] == before["spec"]
    place.up("web")
    samples = [one for one in result.evidence if one.kind == "sample"]
    assert samples[-1].verdict == "fail", "a rollout that made no progress in time is not waited for any longer"


async def test_a_rollback_goes_to_what_was_seen_fully_available(place: Place) -> None:
    place.workload("web", replicas=2)
    place.up("web")
    place.kubectl("set", "image", "deployment/web", f"app={MISSING}")
    place.waits("web", "ErrImagePull", "ImagePullBackOff")
    # What has been ready for a moment shows nothing yet, so half a minute of the engine's passes.
    await asyncio.sleep(30 / FASTER)
    revisions = await place.done("list_revisions", service="web")
    assert (revisions["revision"], revisions["rollback_to"]) == (2, 1)
    result = await place.done("rollback_deployment", service="web")
    assert result == {"service": "web", "revision": 1, "images": [BUSYBOX]}
    assert place.container("web")["image"] == BUSYBOX
    revisions = await place.done("list_revisions", service="web")
    assert [(one["revision"], one["seen"]) for one in revisions["revisions"]] == [(3, "verified"), (2, "no")]


async def test_a_rollback_to_what_nobody_saw_is_a_persons(place: Place) -> None:
    place.workload("web", spec={"strategy": {"type": "Recreate"}})
    place.up("web")
    place.kubectl("set", "image", "deployment/web", f"app={MISSING}")
    place.waits("web", "ErrImagePull", "ImagePullBackOff")
    before = place.get("deployment", "web")["metadata"]["generation"]
    result = await place.do("rollback_deployment", service="web")
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message
    assert "known.rollback_to > 0" in result.message, "it says why"
    request = Request(
        operation="rollback_to_revision",
        parameters={"service": "web", "namespace": place.namespace, "revision": 1},
        environment="kubernetes",
    )
    waiting = await place.interface.execute(request, Origin("runbook", "test"), seen=True)
    assert waiting.status is Status.NEEDS_APPROVAL, waiting.message
    assert place.get("deployment", "web")["metadata"]["generation"] == before, "nothing was changed yet"
    assert (await place.done("rollback_to_revision", service="web", revision=1))["images"] == [BUSYBOX]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_other_workloads_go_back_to_a_revision_too(place: Place, kind: str) -> None:
    place.workload("db", kind=kind)
    place.up("db", kind.lower())
    place.kubectl("set", "env", f"{kind.lower()}/db", "MODE=new")
    place.up("db", kind.lower())
    revisions = await place.done("list_revisions", service="db")
    assert (revisions["revision"], revisions["previous"]) == (2, 1)
    await place.done("rollback_to_revision", service="db", revision=1)
    assert "env" not in place.container("db", kind.lower())


async def test_a_statefulset_whose_new_image_is_missing_gets_the_old_one(place: Place) -> None:
    place.workload("db", kind="StatefulSet", replicas=2)
    place.up("db", "statefulset")
    place.kubectl("set", "image", "statefulset/db", f"app={MISSING}")
    place.waits("db", "ErrImagePull", "ImagePullBackOff")
    answer = await place.done("rollback_service", service="db")
    assert answer == {"service": "db", "image": BUSYBOX}
    assert place.get("statefulset", "db")["status"]["readyReplicas"] == 2


async def test_more_memory_up_to_a_ceiling(place: Place) -> None:
    place.workload("web", TAKES_38, resources={"limits": {"memory": "32Mi"}, "requests": {"memory": "16Mi"}})
    killed = "the container is killed for want of memory"
    place.waits("web", "CrashLoopBackOff")
    (pod,) = (await place.done("identify_oom_pods"))["pods"]
    assert (pod["container"], pod["memory_limit_bytes"]) == ("app", 32 * MIB), killed
    assert (await place.done("diagnose_workload", service="web"))["cause"] == "out_of_memory", killed
    assert (await place.done("service_status", service="web"))["out_of_memory"] is True
    ceiling = await place.do("increase_memory_limit", service="web", ceiling_bytes=32 * MIB)
    assert (ceiling.status, ceiling.reason) == (Status.REFUSED, Reason.NOT_OFFERED), ceiling.message
    answer = await place.done("increase_memory_limit", service="web", ceiling_bytes=64 * MIB)
    assert (answer["container"], answer["previous_bytes"]) == ("app", 32 * MIB)
    assert answer["memory_bytes"] == 48 * MIB
    assert place.container("web")["resources"]["requests"] == {"memory": "16Mi"}
    answer = await place.done("update_memory_limit", service="web", memory_bytes=64 * MIB)
    assert place.container("web")["resources"]["limits"] == {"memory": "64Mi"}
    again = await place.do("update_memory_limit", service="web", memory_bytes=64 * MIB)
    assert (again.status, again.reason) == (Status.DONE, Reason.NOTHING_TO_DO), again.message


async def test_more_memory_that_does_not_help_is_taken_back(place: Place) -> None:
    place.workload(
        "web", ["tail", "/dev/zero"], spec={"progressDeadlineSeconds": 5}, resources={"limits": {"memory": "16Mi"}}
    )
    place.waits("web", "CrashLoopBackOff")
    result = await place.do("increase_memory_limit", service="web")
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert place.container("web")["resources"]["limits"] == {"memory": "16Mi"}


async def test_an_undo_does_not_undo_somebody_elses_change(place: Place) -> None:
    place.workload("web", ["tail", "/dev/zero"], resources={"limits": {"memory": "16Mi"}})
    place.waits("web", "CrashLoopBackOff")
    asked = asyncio.ensure_future(place.do("increase_memory_limit", service="web"))

    def raised(one: dict[str, Any]) -> bool:
        limit: str = one["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        return limit != "16Mi"

    await asyncio.to_thread(place.cluster.until, "deployment/web", raised, place.namespace)
    await asyncio.sleep(1)  # so that how it was left has been looked at
    place.kubectl("set", "resources", "deployment/web", "--limits=memory=20Mi")
    place.kubectl("patch", "deployment", "web", '--patch={"spec": {"progressDeadlineSeconds": 1}}')
    result = await asked
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    assert result.undo is not None
    assert result.undo["reason"] == "moved_on", result.undo
    assert place.container("web")["resources"]["limits"] == {"memory": "20Mi"}


async def test_a_rollout_is_paused_and_goes_on(place: Place) -> None:
    place.workload("web")
    place.up("web")
    assert await place.done("pause_rollout", service="web") == {"service": "web", "paused": True}
    assert (await place.done("service_status", service="web"))["state"] == "paused"
    refused = await place.do("restart_service", service="web")
    assert (refused.status, refused.reason) == (Status.REFUSED, Reason.NOT_OFFERED), "nothing would come of it"
    assert await place.done("resume_rollout", service="web") == {"service": "web", "paused": False}
    await place.done("pause_rollout", service="web")
    await place.done("unpause_service", service="web")


async def test_only_the_pods_that_fail_are_made_anew(place: Place) -> None:
    # One of two fails, since what it needs is there once.
    script = "[ -e /shared/taken ] && [ ! -e /shared/mended ] && exit 4; touch /shared/taken; exec sleep 1000000"
    place.workload(
        "web",
        ["sh", "-c", script],
        replicas=2,
        spec={"strategy": {"type": "Recreate"}},
        volumes=[{"name": "shared", "hostPath": {"path": f"/tmp/{place.namespace}", "type": "DirectoryOrCreate"}}],
        volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
    )
    try:
        place.waits("web", "CrashLoopBackOff")
        (bad,) = (await place.done("identify_error_pods"))["pods"]
        asked = asyncio.ensure_future(place.done("restart_error_pods", service="web"))
        await asyncio.to_thread(place.cluster.wait, f"pod/{bad['pod']}", "delete", place.namespace)
        await asyncio.to_thread(Path(f"/tmp/{place.namespace}/mended").touch)
        assert (await asked)["pods"] == [bad["pod"]]
    finally:
        shutil.rmtree(f"/tmp/{place.namespace}", ignore_errors=True)


async def test_a_pod_that_does_not_end_is_removed(place: Place) -> None:
    place.workload("web", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    place.up("web")
    (pod,) = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    name = pod["metadata"]["name"]
    place.kubectl("delete", "pod", name, "--grace-period=600", "--wait=false")
    answer = await place.done("pod_status", pod=name)
    assert (answer["uid"], answer["ending"]) == (pod["metadata"]["uid"], True)
    result = await place.do("delete_stuck_pod", pod=name)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert (await place.done("pod_status", pod=name))["exists"] is False


async def test_a_pod_that_a_finalizer_holds_is_not_said_to_be_removed(place: Place) -> None:
    place.workload("web")
    place.up("web")
    (pod,) = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    name = pod["metadata"]["name"]
    place.kubectl("patch", "pod", name, '--patch={"metadata": {"finalizers": ["uici.test/held"]}}')
    place.kubectl("delete", "pod", name, "--wait=false")
    result = await place.do("delete_stuck_pod", pod=name)
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    place.kubectl("patch", "pod", name, '--patch={"metadata": {"finalizers": null}}')
    place.cluster.wait(f"pod/{name}", "delete", place.namespace)


async def test_remove_removes_one_workload(place: Place) -> None:
    place.workload("web")
    place.workload("other")
    place.up("web")
    result = await place.do("remove_service", service="web")
    assert result.status is Status.DONE, result.message
    left = place.cluster.get("deployments", f"--namespace={place.namespace}")["items"]
    assert [one["metadata"]["name"] for one in left] == ["other"]


# Nodes


async def test_a_node_is_cordoned_and_taken_back(place: Place) -> None:
    node = place.cluster.node
    try:
        result = await place.ask("cordon_node", node=node)
        assert result.answer == {"node": node, "unschedulable": True}, result.message
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is True
        again = await place.ask("cordon_node", node=node)
        assert (again.status, again.reason) == (Status.DONE, Reason.NOTHING_TO_DO), again.message
        result = await place.ask("uncordon_node", node=node)
        assert result.answer == {"node": node, "unschedulable": False}, result.message
    finally:
        place.cluster.kubectl("uncordon", node)


async def test_a_node_is_drained_pod_by_pod(place: Place) -> None:
    if not place.cluster.private:
        pytest.skip("others may have Pods on a cluster that was lent")
    node = place.cluster.node
    # None of them serves, and there is no other node to serve from: nobody loses anything.
    place.workload("web", replicas=2, readinessProbe={"exec": {"command": ["false"]}})
    place.workload("agent", kind="DaemonSet")
    place.up("agent", "daemonset")
    place.cluster.until("deployment/web", lambda one: one["status"].get("unavailableReplicas") == 2, place.namespace)
    try:
        result = await place.ask("drain_node", node=node)
        assert result.status is Status.DONE, (result.message, result.undo, result.evidence[-8:])
        own = [one for one in result.answer["evicted"] if one.startswith(f"{place.namespace}/")]
        assert len(own) == 2
        assert all("/web-" in one for one in own), "what a DaemonSet runs would be put back"
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is True
    finally:
        place.cluster.kubectl("uncordon", node)


async def test_a_drain_ends_where_too_many_would_be_gone_and_the_node_is_given_back(place: Place) -> None:
    if not place.cluster.private:
        pytest.skip("others may have Pods on a cluster that was lent")
    node = place.cluster.node
    place.workload("web", replicas=3)
    place.up("web")
    try:
        result = await place.ask("drain_node", node=node)
        assert (result.status, result.reason) == (Status.FAILED, Reason.BLAST_RADIUS), result.message
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is False
    finally:
        place.cluster.kubectl("uncordon", node)
    place.up("web")

"""What the starter's operations answer about a real cluster, through the whole engine; none of them changes anything."""

from __future__ import annotations

import pytest

from tests.engines.kubernetes import BUSYBOX
from tests.executors.kubernetes.place import Place
from uici.model import Status

pytestmark = pytest.mark.engine("kubernetes")

MIB = 1024 * 1024


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
            "init": False,
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

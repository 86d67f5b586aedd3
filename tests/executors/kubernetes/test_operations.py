"""The starter's operations on workloads and Pods of a real cluster, through the whole engine: what they change and verify."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.executors.kubernetes.place import Place
from uici.model import Reason, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")


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


async def test_the_last_lines_are_the_newest_however_long_they_are(place: Place) -> None:
    script = "s=$(busybox printf '%900s' x); i=0; while [ $i -lt 1500 ]; do echo $s $i; i=$((i+1)); done; echo the end; exec sleep 1000000"
    place.workload("web", ["sh", "-c", script.replace("$s $i", '"$s $i"')])
    place.up("web")
    (pod,) = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    for operation, about in (("service_logs", {"service": "web"}), ("pod_logs", {"pod": pod["metadata"]["name"]})):
        lines = (await place.done(operation, lines=2000, **about))["lines"]
        assert lines[-1] == "the end", (operation, lines[-1][-20:])


async def test_a_pod_that_hangs_is_restarted_where_the_rollout_is_ordered(place: Place) -> None:
    """The controller waits for it to be ready before it gives any Pod the new template."""
    script = "trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 1 & wait; done"
    probe = {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    place.workload("db", ["sh", "-c", script], kind="StatefulSet", replicas=2, readinessProbe=probe)
    place.up("db", "statefulset")
    place.cluster.kubectl("exec", "db-0", f"--namespace={place.namespace}", "--", "rm", "/tmp/ready")
    place.cluster.until("statefulset/db", lambda one: one["status"].get("readyReplicas") == 1, place.namespace)
    await place.done("restart_service", service="db")
    assert place.get("statefulset", "db")["status"]["readyReplicas"] == 2


async def test_a_daemonset_is_restarted_and_cannot_be_scaled(place: Place) -> None:
    place.workload("agent", kind="DaemonSet")
    place.up("agent", "daemonset")
    await place.done("restart_service", service="agent")
    result = await place.do("scale_service", service="agent", replicas=2)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message


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


@pytest.mark.parametrize("faster", [1.0])  # between two crashes it runs for a moment, which tells by how long
async def test_only_the_pods_that_fail_are_made_anew(place: Place) -> None:
    # One of two fails, since what it needs is there once; both may begin at the same moment.
    script = "mkdir /shared/taken || [ -e /shared/mended ] || exit 4; exec sleep 1000000"
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

"""Memory limits by the starter's operations on a real cluster: raised to a ceiling, taken back, and left to who changed them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.executors.kubernetes.place import Place
from uici.model import Reason, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")

#: Takes 38 MiB and keeps them; it is the container's first process, which a kernel with cgroup v1 has to kill.
TAKES_38 = [
    "sh",
    "-c",
    "busybox mkfifo /tmp/p; sleep 1000000 <>/tmp/p & exec dd if=/dev/zero bs=38M count=1 of=/tmp/p",
]
MIB = 1024 * 1024


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


async def test_more_memory_reaches_a_pod_that_an_ordered_rollout_waits_for(place: Place) -> None:
    """It is never ready, so that its controller would not replace it."""
    place.workload(
        "db",
        TAKES_38,
        kind="StatefulSet",
        resources={"limits": {"memory": "32Mi"}},
        readinessProbe={"exec": {"command": ["test", "-p", "/tmp/p"]}, "initialDelaySeconds": 3, "periodSeconds": 1},
    )
    place.waits("db", "CrashLoopBackOff")
    assert (await place.done("increase_memory_limit", service="db"))["memory_bytes"] == 48 * MIB
    assert place.get("statefulset", "db")["status"]["readyReplicas"] == 1


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

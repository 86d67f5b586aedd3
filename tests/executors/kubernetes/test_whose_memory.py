"""Memory for the very container that was killed for want of it, on a real cluster; where that cannot be had, nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.kubernetes import BUSYBOX, images
from tests.executors.kubernetes.place import STAYS, Place
from uici.model import Reason, Status

pytestmark = pytest.mark.engine("kubernetes")

#: Each takes 38 MiB by its first process, which a kernel with cgroup v1 has to kill: one keeps them, one is done at once.
KEEPS = ["sh", "-c", "busybox mkfifo /tmp/p; sleep 1000000 <>/tmp/p & exec dd if=/dev/zero bs=38M count=1 of=/tmp/p"]
ENDS = ["dd", "if=/dev/zero", "bs=38M", "count=1", "of=/dev/null"]
#: Where it has memory enough, the disk is full.
FAILS = ["dd", "if=/dev/zero", "bs=38M", "count=1", "of=/dev/full"]
#: Where the one that needs 38 MiB and has 32 stands in the Pod, and what it does.
GREEDY: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "before the others": ("initContainers", ENDS, {}),
    "a sidecar of initContainers": ("initContainers", KEEPS, {"restartPolicy": "Always"}),
    "beside the main one": ("containers", KEEPS, {}),
}


def container(name: str, command: list[str], limit: str, **more: Any) -> dict[str, Any]:
    one = {"name": name, "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": command}
    return {**one, "resources": {"limits": {"memory": limit}}, **more}


def killed(place: Place, where: str) -> dict[str, Any]:
    """A workload whose container ``greedy`` is killed again and again; its Pod template's specification."""
    group, command, more = GREEDY[where]
    containers: dict[str, list[dict[str, Any]]] = {"containers": [container("app", STAYS, "64Mi")]}
    containers.setdefault(group, []).append(container("greedy", command, "32Mi", **more))
    pod = {"terminationGracePeriodSeconds": 1, **containers}
    place.workload("web", spec={"template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}})
    place.cluster.until("pods", _was_killed, place.namespace)
    return limits(place)


def _was_killed(pod: dict[str, Any]) -> bool:
    statuses = (pod["status"].get(key) or () for key in ("initContainerStatuses", "containerStatuses"))
    ended = [
        state.get("terminated") or {} for some in statuses for one in some for state in (one["state"], one["lastState"])
    ]
    return any(one.get("reason") == "OOMKilled" for one in ended)


def limits(place: Place) -> dict[str, str]:
    spec = place.get("deployment", "web")["spec"]["template"]["spec"]
    both = [*spec["containers"], *spec.get("initContainers", ())]
    return {one["name"]: one["resources"]["limits"]["memory"] for one in both}


@pytest.mark.parametrize("where", GREEDY)
async def test_the_one_that_was_killed_gets_more(place: Place, where: str) -> None:
    assert killed(place, where) == {"app": "64Mi", "greedy": "32Mi"}
    found = await place.done("diagnose_workload", service="web")
    assert (found["cause"], found["container"]) == ("out_of_memory", "greedy"), found
    answer = await place.done("increase_memory_limit", service="web")
    assert (answer["container"], answer["memory_bytes"]) == ("greedy", 48 * 1024 * 1024)
    assert limits(place) == {"app": "64Mi", "greedy": "48Mi"}


async def test_what_does_not_help_an_init_container_is_taken_back(place: Place) -> None:
    before = killed(place, "before the others")
    place.kubectl("patch", "deployment", "web", '--patch={"spec": {"progressDeadlineSeconds": 5}}')
    result = await place.do("increase_memory_limit", service="web", percent=110)
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert limits(place) == before


async def test_what_fails_otherwise_with_more_is_taken_back_from_the_very_container(place: Place) -> None:
    """Nothing is killed any more by then, so that what its Pods tell would lead to another container."""
    place.workload(
        "web",
        spec={
            "progressDeadlineSeconds": 5,
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container("app", STAYS, "64Mi"), container("greedy", FAILS, "32Mi")],
                },
            },
        },
    )
    place.cluster.until("pods", _was_killed, place.namespace)
    result = await place.do("increase_memory_limit", service="web")
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert limits(place) == {"app": "64Mi", "greedy": "32Mi"}


async def test_where_it_cannot_be_given_more_nothing_else_is(place: Place) -> None:
    before = killed(place, "before the others")
    result = await place.do("increase_memory_limit", service="web", ceiling_bytes=32 * 1024 * 1024)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message
    assert limits(place) == before


async def test_another_image_of_an_init_container(place: Place) -> None:
    killed(place, "a sidecar of initContainers")
    await place.done("increase_memory_limit", service="web")
    place.up("web")
    await place.done("set_image", service="web", container="greedy", image=images.PAUSE)
    kept = place.get("deployment", "web")["spec"]["template"]["spec"]
    assert [one["image"] for one in kept["initContainers"]] == [images.PAUSE]

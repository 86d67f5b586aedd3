"""Workloads whose Pods stay as they are until somebody deletes them or lets the rollout go on, on a real cluster: nothing is said
to have worked that no Pod runs, and what asks for no new template is none the worse for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.kubernetes import BUSYBOX, images
from tests.executors.kubernetes.place import Place
from uici.model import Status, Verification

pytestmark = pytest.mark.engine("kubernetes")

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/held_back.yml").read_text())
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


def given(place: Place, kind: str, spec: dict[str, Any], replicas: int = 2) -> dict[str, str]:
    """A workload ``db`` that is up; the uids of its Pods, with their images."""
    replicas = 1 if kind == "DaemonSet" else replicas
    resources = {"limits": {"memory": "64Mi"}}
    paused = bool(spec.get("paused"))  # one that is paused from the first has no Pods
    place.workload("db", kind=kind, replicas=replicas, resources=resources, spec={} if paused else spec)
    ready = "numberAvailable" if kind == "DaemonSet" else "availableReplicas"
    place.cluster.until(f"{kind.lower()}/db", lambda one: one["status"].get(ready) == replicas, place.namespace)
    if paused:
        place.kubectl("rollout", "pause", "deployment/db")
    return running(place)


def running(place: Place) -> dict[str, str]:
    pods = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    return {one["metadata"]["uid"]: one["spec"]["containers"][0]["image"] for one in pods}


def pending(place: Place, kind: str) -> None:
    """Somebody has given it another template, which none of its Pods runs yet."""
    place.kubectl("set", "image", f"{kind.lower()}/db", f"app={images.PAUSE}")
    place.cluster.until(
        f"{kind.lower()}/db",
        lambda one: one["status"].get("observedGeneration") == one["metadata"]["generation"],
        place.namespace,
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_what_no_pod_runs_is_not_verified(place: Place, case: dict[str, Any]) -> None:
    before = given(place, case["kind"], case["spec"])
    container = place.container("db", case["kind"])
    result = await place.do(case["operation"], service="db", **case.get("parameters", {}))
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    samples = [one for one in result.evidence if one.kind == "sample"]
    assert samples[-1].verdict == "fail", "nothing would come of waiting"
    assert place.container("db", case["kind"]) == container, (result.message, result.undo)
    assert running(place) == before


async def test_a_partition_keeps_what_it_is_meant_to_keep(place: Place) -> None:
    given(place, "StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}})
    result = await place.do("set_image", service="db", image=images.PAUSE)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert sorted(running(place).values()) == sorted((BUSYBOX, images.PAUSE))


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_what_waits_to_be_deleted_is_no_trouble(place: Place, kind: str) -> None:
    given(place, kind, ON_DELETE)
    pending(place, kind)
    status = await place.done("service_status", service="db")
    assert (status["state"], status["health"], status["held_back"]) == ("running", "healthy", status["replicas"]), (
        status
    )
    assert "of an older template" in status["message"]
    assert (await place.done("list_unhealthy_workloads"))["workloads"] == []
    assert (await place.done("list_unhealthy_services"))["services"] == []


async def test_what_all_pods_run_already_is_gone_back_to(place: Place) -> None:
    before = given(place, "StatefulSet", ON_DELETE)
    pending(place, "StatefulSet")
    result = await place.do("rollback_to_revision", service="db", revision=1)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert running(place) == before


@pytest.mark.parametrize("replicas", [1, 3])
async def test_scaling_asks_for_no_new_template(place: Place, replicas: int) -> None:
    given(place, "StatefulSet", ON_DELETE)
    pending(place, "StatefulSet")
    result = await place.do("scale_service", service="db", replicas=replicas)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert place.get("statefulset", "db")["status"]["availableReplicas"] == replicas

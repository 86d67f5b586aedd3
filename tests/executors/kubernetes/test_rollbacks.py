"""Images and revisions by the starter's operations on a real cluster: what is put in, seen, taken back and gone back to."""

from __future__ import annotations

import asyncio

import pytest

from tests.engines.kubernetes import BUSYBOX, images
from tests.executors.kubernetes.place import FASTER, MISSING, Place
from uici.model import Origin, Reason, Request, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")


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
    waiting = await place.interface.execute(request, Origin("runbook", "test"))
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


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_other_workloads_go_back_to_the_newest_that_was_seen(place: Place, kind: str) -> None:
    """Whatever it differs in: here it has the same image."""
    place.workload("db", kind=kind)
    place.up("db", kind.lower())
    await place.done("set_image", service="db", image=images.PAUSE)
    place.kubectl("set", "env", f"{kind.lower()}/db", "MODE=new")
    place.up("db", kind.lower())
    assert await place.done("rollback_deployment", service="db") == {
        "service": "db",
        "revision": 2,
        "images": [images.PAUSE],
    }
    container = place.container("db", kind.lower())
    assert (container["image"], "env" in container) == (images.PAUSE, False)
    newest = (await place.done("list_revisions", service="db"))["revisions"][0]
    assert (newest["revision"], newest["seen"]) == (4, "verified")


async def test_a_statefulset_whose_new_image_is_missing_gets_the_old_one(place: Place) -> None:
    place.workload("db", kind="StatefulSet", replicas=2)
    place.up("db", "statefulset")
    place.kubectl("set", "image", "statefulset/db", f"app={MISSING}")
    place.waits("db", "ErrImagePull", "ImagePullBackOff")
    answer = await place.done("rollback_service", service="db")
    assert answer == {"service": "db", "image": BUSYBOX}
    assert place.get("statefulset", "db")["status"]["readyReplicas"] == 2

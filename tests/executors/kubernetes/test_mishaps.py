"""The starter's operations on a real cluster where something goes wrong: what is lost, what is in doubt, what somebody else does
meanwhile, and what is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engines.kubernetes import BUSYBOX, Cluster, images
from tests.executors.kubernetes.place import MISSING, Place
from tests.executors.whole import starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.executor import Outcome, Unknown
from uici.model import Call, Reason, Status

pytestmark = pytest.mark.engine("kubernetes")


@pytest.fixture(scope="module")
def catalog(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The starter's; what does not come true is waited for half a minute instead of ten."""
    settings = {"kubeconfig": str(cluster.kubeconfig)}
    folder = starter(tmp_path_factory.mktemp("mishaps") / "catalog", "kubernetes", settings)
    translations = folder / "command_translations/kubernetes.yml"
    text = translations.read_text()
    for long, short in (("10m", "30s"), ("12m", "60s"), ("5m", "20s")):
        text = text.replace(f"verify_within: {long}", f"verify_within: {short}")
    translations.write_text(text)
    return UniversalConfigLoader(folder).load()


async def test_an_undo_that_is_said_to_be_done_is_done(place: Place) -> None:
    """An undo sees its parent's `before`: by that, nothing would be left to do."""
    place.workload("web", replicas=2)
    place.up("web")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    place.cluster.apply(quota, namespace=place.namespace)
    result = await place.do("scale_service", service="web", replicas=4)
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert place.get("deployment", "web")["spec"]["replicas"] == 2, (result.message, result.undo)


async def test_more_replicas_than_may_be_asked_for_come_back(place: Place) -> None:
    """The bounds of what may be asked for are none of what was there before."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    place.cluster.apply(quota, namespace=place.namespace)
    place.workload("web", replicas=150)
    place.cluster.until("deployment/web", lambda one: one["status"].get("readyReplicas") == 1, place.namespace)
    result = await place.do("scale_service", service="web", replicas=90)
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert place.get("deployment", "web")["spec"]["replicas"] == 150


async def test_what_is_stopped_is_not_scaled(place: Place) -> None:
    """It could not be put back: to no replicas is for a person to say."""
    place.workload("web", replicas=0)
    result = await place.do("scale_service", service="web", replicas=2)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message
    assert "before.replicas > 0" in result.message, "it says why"
    assert place.get("deployment", "web")["spec"]["replicas"] == 0


async def test_an_autoscalers_step_is_nobodys_change_of_what_was_gone_back_to(place: Place) -> None:
    place.workload("web", ["sh", "-c", "sleep 3; exit 1"])
    place.cluster.until("pods", lambda one: one["status"].get("phase") == "Running", place.namespace)
    place.workload("web")
    place.up("web")
    before = place.get("deployment", "web")["spec"]["template"]
    asked = asyncio.ensure_future(place.do("rollback_to_revision", service="web", revision=1))

    def gone_back(one: dict[str, Any]) -> bool:
        return bool(one["spec"]["template"] != before)

    await asyncio.to_thread(place.cluster.until, "deployment/web", gone_back, place.namespace)
    await asyncio.sleep(1)  # so that how it was left has been looked at
    await asyncio.to_thread(place.kubectl, "scale", "deployment/web", "--replicas=2")
    result = await asked
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    after = place.get("deployment", "web")["spec"]
    assert (after["template"], after["replicas"]) == (before, 2)


@pytest.mark.parametrize("operation", ["set_image", "deploy_service"])
async def test_what_is_put_back_reaches_the_pods_of_an_ordered_rollout(place: Place, operation: str) -> None:
    """The controller waits for the one whose image is missing, whatever its template says by then."""
    place.workload("db", kind="StatefulSet", replicas=2)
    place.up("db", "statefulset")
    result = await place.do(operation, service="db", image=MISSING)
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    place.up("db", "statefulset")
    pods = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    assert [one["spec"]["containers"][0]["image"] for one in pods] == [BUSYBOX, BUSYBOX]


async def test_a_stop_that_was_lost_is_not_proven_by_a_stuck_rollout(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`failed` is stopped for supervisord; a Deployment whose rollout is stuck still runs its old Pods."""
    place.workload("web", spec={"progressDeadlineSeconds": 3})
    place.up("web")
    place.kubectl("set", "image", "deployment/web", f"app={MISSING}")
    place.cluster.until(
        "deployment/web",
        lambda one: any(c.get("reason") == "ProgressDeadlineExceeded" for c in one["status"].get("conditions", ())),
        place.namespace,
    )
    lost = await _lost(place, monkeypatch, "AppsV1Api.patch_namespaced_deployment", happens=False)
    result = await place.do("stop_service", service="web")
    assert lost
    replicas = place.get("deployment", "web")["spec"]["replicas"]
    assert (result.status is Status.DONE) == (replicas == 0), (result.status, result.message, replicas)


async def test_a_job_that_was_cleared_away_is_not_run_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ran, its time to live was over, and only then is it looked at whether it was made."""
    made = await _lost(place, monkeypatch, "BatchV1Api.create_namespaced_job", happens=True, deletes=True)
    result = await place.do("run_job", name="once", image=BUSYBOX, command=["true"], keep_seconds=60)
    assert result.status is Status.IN_DOUBT, result.message
    assert len(made) == 1


async def test_what_still_runs_is_not_stopped_for_what_was_cleared_away(place: Place) -> None:
    variants = [{"name": "short", "command": ["true"]}, {"name": "long", "command": ["sleep", "15"]}]
    asked = asyncio.ensure_future(
        place.do("run_job", name="two", image=BUSYBOX, keep_seconds=60, deadline_seconds=600, variants=variants)
    )
    ended = await asyncio.to_thread(
        place.cluster.until, "jobs", lambda one: one["status"].get("succeeded") == 1, place.namespace
    )
    assert ended["spec"]["ttlSecondsAfterFinished"] == 660, "longer than the other one may take"
    await asyncio.to_thread(place.kubectl, "delete", f"job/{ended['metadata']['name']}")
    result = await asked
    assert result.status is Status.UNVERIFIED, "what became of the other one nobody saw"
    (left,) = place.cluster.get("jobs", f"--namespace={place.namespace}")["items"]
    assert left["status"].get("succeeded") == 1, left["status"]


@pytest.mark.parametrize(
    ("kind", "somebody"),
    [
        ("StatefulSet", ("annotate", "statefulset/web", "owner=somebody")),
        ("Deployment", ("set", "env", "deployment/web", "C=1")),
    ],
)
async def test_a_rollback_sees_what_somebody_does_while_it_looks(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    somebody: tuple[str, ...],
) -> None:
    """Between the look at it and its patch a monitor is asked, for seconds."""
    place.workload("web", kind=kind)
    place.up("web", kind.lower())
    place.kubectl("set", "env", f"{kind.lower()}/web", "B=1")
    place.up("web", kind.lower())
    opened = await place.interface._core.environments.get("kubernetes")
    run = opened.executor.run
    seen: list[Call] = []

    async def meanwhile(call: Call) -> Outcome:
        if call.path == "prometheus.query" and not seen:
            seen.append(call)
            await asyncio.to_thread(place.kubectl, *somebody)
        return await run(call)

    monkeypatch.setattr(opened.executor, "run", meanwhile)
    result = await place.do("rollback_to_revision", service="web", revision=1)
    assert seen
    assert result.status is Status.DONE, (result.reason, result.message)
    assert kind == "Deployment" or "owner" in place.get(kind, "web")["metadata"]["annotations"]


async def test_a_pod_that_became_well_meanwhile_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is part of what its version tells: the deletion is refused, and what is looked at anew does not fail."""
    place.workload("web", image=MISSING)
    place.waits("web", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")
    (seen,) = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]

    def mend() -> None:
        place.kubectl("set", "image", f"pod/{seen['metadata']['name']}", f"app={BUSYBOX}")
        place.cluster.wait(f"pod/{seen['metadata']['name']}", "condition=Ready", place.namespace)

    looks = await _between_look_and_deletion(place, monkeypatch, mend)
    result = await place.do("restart_error_pods", service="web")
    assert len(looks) == 2, "it was looked at anew"
    assert (result.status, result.reason) == (Status.DONE, Reason.NOTHING_TO_DO), result.message
    (pod,) = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    assert pod["metadata"]["uid"] == seen["metadata"]["uid"]


async def test_a_pod_that_fails_otherwise_meanwhile_is_made_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pod that crashes changes every few seconds; that alone does not save it."""
    place.workload("web", image=MISSING, replicas=2)
    place.waits("web", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")
    pods = place.cluster.get("pods", f"--namespace={place.namespace}")["items"]
    for one in pods:  # each of them, and none on its way to the next pull
        place.cluster.until(f"pod/{one['metadata']['name']}", _backs_off, place.namespace)
    seen = {one["metadata"]["uid"] for one in pods}
    assert len(seen) == 2

    def annotate() -> None:
        place.kubectl("annotate", "pod", "--selector=app=web", "seen=again")

    looks = await _between_look_and_deletion(place, monkeypatch, annotate)
    result = await place.do("restart_error_pods", service="web")
    assert len(looks) == 2, "it was looked at anew"
    assert result.status is Status.UNVERIFIED, f"its image is still missing: {result.message}"
    kept = {pod["metadata"]["uid"] for pod in place.cluster.get("pods", f"--namespace={place.namespace}")["items"]}
    assert not kept & seen


def _backs_off(pod: dict[str, Any]) -> bool:
    reasons = [one["state"].get("waiting", {}).get("reason") for one in pod["status"].get("containerStatuses", ())]
    return bool(reasons) and set(reasons) <= {"ImagePullBackOff", "ErrImageNeverPull"}


async def _between_look_and_deletion(
    place: Place, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]
) -> list[Call]:
    """Does it once, after the steps' first look at the Pods. Gives those looks as they are made."""
    opened = await place.interface._core.environments.get("kubernetes")
    run = opened.executor.run
    looks: list[Call] = []
    before: list[Call] = []

    async def meanwhile(call: Call) -> Outcome:
        outcome = await run(call)
        if call.path == "status.workloads" and not before:
            before.append(call)  # how it was before, not yet a step's
        elif call.path == "status.workloads" and len(looks) < 2:
            looks.append(call)
            if len(looks) == 1:
                await asyncio.to_thread(do)
        return outcome

    monkeypatch.setattr(opened.executor, "run", meanwhile)
    return looks


# The mark of a revision that was seen to work


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_revision_that_was_proven_bears_a_mark_of_its_own(place: Place, kind: str) -> None:
    """Whose it is stands in it: `kubectl rollout undo` copies a ReplicaSet's annotations to the Deployment, and so to the next."""
    place.workload("web", kind=kind)
    place.up("web", kind.lower())
    await place.done("set_image", service="web", image=images.PAUSE)
    ((name, hashed, mark),) = _marks(place, kind)
    assert mark.startswith(f"{hashed if kind == 'Deployment' else name} 20"), mark
    answer = await place.done("list_revisions", service="web")
    assert [one["name"] for one in answer["revisions"] if one["seen"] == "verified"] == [name]


async def test_a_release_that_comes_in_between_does_not_get_the_mark(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.workload("web")
    place.up("web")
    opened = await place.interface._core.environments.get("kubernetes")
    run = opened.executor.run
    seen: list[Call] = []

    async def meanwhile(call: Call) -> Outcome:
        if call.path == "AppsV1Api.list_namespaced_replica_set" and not seen:
            seen.append(call)
            await asyncio.to_thread(place.kubectl, "set", "image", "deployment/web", f"app={MISSING}")
            await asyncio.to_thread(place.waits, "web", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")
        return await run(call)

    monkeypatch.setattr(opened.executor, "run", meanwhile)
    result = await place.do("set_image", service="web", image=images.PAUSE)
    assert result.status is Status.DONE, result.message
    assert seen
    assert not _marks(place, "Deployment")


async def test_what_ends_after_some_seconds_is_not_marked(place: Place) -> None:
    place.workload("web", ["sh", "-c", "sleep 3; exit 1"])
    place.cluster.until("pods", lambda one: one["status"].get("phase") == "Running", place.namespace)
    place.workload("web")
    place.up("web")
    result = await place.do("rollback_to_revision", service="web", revision=1)
    assert result.status is Status.UNVERIFIED, result.message
    assert not _marks(place, "Deployment")


def _marks(place: Place, kind: str) -> list[tuple[str, str, str]]:
    """Name, hash and mark of each revision that bears one."""
    what = "replicasets" if kind == "Deployment" else "controllerrevisions"
    found = [one["metadata"] for one in place.cluster.get(what, f"--namespace={place.namespace}")["items"]]
    return [
        (one["name"], one["labels"].get("pod-template-hash", ""), one["annotations"]["uici/verified-at"])
        for one in found
        if "uici/verified-at" in one.get("annotations", {})
    ]


async def _lost(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    *,
    happens: bool,
    deletes: bool = False,
) -> list[Call]:
    """The first such call's answer is lost; ``happens``: it was carried out, and ``deletes``: what it made is gone by then.
    All such calls, as they are made."""
    opened = await place.interface._core.environments.get("kubernetes")
    run = opened.executor.run
    made: list[Call] = []

    async def lost(call: Call) -> Outcome:
        if call.path != path:
            return await run(call)
        made.append(call)
        if len(made) > 1:
            return await run(call)
        if happens:
            await run(call)
        if deletes:
            await asyncio.to_thread(place.kubectl, "delete", f"job/{call.arguments['body']['metadata']['name']}")
        return Unknown(message="no answer in time")

    monkeypatch.setattr(opened.executor, "run", lost)
    return made

"""Which revisions of a workload can be gone back to, and which of them were seen fully available.

A word of the executor's own for translations, ``status.revisions``. Pure: objects that were read go in, and what a monitor
remembers; nothing is asked and nothing is decided.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from uici_executors.kubernetes.readings import Object, condition, kind_of, main_container, moment_of

#: On the ReplicaSet or ControllerRevision of a rollout that UICI has verified: whose mark it is (``pod-template-hash``; of a
#: ControllerRevision its name), and when. A mark goes on to what comes later: `kubectl rollout undo` gives the workload the
#: annotations of what it goes back to, and the controller gives its own to each new one.
VERIFIED_AT = "uici/verified-at"
NUMBER = "deployment.kubernetes.io/revision"
_HASH, _REVISION = "pod-template-hash", "controller-revision-hash"
#: A Pod that has been ready for less shows nothing yet: one that crashes is ready too, for a moment.
PROVEN = timedelta(seconds=30)
#: A Pod that has stood for so long shows that its revision works, as a monitor's ten minutes do.
LASTED = timedelta(minutes=10)


def look(
    workload: Object,
    revisions: Sequence[Object],
    pods: Sequence[Object],
    now: str,
    series: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``{current, current_name, current_seen, rollback_to, image_to, previous, revisions}``.

    ``revisions``: ReplicaSets of a Deployment, ControllerRevisions of the others; those of other owners are left out.
    ``now``: RFC 3339. ``series``: of kube-state-metrics, with the label ``replicaset``; each was fully available once.
    ``rollback_to``: the newest older one that was seen; ``previous``: the newest older one. 0: there is none. ``template``
    of each is what the workload would be given. ``current_seen``: whether the newest one itself was seen to work, so that
    later trouble is none of its making. That it is whole at the moment does not say so.
    """
    uid = workload["metadata"].get("uid")
    deployment = kind_of(workload) == "Deployment"
    monitored = {str((one.get("labels") or {}).get("replicaset", "")) for one in series}
    found: list[dict[str, Any]] = []
    own = [
        one
        for one in revisions
        if any(reference.get("uid") == uid for reference in one["metadata"].get("ownerReferences") or ())
    ]
    # One that is gone back to gets a new number and stays as old as it is; of the same second any may be the first.
    oldest = min(map(_age, own), default="")
    for one in own:
        template = _template(one)
        status = one.get("status") or {}
        found.append(
            {
                "revision": _number(one),
                "name": str(one["metadata"]["name"]),
                "images": [
                    str(container.get("image", ""))
                    for container in (template.get("spec") or {}).get("containers") or ()
                ],
                "image": _image(template),
                "replicas": int(status.get("replicas") or 0),
                "available": int(status.get("availableReplicas") or 0),
                "seen": _seen(one, workload, pods, now, monitored, first=_age(one) == oldest),
                "template": template,
            }
        )
    found.sort(key=lambda one: one["revision"], reverse=True)
    current = int((workload["metadata"].get("annotations") or {}).get(NUMBER) or 0) if deployment else 0
    current = current or max((one["revision"] for one in found), default=0)
    older = [one for one in found if one["revision"] < current]
    image = _image((workload.get("spec") or {}).get("template") or {})
    newest = next((one for one in found if one["revision"] == current), None)
    return {
        "current": current,
        "current_name": newest["name"] if newest else "",
        "current_seen": newest is not None
        and (newest["seen"] in ("verified", "monitored") or _lasts(newest["name"], own, pods, now)),
        "rollback_to": next((one["revision"] for one in older if one["seen"] != "no"), 0),
        "image_to": next((one["revision"] for one in older if one["seen"] != "no" and one["image"] != image), 0),
        "previous": older[0]["revision"] if older else 0,
        "revisions": found,
    }


def _age(one: Object) -> str:
    return str(one["metadata"].get("creationTimestamp", ""))


def _number(one: Object) -> int:
    annotated = (one["metadata"].get("annotations") or {}).get(NUMBER)
    return int(annotated if annotated is not None else one.get("revision") or 0)


def _template(one: Object) -> dict[str, Any]:
    """Of a ReplicaSet, or of what a ControllerRevision keeps, without the mark that tells one template from another."""
    whole = (one.get("spec") or (one.get("data") or {}).get("spec") or {}).get("template") or {}
    template: dict[str, Any] = copy.deepcopy({key: value for key, value in whole.items() if key != "$patch"})
    labels = (template.get("metadata") or {}).get("labels") or {}
    labels.pop(_HASH, None)
    return template


def _image(template: Object) -> str:
    main = main_container(template)
    containers = (template.get("spec") or {}).get("containers") or ()
    return next((str(one.get("image", "")) for one in containers if one["name"] == main), "")


def _seen(one: Object, workload: Object, pods: Sequence[Object], now: str, monitored: set[str], *, first: bool) -> str:
    """How it is known to have been fully available. ``first``: it may be what the workload was made with."""
    metadata, status = one["metadata"], one.get("status") or {}
    if _is_marked(one):
        return "verified"
    if kind_of(workload) == "StatefulSet":
        state = workload.get("status") or {}
        whole = state.get("currentRevision")
        if whole != metadata["name"] or whole == state.get("updateRevision"):
            return "no"
        # The controller moves on to a revision only when the whole of it is ready; with the first it merely begins.
        # One Pod after the other: none is replaced before all of them were ready.
        ordered = (workload.get("spec") or {}).get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        went_on = ordered and int(state.get("updatedReplicas") or 0) > 0
        return "available" if not first or went_on or _stands(one, pods, now, metadata["name"]) else "no"
    if kind_of(workload) == "DaemonSet":
        # Nothing counts the Pods of its revisions; those that it still has elsewhere say how they are.
        return "available" if _stands(one, pods, now, (metadata.get("labels") or {}).get(_REVISION)) else "no"
    available, replicas = int(status.get("availableReplicas") or 0), int(status.get("replicas") or 0)
    hashed = (metadata.get("labels") or {}).get(_HASH)
    own = [pod for pod in pods if hashed and (pod["metadata"].get("labels") or {}).get(_HASH) == hashed]
    if available and available == replicas and all(_proven(pod, now) for pod in own):
        return "available"
    return "monitored" if metadata["name"] in monitored else "no"


def _is_marked(one: Object) -> bool:
    """Whether it bears a mark that is its own."""
    metadata = one["metadata"]
    own = metadata["name"] if "data" in one else (metadata.get("labels") or {}).get(_HASH)
    whose, _, when = str((metadata.get("annotations") or {}).get(VERIFIED_AT, "")).partition(" ")
    return bool(own) and whose == own and moment_of(when) is not None


def _stands(one: Object, pods: Sequence[Object], now: str, mark: str | None) -> bool:
    """Whether Pods of this revision are left, and all of them have been ready for long enough."""
    left = [pod for pod in pods if mark and (pod["metadata"].get("labels") or {}).get(_REVISION) == mark]
    return bool(left) and all(_proven(pod, now) for pod in left)


def _lasts(name: str, revisions: Sequence[Object], pods: Sequence[Object], now: str) -> bool:
    """Whether Pods are left of this revision alone, and one of them stands, or stood before it fell ill, for long enough."""
    marks = {one["metadata"]["name"]: _pods_mark(one) for one in revisions}
    left = [
        pod
        for pod in pods
        if _mark_of(pod) in marks.values() and _mark_of(pod) and "deletionTimestamp" not in pod["metadata"]
    ]
    # While others are left a rollout is under way, or stuck: that some of its Pods work does not show that it does.
    return all(_mark_of(pod) == marks[name] for pod in left) and any(_stood(pod, now) for pod in left)


def _pods_mark(revision: Object) -> str:
    """The label that its Pods bear it by."""
    metadata = revision["metadata"]
    labels = metadata.get("labels") or {}
    return str(labels.get(_HASH) or labels.get(_REVISION) or metadata["name"])


def _mark_of(pod: Object) -> str:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(_HASH) or labels.get(_REVISION) or "")


def _stood(pod: Object, now: str) -> bool:
    """Whether it has been ready for long, or was ready long after it began. A crash changes that each time, so that of a
    Pod whose containers were started again only the former counts."""
    status, found = pod.get("status") or {}, condition(pod, "Ready")
    since, at, began = (moment_of(one) for one in (found.get("lastTransitionTime"), now, status.get("startTime")))
    if since is None or at is None:
        return False
    if found.get("status") == "True":
        return at[0] - since[0] >= LASTED
    if any(int(one.get("restartCount") or 0) for one in status.get("containerStatuses") or ()):
        return False
    return began is not None and since[0] - began[0] >= LASTED


def _proven(pod: Object, now: str) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return True  # it makes room for another, and says nothing
    found = condition(pod, "Ready")
    since, at = moment_of(found.get("lastTransitionTime")), moment_of(now)
    return found.get("status") == "True" and since is not None and at is not None and at[0] - since[0] >= PROVEN

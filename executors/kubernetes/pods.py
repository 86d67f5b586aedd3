"""How Pods and their containers are, from objects that were read: what ``kubectl get pods`` tells.

A word of the executor's own for translations, ``status.pods``. Pure: nothing is asked of a server, and nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from uici_executors.kubernetes.readings import Object, amount, condition, kind_of, main_container, moment_of

#: A container that ended longer ago than this, and runs again, is well; Kubernetes itself keeps its events as long.
RECENT = timedelta(hours=1)
#: One that has failed and runs again for less than this may as well be between two crashes: it is the kubelet's own first
#: pause between them.
STEADY = timedelta(seconds=10)
#: Why a container waits, where waiting alone will not help.
FAILING = frozenset(
    "CrashLoopBackOff ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName CreateContainerConfigError "
    "CreateContainerError RunContainerError".split()
)


def look(pods: Sequence[Object], now: str = "") -> list[dict[str, Any]]:
    """``now``: RFC 3339, for which ends of containers still count; missing: the last one does, however long ago."""
    moment = moment_of(now)
    return [pod_of(one, moment[0] if moment else None) for one in pods]


def pod_of(one: Object, now: datetime | None = None) -> dict[str, Any]:
    """``failing``: its containers fail, not merely are on their way. ``out_of_memory``: containers that were killed for want of
    it and do not run again, or were so lately, those that are down first; ``killed``: all of which that was the last end."""
    metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    over = status.get("phase") in ("Failed", "Succeeded")
    lately = {container["name"]: last_end(container, now, over=over) for container in containers}
    failing = [container for container in containers if _fails(container, lately[container["name"]], now)]
    first: Object = failing[0] if failing else {}
    killed = [container for container in containers if ended(container).get("reason") == "OOMKilled"]
    phase = str(status.get("phase", ""))
    reasons = [_why(container) for container in containers if not container.get("ready")]
    unscheduled = condition(one, "PodScheduled")
    reason = ", ".join(dict.fromkeys(filter(None, reasons))) or str(status.get("reason") or "")
    if not reason and unscheduled.get("status") == "False":
        reason = str(unscheduled.get("message") or unscheduled.get("reason") or "")
    owner = _owner(one)
    return {
        "pod": str(metadata["name"]),
        "namespace": str(metadata.get("namespace", "")),
        "uid": str(metadata.get("uid", "")),
        "service": owner[1],
        "owner": owner[0],
        "node": str(spec.get("nodeName", "")),
        "phase": phase,
        "ready": ready(one),
        "unready": not ready(one),  # a plain field is looked up without CEL, for 5,000 Pods
        "ending": "deletionTimestamp" in metadata,
        "mirror": "kubernetes.io/config.mirror" in (metadata.get("annotations") or {}),
        "failing": bool(failing) or phase == "Failed",
        "restarts": sum(int(container.get("restartCount") or 0) for container in containers),
        "reason": reason,
        "container": str(first.get("name") or main_container(one)),
        "main": main_container(one),
        "exit_code": int((lately[first["name"]] if first else {}).get("exitCode") or 0),
        "unscheduled": unscheduled.get("status") == "False",
        "out_of_memory": [
            str(container["name"])
            for container in sorted(killed, key=lambda container: bool(container.get("ready")))
            if lately[container["name"]]
        ],
        "killed": [str(container["name"]) for container in killed],
        "killed_at": str(ended(killed[0]).get("finishedAt") or "") if killed else "",
        "killed_limit_bytes": _limit(one, str(killed[0]["name"])) if killed else 0,
    }


def _fails(container: Object, lately: Object, now: datetime | None) -> bool:
    state = container.get("state") or {}
    waits = str((state.get("waiting") or {}).get("reason") or "")
    # Between two crashes it runs for a moment, and is ready where nothing probes it.
    began = moment_of((state.get("running") or {}).get("startedAt"))
    steady = container.get("ready") and (now is None or began is None or now - began[0] >= STEADY)
    last = lately if not steady else state.get("terminated") or {}
    return waits in FAILING or int(last.get("exitCode") or 0) != 0


def _why(container: Object) -> str:
    state = container.get("state") or {}
    said = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason") or ""
    return "" if said in ("Completed", "PodInitializing") else str(said)


def ended(container: Object) -> Object:
    """How it ended: now, else the last time."""
    found: Object = (
        (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    )
    return found


def last_end(container: Object, now: datetime | None, *, over: bool) -> Object:
    """How it ended, where that says something of how it is ``now``: it does not run again, or it ended lately; else empty.
    ``over``: its Pod has come to an end, so that nothing of it runs again."""
    found = ended(container)
    if now is None or not (over or "running" in (container.get("state") or {})):
        return found
    moment = moment_of(found.get("finishedAt"))
    return found if moment is not None and now - moment[0] < RECENT else {}


def _limit(pod: Object, name: str) -> int:
    spec = pod.get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if container["name"] == name:
            return amount(((container.get("resources") or {}).get("limits") or {}).get("memory"))
    return 0


def ready(pod: Object) -> bool:
    """Ready, or done with what it had to do."""
    phase = (pod.get("status") or {}).get("phase")
    return phase == "Succeeded" or (phase == "Running" and condition(pod, "Ready").get("status") == "True")


def _owner(pod: Object) -> tuple[str, str]:
    """Kind and name of the workload that makes it; empty where nothing does."""
    metadata = pod["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            kind, name = str(reference.get("kind")), str(reference.get("name"))
            hashed = f"-{(metadata.get('labels') or {}).get('pod-template-hash')}"
            return (
                ("Deployment", name.removesuffix(hashed))
                if kind == "ReplicaSet" and name.endswith(hashed)
                else (kind, name)
            )
    return "", ""


def belongs(pod: Object, workload: Object) -> bool:
    """Whether the workload controls the Pod, by itself or through the ReplicaSet of the Pod's template."""
    metadata, above = pod["metadata"], workload["metadata"]
    if metadata.get("namespace") != above.get("namespace"):
        return False
    hashed = f"{above['name']}-{(metadata.get('labels') or {}).get('pod-template-hash', '')}"
    return any(
        reference.get("controller")
        and (
            reference.get("uid") == above.get("uid")
            or (
                kind_of(workload) == "Deployment"
                and reference.get("kind") == "ReplicaSet"
                and reference.get("name") == hashed
            )
        )
        for reference in metadata.get("ownerReferences") or ()
    )

"""How workloads and their Pods are, from objects that were read: what ``kubectl rollout status`` and ``kubectl get`` tell.

Words of the executor's own for translations, ``status.workloads`` and ``status.pods``. Pure: nothing is asked of a server, and
nothing is decided.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from uici.model import rfc3339

Object = Mapping[str, Any]

#: Marks of UICI's own on what it changes.
CHANGED_AT, CHANGED_BY, BEFORE_STOP = "uici/changed-at", "uici/changed-by", "uici/replicas-before-stop"
RESTARTED_AT, DEFAULT_CONTAINER = "kubectl.kubernetes.io/restartedAt", "kubectl.kubernetes.io/default-container"
#: Who writes what a rollout has come to.
_CONTROLLER = "kube-controller-manager"
NEVER = "0001-01-01T00:00:00.000000000Z"
#: Why a container waits, where waiting alone will not help.
FAILING = frozenset(
    "CrashLoopBackOff ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName CreateContainerConfigError "
    "CreateContainerError RunContainerError".split()
)
_NUMBER = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?", re.ASCII)
_TIMES: Mapping[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    **{name: Decimal(1000) ** power for power, name in enumerate("kMGTPE", 1)},
    **{f"{name}i": Decimal(1024) ** power for power, name in enumerate("KMGTPE", 1)},
}


def look(workloads: Sequence[Object], pods: Sequence[Object] = ()) -> list[dict[str, Any]]:
    """Each workload in the order given. ``pods``: of their namespaces; each workload gets those that it controls."""
    return [_workload(one, [pod for pod in pods if belongs(pod, one)]) for one in workloads]


def _workload(one: Object, pods: Sequence[Object]) -> dict[str, Any]:
    spec, status, metadata = one.get("spec") or {}, one.get("status") or {}, one["metadata"]
    annotations = metadata.get("annotations") or {}
    template = spec.get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or []
    seen = [pod_of(pod) for pod in pods]
    counts = _counts(one)
    main = main_container(template)
    limits = {container["name"]: _containers(container) for container in containers}
    kept = str(annotations.get(BEFORE_STOP, ""))
    killed = next((container for pod in seen for container in pod["out_of_memory"]), "")
    return {
        "service": str(metadata["name"]),
        "namespace": str(metadata.get("namespace", "")),
        "kind": kind_of(one),
        "state": _state(one, counts, len(pods)),
        "health": _health(one, counts),
        **counts,
        "held_back": _held_back(one, counts),
        "paused": bool(spec.get("paused")),
        "generation": int(metadata.get("generation", 1)),
        "started_at": _started(one, counts),
        "starts_with": max(1, counts["replicas"] or (int(kept) if re.fullmatch(r"[1-9][0-9]{0,3}", kept) else 1)),
        "restarts": sum(pod["restarts"] for pod in seen),
        "container": main,
        "image": limits[main]["image"] if main in limits else "",
        "memory_limit_bytes": limits[main]["memory_limit_bytes"] if main in limits else 0,
        "out_of_memory": bool(killed),
        "suspect": killed if killed in limits else main,
        "changed_by": str(annotations.get(CHANGED_BY, "")),
        "selector": ",".join(
            f"{key}={value}" for key, value in ((spec.get("selector") or {}).get("matchLabels") or {}).items()
        ),
        "reason": _reason(one, counts, seen),
        "containers": list(limits.values()),
        "conditions": [
            {key: str(condition.get(key, "")) for key in ("type", "status", "reason", "message")}
            for condition in status.get("conditions") or ()
        ],
        "pods": seen,
    }


def _counts(one: Object) -> dict[str, int]:
    """Desired, of the newest template, ready, and available for as long as it asks; ``total``: with the old ones."""
    spec, status = one.get("spec") or {}, one.get("status") or {}
    daemon = kind_of(one) == "DaemonSet"
    names = (
        ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable", "currentNumberScheduled")
        if daemon
        else ("", "updatedReplicas", "readyReplicas", "availableReplicas", "replicas")
    )
    desired = int(status.get(names[0], 0)) if daemon else int(spec.get("replicas", 1))
    updated, ready, available, total = (int(status.get(name) or 0) for name in names[1:])
    return {"replicas": desired, "updated": updated, "ready": ready, "available": available, "total": total}


def _behind(one: Object) -> bool:
    """Whether its controller has not seen yet what was last asked of it."""
    return int((one.get("status") or {}).get("observedGeneration") or 0) < int(one["metadata"].get("generation", 1))


def _rolling(one: Object, counts: Mapping[str, int]) -> bool:
    """Whether Pods of an older template are still to be replaced."""
    spec = one.get("spec") or {}
    if kind_of(one) == "Deployment":
        return counts["updated"] < counts["replicas"] or counts["total"] > counts["updated"]
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") == "OnDelete":
        return False
    kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    return counts["updated"] < counts["replicas"] - kept


def _held_back(one: Object, counts: Mapping[str, int]) -> int:
    """Replicas of an older template that stay until somebody deletes them (OnDelete), moves the partition that holds all of
    them back, or lets the rollout go on. What a smaller partition keeps is meant to stay."""
    spec = one.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if kind_of(one) == "Deployment":
        holds = bool(spec.get("paused"))
    else:
        holds = strategy.get("type", "RollingUpdate") == "OnDelete" or kept >= counts["replicas"]
    return max(0, counts["replicas"] - counts["updated"]) if holds and not _behind(one) else 0


def _state(one: Object, counts: Mapping[str, int], pods: int) -> str:
    if counts["replicas"] == 0:
        return "running" if max(pods, counts["total"]) else "stopped"
    if _behind(one):
        return "starting"
    if _stuck(one):
        return "failed"
    if (one.get("spec") or {}).get("paused"):
        return "paused"
    return "starting" if _rolling(one, counts) or counts["available"] == 0 else "running"


def _stuck(one: Object) -> bool:
    """Whether its rollout made no progress in time. Right after a change the controller still says so of the rollout before:
    that was told before the change, by the server's own clock."""
    progress = condition(one, "Progressing")
    if progress.get("status") != "False" or progress.get("reason") != "ProgressDeadlineExceeded":
        return False
    changed = [
        entry["time"]
        for entry in one["metadata"].get("managedFields") or ()
        # A field that was taken away is in nobody's list, so what else was written with it counts.
        if "time" in entry and not entry.get("subresource") and entry.get("manager") != _CONTROLLER
    ]
    told = moment_of(progress.get("lastUpdateTime"))
    last = max((moment[0] for moment in map(moment_of, changed) if moment), default=None)
    return told is None or last is None or told[0] > last


def _health(one: Object, counts: Mapping[str, int]) -> str:
    if counts["replicas"] == 0:
        return "unknown"
    if counts["available"] >= counts["replicas"] and not _behind(one):
        return "healthy"
    return "unknown" if _behind(one) or _rolling(one, counts) else "unhealthy"


def _started(one: Object, counts: Mapping[str, int]) -> str:
    """When it was made, restarted or changed last: a container that the engine restarts is no restart of the workload."""
    if counts["replicas"] == 0:
        return NEVER
    metadata = one["metadata"]
    template = ((one.get("spec") or {}).get("template") or {}).get("metadata") or {}
    said = (
        metadata.get("creationTimestamp"),
        (template.get("annotations") or {}).get(RESTARTED_AT),
        (metadata.get("annotations") or {}).get(CHANGED_AT),
    )
    moments = [moment for moment in map(moment_of, said) if moment is not None]
    return max((text for _, text in moments), default=NEVER)


def _reason(one: Object, counts: Mapping[str, int], pods: Sequence[Mapping[str, Any]]) -> str:
    said = [f"{counts['ready']} of {counts['replicas']} ready"]
    if held := _held_back(one, counts):
        said.append(f"{held} of an older template, until they are deleted or their rollout may go on")
    for name, bad in (("ReplicaFailure", "True"), ("Progressing", "False"), ("Available", "False")):
        found = condition(one, name)
        if found.get("status") == bad:
            said.append(str(found.get("message") or found.get("reason") or name))
    said += [f"{pod['pod']}: {pod['reason'] or pod['phase']}" for pod in pods if not pod["ready"]][:10]
    return "; ".join(said)


def _containers(one: Object) -> dict[str, Any]:
    resources = one.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return {
        "container": str(one["name"]),
        "image": str(one.get("image", "")),
        "memory_limit_bytes": amount(limits.get("memory")),
        "memory_request_bytes": amount(requests.get("memory")),
        "cpu_limit_millicores": amount(limits.get("cpu"), 1000),
        "cpu_request_millicores": amount(requests.get("cpu"), 1000),
    }


# Pods


def look_at_pods(pods: Sequence[Object]) -> list[dict[str, Any]]:
    return [pod_of(one) for one in pods]


def pod_of(one: Object) -> dict[str, Any]:
    """``failing``: its containers fail, not merely are on their way. ``out_of_memory``: containers last killed for want of it."""
    metadata, spec, status = one["metadata"], one.get("spec") or {}, one.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    failing = [container for container in containers if _fails(container)]
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
        "exit_code": int(ended(first).get("exitCode") or 0),
        "unscheduled": unscheduled.get("status") == "False",
        "out_of_memory": [str(container["name"]) for container in killed],
        "killed_at": str(ended(killed[0]).get("finishedAt") or "") if killed else "",
        "killed_limit_bytes": _limit(one, str(killed[0]["name"])) if killed else 0,
    }


def _fails(container: Object) -> bool:
    state = container.get("state") or {}
    waits = str((state.get("waiting") or {}).get("reason") or "")
    # Between two crashes it runs for a moment.
    last = ended(container) if not container.get("ready") else state.get("terminated") or {}
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


# Fields


def kind_of(one: Object) -> str:
    """Of an object of a listing, which does not say its kind, by what only that kind has."""
    if one.get("kind") in ("Deployment", "StatefulSet", "DaemonSet"):
        return str(one["kind"])
    spec = one.get("spec") or {}
    if "podManagementPolicy" in spec or "serviceName" in spec:
        return "StatefulSet"
    return "Deployment" if "replicas" in spec else "DaemonSet"


def main_container(one: Object) -> str:
    """The container that kubectl takes where none is named: of a Pod or a Pod template."""
    containers = [str(container["name"]) for container in (one.get("spec") or {}).get("containers") or ()]
    named = ((one.get("metadata") or {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
    return named if named in containers else containers[0] if containers else ""


def condition(one: Object, name: str) -> Object:
    listed = (one.get("status") or {}).get("conditions") or ()
    return next((found for found in listed if found.get("type") == name), {})


def amount(text: Any, times: int = 1) -> int:
    """A quantity as a whole number of its unit (``times``: of a part of it), rounded up; 0 where there is none."""
    found = _NUMBER.fullmatch(str(text)) if text is not None else None
    if found is None:
        return 0
    try:
        return math.ceil(Decimal(found[1]) * _TIMES.get(found[2] or "", Decimal(1)) * times)
    except InvalidOperation:
        return 0


def moment_of(text: Any) -> tuple[datetime, str] | None:
    """The moment, to the microsecond that Python knows, and RFC 3339 UTC with nine decimals."""
    if not isinstance(text, str) or not text:
        return None
    exact = text if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", text) else ""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00")))
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found, exact or rfc3339(found.timestamp())

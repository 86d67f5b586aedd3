"""How workloads are, from objects that were read: what ``kubectl rollout status`` and ``kubectl describe`` tell.

A word of the executor's own for translations, ``status.workloads``. Pure: nothing is asked of a server, and nothing is decided.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from uici_executors.kubernetes.pods import belongs, pod_of
from uici_executors.kubernetes.readings import Object, amount, condition, kind_of, main_container, moment_of

#: Marks of UICI's own on what it changes.
CHANGED_AT, CHANGED_BY, BEFORE_STOP = "uici/changed-at", "uici/changed-by", "uici/replicas-before-stop"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
#: Who writes what a rollout has come to.
_CONTROLLER = "kube-controller-manager"
NEVER = "0001-01-01T00:00:00.000000000Z"


def look(workloads: Sequence[Object], pods: Sequence[Object] = (), now: str = "") -> list[dict[str, Any]]:
    """Each workload in the order given. ``pods``: of their namespaces; each workload gets those that it controls. ``now``:
    RFC 3339, for which ends of containers still count; missing: the last one does, however long ago."""
    moment = moment_of(now)
    return [
        _workload(one, [pod_of(pod, moment[0] if moment else None) for pod in pods if belongs(pod, one)])
        for one in workloads
    ]


def _workload(one: Object, seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spec, status, metadata = one.get("spec") or {}, one.get("status") or {}, one["metadata"]
    annotations = metadata.get("annotations") or {}
    template = spec.get("template") or {}
    made = template.get("spec") or {}
    counts = _counts(one)
    main = main_container(template)
    limits = {
        container["name"]: _container(container, init=group == "initContainers")
        for group in ("containers", "initContainers")
        for container in made.get(group) or ()
    }
    kept = str(annotations.get(BEFORE_STOP, ""))
    # Of several the one that is still down; of a container that is not of the template (injected) its name all the same.
    killed = next((name for pod in sorted(seen, key=_is_ready) for name in pod["out_of_memory"]), "")
    return {
        "service": str(metadata["name"]),
        "namespace": str(metadata.get("namespace", "")),
        "kind": kind_of(one),
        "state": _state(one, counts, len(seen)),
        "health": _health(one, counts),
        **counts,
        "held_back": _held_back(one, counts),
        "paused": bool(spec.get("paused")),
        "generation": int(metadata.get("generation", 1)),
        "template": hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16],
        "started_at": _started(one, counts),
        "starts_with": max(1, counts["replicas"] or (int(kept) if re.fullmatch(r"[1-9][0-9]{0,3}", kept) else 1)),
        "restarts": sum(pod["restarts"] for pod in seen),
        "container": main,
        "image": limits[main]["image"] if main in limits else "",
        "memory_limit_bytes": limits[main]["memory_limit_bytes"] if main in limits else 0,
        "out_of_memory": bool(killed),
        "suspect": killed or main,
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
        "pods": list(seen),
    }


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return bool(pod["ready"])


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


def _container(one: Object, *, init: bool) -> dict[str, Any]:
    resources = one.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return {
        "container": str(one["name"]),
        "init": init,
        "image": str(one.get("image", "")),
        "memory_limit_bytes": amount(limits.get("memory")),
        "memory_request_bytes": amount(requests.get("memory")),
        "cpu_limit_millicores": amount(limits.get("cpu"), 1000),
        "cpu_request_millicores": amount(requests.get("cpu"), 1000),
    }

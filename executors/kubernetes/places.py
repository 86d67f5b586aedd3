"""What a change of a Node or a Namespace touches: whatever is there. Fills in a Change. It reads, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Touch
from uici_executors.kubernetes import budget, managed
from uici_executors.kubernetes.change import Change, Handler
from uici_executors.kubernetes.fields import Object
from uici_executors.kubernetes.resources import NAMED, controller
from uici_executors.kubernetes.view import TEMPLATES

#: What is deleted with its namespace, of the kinds that are known here; custom resources go too, and nobody lists them.
_INSIDE = (
    "ConfigMap", "CronJob", "DaemonSet", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy",
    "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "ReplicaSet", "ReplicationController", "Secret", "Service",
    "ServiceAccount", "StatefulSet",
)  # fmt: skip
#: Fields of a Node by which nothing that runs there goes.
_KEEPS = (("metadata", "annotations"), ("spec", "unschedulable"))


async def node(change: Change) -> None:
    """Deleting one takes its Pods; a NoExecute taint those that do not bear it; a label those of DaemonSets."""
    if change.before is None:
        labels = ((change.after or {}).get("metadata") or {}).get("labels") or {}
        change.touches.append(change.view.new(change.kind, None, change.name, labels))
        return
    by = managed.manager(change.before, change.paths, whole=change.deletes)
    change.touches.append(replace(await change.view.of_object(change.before), managed_by=by))
    if not change.deletes and all(any(path[: len(one)] == one for one in _KEEPS) for path in change.paths):
        return
    pods = await change.view.all("Pod", None, fieldSelector=f"spec.nodeName={change.name}")
    taints = _taints(change.after) if change.after is not None and change.writes("spec", "taints") else []
    relabelled = change.writes("metadata", "labels")
    for one in pods:
        daemon = (controller(one) or {}).get("kind") == "DaemonSet"
        goes = change.deletes or (daemon and relabelled) or any(not _bears(one, taint) for taint in taints)
        other = change.writes("metadata", "finalizers") or change.writes("metadata", "ownerReferences")
        change.touches += await change.view.pod(one, goes=goes or other)


def _taints(one: Object) -> list[Mapping[str, Any]]:
    return [taint for taint in (one.get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]


def _bears(pod: Object, taint: Mapping[str, Any]) -> bool:
    """Whether a Pod may stay; one that may only for a while goes."""
    for one in (pod.get("spec") or {}).get("tolerations") or ():
        if one.get("effect") not in (None, "", "NoExecute") or one.get("tolerationSeconds") is not None:
            continue
        key, operator = one.get("key"), one.get("operator") or "Equal"
        if key in (None, "") and operator == "Exists":
            return True
        if key == taint.get("key") and (operator == "Exists" or one.get("value", "") == taint.get("value", "")):
            return True
    return False


async def namespace(change: Change) -> None:
    """Deleting one deletes all that lies in it; its labels choose which policies and webhooks hold there."""
    if change.before is None:
        labels = ((change.after or {}).get("metadata") or {}).get("labels") or {}
        change.touches.append(change.view.new(change.kind, None, change.name, labels))
        return
    by = managed.manager(change.before, change.paths, whole=change.deletes)
    change.touches.append(replace(await change.view.of_object(change.before), managed_by=by))
    if change.deletes:
        for kind, found in zip(_INSIDE, await _all(change, _INSIDE), strict=True):
            change.touches += await _inside(change, kind, found)
    elif any(path[:2] != ("metadata", "annotations") for path in change.paths):
        change.touches += await change.view.pods(await change.view.all("Pod", change.name), goes=False)


async def _all(change: Change, kinds: Sequence[str]) -> list[list[dict[str, Any]]]:
    # Names of Secrets and ConfigMaps are enough; what is in them stays there.
    return await asyncio.gather(
        *(
            change.view.names(kind, change.name) if kind in NAMED else change.view.all(kind, change.name)
            for kind in kinds
        )
    )


async def _inside(change: Change, kind: str, found: Sequence[Object]) -> list[Touch]:
    if kind == "Pod":
        # Their owners count them already.
        lone = [one for one in found if controller(one) is None]
        owned = [one for one in found if controller(one) is not None]
        return [*await change.view.pods(lone, goes=True), *await change.view.pods(owned, goes=False)]
    touches: list[Touch] = []
    for one in found:
        if kind in TEMPLATES and controller(one) is None:
            touches += await change.view.workload(one, budget.replicas(one).healthy)
        else:
            touches.append(await change.view.of_object(one))
    return touches


HANDLERS: Mapping[str, Handler] = {"nodes": node, "namespaces": namespace}

"""What a change of a workload or a Pod touches: its replicas by its own strategy, its Pods, what its template reaches for.

Fills in a Change. It reads, and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Touch
from uici_executors.kubernetes import budget, managed
from uici_executors.kubernetes.change import Change, Handler
from uici_executors.kubernetes.fields import Object, Path
from uici_executors.kubernetes.reach import Reach
from uici_executors.kubernetes.resources import controller, owner_key
from uici_executors.kubernetes.selectors import picks, selects
from uici_executors.kubernetes.view import TEMPLATES, template_of

#: Fields of a container that make nothing new of what runs in it.
_HARMLESS = frozenset({"name", "resources", "terminationMessagePath", "terminationMessagePolicy"})
#: Fields of a Pod that say where it may run: a DaemonSet removes at once what may not.
_PLACES = ("affinity", "nodeSelector", "tolerations", "nodeName")
#: Kinds that take in a Pod without a controller that they select.
_ADOPT = ("ReplicaSet", "StatefulSet", "ReplicationController", "DaemonSet", "Job")


async def workload(change: Change) -> None:
    before, after = change.before, change.after
    if before is None:
        if after is not None:
            change.touches.append(change.view.new(change.kind, change.namespace, change.name, _labels(after)))
            change.touches += _made_claims(change, after)
            await _template(change, after)
        return
    counted = budget.replicas(before)
    takes = min(_takes(change, before, after), counted.healthy)
    (own, *owners), by = await asyncio.gather(change.view.workload(before, takes), _managed(change, before))
    change.touches += [replace(own, managed_by=by), *owners]
    change.touches += _claims(change, before, after)
    if after is not None and change.kind.name == "StatefulSet":
        change.touches += _numbered(change, after, _ordinals(after) - _ordinals(before))
    if after is not None and change.writes(*TEMPLATES[change.kind.name]):
        await _template(change, after)


def _takes(change: Change, before: Object, after: Object | None) -> int:
    healthy = budget.replicas(before).healthy
    if after is None:
        orphan = change.options.get("propagationPolicy") == "Orphan" or change.options.get("orphanDependents") is True
        return 0 if orphan else healthy
    if change.writes("metadata", "ownerReferences") or change.writes("metadata", "finalizers"):
        return healthy  # it may be collected, with all that it owns
    spec = after.get("spec") or {}
    if change.kind.name in ("Job", "CronJob"):
        return 0
    takes = 0
    template = TEMPLATES[change.kind.name]
    resumed = change.writes("spec", "paused") and not spec.get("paused")
    status = before.get("status") or {}
    underway = change.writes("spec", "strategy") and status.get("updatedReplicas") != status.get("replicas")
    turned = change.writes("spec", "updateStrategy")  # from OnDelete: what waited begins
    if change.writes(*template) or resumed or underway or turned:
        takes = budget.rolling({**after, "kind": change.kind.name, "status": status})
        if change.kind.name == "DaemonSet" and any(change.writes(*template, "spec", one) for one in _PLACES):
            takes = healthy
    if change.kind.name == "StatefulSet":
        takes += budget.fewer(before, len(_ordinals(before) & _ordinals(after)))
    elif change.writes("spec", "replicas"):
        takes += budget.fewer(before, _replicas(after))
    if change.writes("spec", "minReadySeconds"):
        takes = healthy  # what was available may count as not yet
    return takes


async def _managed(change: Change, before: Object) -> str | None:
    found = managed.manager(before, change.paths, whole=change.deletes)
    if found is None and change.writes("spec", "replicas") and not change.deletes:
        for one in await change.view.all("HorizontalPodAutoscaler", change.namespace):
            aim = (one.get("spec") or {}).get("scaleTargetRef") or {}
            if (aim.get("kind"), aim.get("name")) == (change.kind.name, change.name):
                return f"HorizontalPodAutoscaler {one['metadata']['name']}"
    return found


def _claims(change: Change, before: Object, after: Object | None) -> list[Touch]:
    """Claims that a StatefulSet deletes with its Pods, or would from now on; they are its own."""
    if change.kind.name != "StatefulSet":
        return []
    ordinals, retentions = _ordinals(before), [_retention(before)]
    if after is None:
        gone = ordinals if "Delete" in retentions[0].values() else set()
    else:
        retentions.append(_retention(after))
        new = {when for when, said in retentions[1].items() if said == "Delete" and retentions[0].get(when) != "Delete"}
        scaled = any(one.get("whenScaled") == "Delete" for one in retentions)
        gone = ordinals if new else ordinals - _ordinals(after) if scaled else set()
    owner = owner_key("StatefulSet", change.namespace, change.name)
    touches = _numbered(change, before, gone)
    return [replace(one, resource=replace(one.resource, owner=owner)) for one in touches]


def _retention(one: Object) -> Mapping[str, Any]:
    return (one.get("spec") or {}).get("persistentVolumeClaimRetentionPolicy") or {}


def _made_claims(change: Change, after: Object) -> list[Touch]:
    """Claims that a StatefulSet makes, or takes where there is one of that name: another's, whose hyphens fall otherwise."""
    return _numbered(change, after, _ordinals(after)) if change.kind.name == "StatefulSet" else []


def _replicas(one: Object) -> int:
    wanted = (one.get("spec") or {}).get("replicas")
    return int(wanted) if wanted is not None else 1


def _ordinals(one: Object) -> set[int]:
    """The numbers of a StatefulSet's Pods."""
    start = int(((one.get("spec") or {}).get("ordinals") or {}).get("start") or 0)
    return set(range(start, start + _replicas(one)))


def _numbered(change: Change, of: Object, ordinals: set[int]) -> list[Touch]:
    return [
        change.view.of("PersistentVolumeClaim", change.namespace, f"{claim['metadata']['name']}-{change.name}-{number}")
        for claim in (of.get("spec") or {}).get("volumeClaimTemplates") or ()
        for number in sorted(ordinals)
    ]


async def _template(change: Change, after: Object) -> None:
    """What the new Pod template reaches for, and who takes Pods with its labels for his own."""
    template, parts = template_of(after), TEMPLATES.get(change.kind.name, ())
    if change.before is None or _new_code(change.paths, parts):
        reach = Reach(change.view, change.namespace)
        await reach.of(template, only=None if change.before is None else "own")
        if change.before is not None:
            await reach.of(_only_new(template, template_of(change.before)))
        change.touches += reach.touches
        change.unbounded += reach.unbounded
    if change.before is None or change.writes(*parts, "metadata", "labels"):
        labels = (template.get("metadata") or {}).get("labels") or {}
        change.touches += await _joins(change, labels, adopted=False)
    if change.before is None:
        selector = (after.get("spec") or {}).get("selector")
        change.touches += await _adopts(change, selector)


def _new_code(paths: list[Path], parts: tuple[str, ...]) -> bool:
    """Whether something else would run in the Pods, or with other means."""
    for path in paths:
        inner = path[len(parts) :] if path[: len(parts)] == parts else ()
        if path == parts[: len(path)]:
            return True  # the template as a whole, or more
        if inner[:1] == ("spec",):
            harmless = len(inner) > 3 and inner[1] in ("containers", "initContainers") and inner[3] in _HARMLESS
            if not harmless and inner[1:2] not in (("terminationGracePeriodSeconds",), ("restartPolicy",)):
                return True
        elif inner[:2] == ("metadata", "annotations") and "apparmor" in str(inner[2:]):
            return True
    return False


def _only_new(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a Pod's specification that were not there; of a container that was there, its fields that are new."""
    old, spec = before.get("spec") or {}, {}
    for key, value in (after.get("spec") or {}).items():
        if isinstance(value, list):
            there = old.get(key) or ()
            value = [_new_in(one, there) for one in value if one not in there]
        if value != old.get(key):
            spec[key] = value
    return {"metadata": after.get("metadata") or {}, "spec": spec}


def _new_in(one: Any, there: Sequence[Any]) -> Any:
    if not isinstance(one, Mapping) or not one.get("name"):
        return one
    was: Mapping[str, Any] = next((old for old in there if old.get("name") == one["name"]), {})
    return {key: value for key, value in one.items() if key == "name" or value != was.get(key)}


async def _joins(change: Change, labels: Mapping[str, str], *, adopted: bool) -> list[Touch]:
    """Services that would send Pods with these labels a part of what is meant for others; controllers that adopt them."""
    found: list[Touch] = []
    # Asked for together; what follows finds them in hand.
    await asyncio.gather(
        *(change.view.all(kind, change.namespace) for kind in ("Service", *(_ADOPT if adopted else ())))
    )
    for one in await change.view.all("Service", change.namespace):
        selector = (one.get("spec") or {}).get("selector")
        if picks(selector, labels):
            found.append(await change.view.of_object(one))
            found += await change.view.pods(await change.view.picked(selector, change.namespace), goes=False)
    for kind in _ADOPT if adopted else ():
        for one in await change.view.all(kind, change.namespace):
            selector = (one.get("spec") or {}).get("selector")
            if picks(selector, labels) if kind == "ReplicationController" else selects(selector, labels):
                found += await change.view.workload(one)
    return found


async def _adopts(change: Change, selector: Any) -> list[Touch]:
    """Pods that nobody controls and that a new controller would take for its own, and might remove."""
    if not isinstance(selector, Mapping):
        return []
    plain = change.kind.name == "ReplicationController"
    pods = await (change.view.picked if plain else change.view.selected)(selector, change.namespace)
    return await change.view.pods([one for one in pods if controller(one) is None], goes=True)


async def pod(change: Change) -> None:
    before, after = change.before, change.after
    if before is None:
        if after is None:
            return
        change.touches.append(change.view.new(change.kind, change.namespace, change.name, _labels(after)))
        reach = Reach(change.view, change.namespace)
        await reach.of(after)
        change.touches += [*reach.touches, *await _joins(change, _labels(after), adopted=True)]
        change.unbounded += reach.unbounded
        return
    relabelled = change.writes("metadata", "labels")
    goes = (
        after is None
        or relabelled
        or change.writes("spec", "containers")
        or change.writes("spec", "initContainers")
        or change.writes("spec", "activeDeadlineSeconds")
        or change.writes("metadata", "ownerReferences")
        or change.writes("metadata", "finalizers")
    )
    own, *owners = await change.view.pod(before, goes=goes, evicted=change.subresource == "eviction")
    change.touches += [replace(own, managed_by=managed.manager(before, change.paths) if after else None), *owners]
    if after is None:
        return
    if _new_code(change.paths, ()):
        reach = Reach(change.view, change.namespace)
        await reach.of(after, only="own")
        change.touches += reach.touches
        change.unbounded += reach.unbounded
    if relabelled:
        for one in (before, after):
            change.touches += await _joins(change, _labels(one), adopted=True)


def _labels(one: Object) -> Mapping[str, str]:
    return (one.get("metadata") or {}).get("labels") or {}


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(
        ("cronjobs", "daemonsets", "deployments", "jobs", "replicasets", "replicationcontrollers", "statefulsets"),
        workload,
    ),
    **dict.fromkeys(
        (
            "deployments/scale",
            "replicasets/scale",
            "replicationcontrollers/scale",
            "statefulsets/scale",
        ),
        workload,
    ),
    "pods": pod,
    "pods/eviction": pod,
    "pods/resize": pod,
}

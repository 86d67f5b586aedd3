"""How many replicas there are, and how many healthy ones a change takes away at one time, counted as Kubernetes counts.

What is down already counts nothing. Pure: it is given the objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uici_executors.kubernetes.fields import Object
from uici_executors.kubernetes.selectors import selects


@dataclass(frozen=True, slots=True)
class Replicas:
    healthy: int = 0
    desired: int = 0


def replicas(one: Object) -> Replicas:
    """Of a workload's status, or of a Pod that nobody controls. A Job's Pods come to an end by themselves and serve nobody:
    they are no replicas of anything."""
    kind, spec, status = one["kind"], one.get("spec") or {}, one.get("status") or {}
    if kind == "Pod":
        return Replicas(int(ready(one)), 1)
    if kind == "DaemonSet":
        return Replicas(int(status.get("numberAvailable") or 0), int(status.get("desiredNumberScheduled") or 0))
    if kind in ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"):
        healthy = status.get("availableReplicas")
        if healthy is None and kind == "StatefulSet":
            healthy = status.get("readyReplicas")
        return Replicas(int(healthy or 0), int(spec.get("replicas", 1)))
    return Replicas()


def ready(pod: Object) -> bool:
    """Whether a Pod serves: ready, and not about to go."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def rolling(one: Object) -> int:
    """Healthy replicas that a new Pod template takes away at one time, by the object's own strategy (as it is after the
    change, with the status from before)."""
    now, spec = replicas(one), one.get("spec") or {}
    if one["kind"] == "Deployment":
        if spec.get("paused"):
            return 0
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return now.healthy
        limits = strategy.get("rollingUpdate") or {}
        surge = share(limits.get("maxSurge", "25%"), now.desired, up=True)
        missing = share(limits.get("maxUnavailable", "25%"), now.desired, up=False)
        # Both zero would never end; the controller takes one then.
        missing = min(max(missing, int(surge == 0)), now.desired)
        return max(0, min(now.healthy, now.healthy - (now.desired - missing)))
    update = spec.get("updateStrategy") or {}
    if update.get("type", "RollingUpdate") == "OnDelete":
        return 0
    limits = update.get("rollingUpdate") or {}
    if one["kind"] == "DaemonSet":
        if share(limits.get("maxSurge", 0), now.desired, up=True):
            return 0
        missing = max(1, share(limits.get("maxUnavailable", 1), now.desired, up=True))
        return max(0, min(now.healthy, now.healthy - (now.desired - missing)))
    if one["kind"] == "StatefulSet":
        moving = max(0, now.desired - int(limits.get("partition") or 0))
        # The next one goes whatever the health of those below it, so what is down already spares none here.
        missing = max(1, share(limits.get("maxUnavailable", 1), now.desired, up=False))
        return min(now.healthy, moving, missing)
    return 0  # a ReplicaSet, a Job, a CronJob: only Pods to come are made by the new template


def share(value: Any, of: int, *, up: bool) -> int:
    """A number or a percentage (``25%``), rounded as its field is. What is neither counts as all: nothing is known."""
    if isinstance(value, int):
        return max(0, value)
    text = str(value)
    if not text.endswith("%") or not text[:-1].isdigit():
        return of
    exact = int(text[:-1]) * of / 100
    return math.ceil(exact) if up else math.floor(exact)


def fewer(one: Object, wanted: int) -> int:
    """Healthy replicas that go when so many are wanted: the controller removes those that are not ready first."""
    return max(0, replicas(one).healthy - max(0, wanted))


def spare(budgets: Sequence[Object], labels: Mapping[str, str]) -> tuple[int | None, str]:
    """How many of the Pods with these labels the PodDisruptionBudgets let go now, and which says so; None: none bounds them.

    One that has not been reckoned since it was changed lets none go, as for Kubernetes' own evictions.
    """
    found: tuple[int | None, str] = None, ""
    for one in budgets:
        if not selects((one.get("spec") or {}).get("selector"), labels):
            continue
        metadata, status = one["metadata"], one.get("status") or {}
        known = int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
        allowed = int(status.get("disruptionsAllowed") or 0) if known else 0
        if found[0] is None or allowed < found[0]:
            found = allowed, f"PodDisruptionBudget {metadata.get('namespace')}/{metadata['name']}"
    return found

"""Pods that are in the way of an ordered rollout: a StatefulSet's controller waits for the first one that is not ready, for ever,
before it gives any of them the new template (Kubernetes' own "forced rollback").

A word of the executor's own for translations, ``status.in_the_way``. Pure: nothing is asked of a server, and nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uici_executors.kubernetes.pods import belongs, ready
from uici_executors.kubernetes.readings import Object, kind_of

_REVISION = "controller-revision-hash"


def look(workload: Object, pods: Sequence[Object]) -> list[dict[str, Any]]:
    """``{pod, uid, version}`` of each Pod of an older template that is not ready and would be replaced, were it ready.

    None of a workload whose controller has not seen yet what was last asked of it, which replaces its Pods all at one time
    (``Parallel``, other kinds) or not by itself (``OnDelete``); a Pod that a partition keeps would be the same again.
    """
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if (
        kind_of(workload) != "StatefulSet"
        or spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady"
        or strategy.get("type", "RollingUpdate") != "RollingUpdate"
        or int(status.get("observedGeneration") or 0) < int(workload["metadata"].get("generation", 1))
        or not status.get("updateRevision")
    ):
        return []
    first = int((spec.get("ordinals") or {}).get("start") or 0)
    first += int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    return [
        {
            "pod": str(one["metadata"]["name"]),
            "uid": str(one["metadata"].get("uid", "")),
            "version": str(one["metadata"].get("resourceVersion", "")),
        }
        for one in pods
        if belongs(one, workload)
        and not ready(one)
        and "deletionTimestamp" not in one["metadata"]
        and (one["metadata"].get("labels") or {}).get(_REVISION) != status["updateRevision"]
        and _ordinal(one) >= first
    ]


def _ordinal(pod: Object) -> int:
    number = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(number) if number.isdecimal() else -1

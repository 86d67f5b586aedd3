"""Pods in the way of an ordered rollout: which of a StatefulSet's have to go before its controller goes on."""

from __future__ import annotations

from typing import Any

import pytest

from uici_executors.kubernetes import ordered


def pod(
    number: int, *, revision: str = "old", ready: bool = False, phase: str = "Running", **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"db-{number}",
            "namespace": "shop",
            "uid": f"u{number}",
            "resourceVersion": str(number),
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"kind": "StatefulSet", "name": "db", "uid": "u", "controller": True}],
            **metadata,
        },
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


STRANGER = {"ownerReferences": [{"kind": "StatefulSet", "name": "other", "uid": "v", "controller": True}]}
ENDING = {"deletionTimestamp": "2026-11-25T12:00:00Z"}
PODS = [
    pod(0, ready=True),
    pod(1),
    pod(2, revision="new"),
    pod(3, **STRANGER),
    pod(4, **ENDING),
    pod(5, phase="Pending"),
]


@pytest.mark.parametrize(
    ("kind", "spec", "observed", "found"),
    [
        ("StatefulSet", {}, 2, ["db-1", "db-5"]),
        ("StatefulSet", {"podManagementPolicy": "Parallel"}, 2, []),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, 2, []),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}, 2, ["db-5"]),
        ("StatefulSet", {"ordinals": {"start": 2}}, 2, ["db-5"]),
        ("StatefulSet", {}, 1, []),
        ("DaemonSet", {}, 2, []),
    ],
    ids=["in order", "all at one time", "not by itself", "a partition", "numbered from two", "not seen yet", "another kind"],
)  # fmt: skip
def test_which_pods_are_in_the_way(kind: str, spec: dict[str, Any], observed: int, found: list[str]) -> None:
    workload = {
        "kind": kind,
        "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 2},
        "spec": {"replicas": 6, **spec},
        "status": {"observedGeneration": observed, "updateRevision": "new", "currentRevision": "old"},
    }
    seen = ordered.look(workload, PODS)
    assert [one["pod"] for one in seen] == found
    assert all(one["uid"] == f"u{one['version']}" for one in seen)

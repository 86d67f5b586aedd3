"""How containers ended: what still counts, what lies too long ago, and whose memory it is about. Without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici_executors.kubernetes import diagnosis, pods, rollouts

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/ends.yml").read_text())
NOON = "2026-11-25T12:00:00.000000000Z"
LATER = "2026-11-25T14:00:00.000000000Z"


def limited(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "web:1", "resources": {"limits": {"memory": "64Mi"}}, **more}


SPEC = {
    "containers": [limited("app"), limited("log")],
    "initContainers": [limited("prepare"), limited("proxy", restartPolicy="Always")],
}
WORKLOAD = {
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "uid": "w"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": SPEC}},
}


def pod(case: dict[str, Any]) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "web-abc", "uid": "r", "controller": True}
    status = {
        "phase": case.get("phase", "Running"),
        "conditions": [{"type": "Ready", "status": "True" if case.get("ready") else "False"}],
        "containerStatuses": case["statuses"],
        "initContainerStatuses": case.get("inits", []),
    }
    labels = {"app": "web", "pod-template-hash": "abc"}
    metadata = {"name": "web-abc-1", "namespace": "shop", "uid": "p", "labels": labels, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": SPEC, "status": status}


def told(case: dict[str, Any], now: str) -> dict[str, Any]:
    one = pod(case)
    (workload,) = rollouts.look([WORKLOAD], [one], now)
    found = {**pods.look([one], now)[0], "suspect": workload["suspect"], "any": workload["out_of_memory"]}
    return {**found, "cause": diagnosis.find(now, pods=[one], workload=WORKLOAD)["cause"]}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_how_it_ended(case: dict[str, Any]) -> None:
    found = told(case, NOON)
    assert {key: found[key] for key in case["expect"]} == case["expect"], found
    assert found["any"] == bool(found["out_of_memory"])


def test_what_runs_again_is_well_an_hour_later() -> None:
    """The same objects, looked at later, show no trouble any more; without a clock nobody can tell."""
    (case,) = [one for one in CASES if one["name"] == "killed ten minutes ago, and it runs again"]
    assert (told(case, LATER)["out_of_memory"], told(case, LATER)["cause"]) == ([], "none")
    assert pods.look([pod(case)])[0]["out_of_memory"] == ["app"]


def test_init_containers_are_told_apart() -> None:
    (workload,) = rollouts.look([WORKLOAD])
    kept = {one["container"]: one["init"] for one in workload["containers"]}
    assert kept == {"app": False, "log": False, "prepare": True, "proxy": True}
    assert (workload["container"], workload["image"]) == ("app", "web:1")

"""What is told of workloads and Pods, from objects as the API server answers them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici_executors.kubernetes import pods, readings, reports, rollouts

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes_rollouts.yml").read_text())


def workload(case: dict[str, Any]) -> dict[str, Any]:
    kind, generation = case.get("kind", "Deployment"), case.get("generation", 1)
    entry = {"manager": "kubectl", "time": case.get("changed", "2026-11-25T10:00:00Z"), "fieldsV1": {"f:spec": {}}}
    container = {"name": "app", "image": "web:1", "resources": {"limits": {"memory": "1Gi", "cpu": "1500m"}}}
    spec = {
        **({} if kind == "DaemonSet" else {"replicas": 2}),
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"annotations": case.get("template", {})}, "spec": {"containers": [container]}},
        **case.get("spec", {}),
    }
    return {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "u",
            "generation": generation,
            "creationTimestamp": "2026-11-25T10:00:00Z",
            "annotations": case.get("annotations", {}),
            "managedFields": [
                entry,
                *(
                    {"manager": "uici", "time": at, "fieldsV1": {"f:metadata": {}}}
                    for at in filter(None, [case.get("marked")])
                ),
                {"manager": "kube-controller-manager", "time": "2026-11-25T13:00:00Z", "fieldsV1": {"f:metadata": {}}},
                {"manager": "kubelet", "time": "2026-11-25T13:00:00Z", "subresource": "status"},
            ],
        },
        "spec": spec,
        "status": {"observedGeneration": generation, **case.get("status", {})},
    }


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_how_a_workload_is(case: dict[str, Any]) -> None:
    (found,) = rollouts.look([workload(case)])
    assert {key: found[key] for key in case["expect"]} == case["expect"], found
    assert (found["image"], found["memory_limit_bytes"], found["containers"][0]["cpu_limit_millicores"]) == (
        "web:1",
        2**30,
        1500,
    )


def owned(
    name: str, *, uid: str = "r", kind: str = "ReplicaSet", above: str = "web-abc", **labels: str
) -> dict[str, Any]:
    reference = {"kind": kind, "name": above, "uid": uid, "controller": True}
    metadata = {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": [reference]}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app"}]}, "status": {"phase": "Running"}}


def test_a_pod_belongs_to_what_controls_it_and_to_nothing_that_merely_selects_it() -> None:
    one = workload(CASES[0])
    own = owned("web-abc-1", **{"pod-template-hash": "abc"})
    others = [
        owned("web-abc-2", **{"pod-template-hash": "xyz"}),  # of a ReplicaSet that is called so
        owned("web-db-0", kind="StatefulSet", above="web-db"),
        owned("web-x", kind="Job", above="web-abc"),
        {**own, "metadata": {**own["metadata"], "namespace": "other"}},
    ]
    assert [pod["pod"] for pod in rollouts.look([one], [own, *others])[0]["pods"]] == ["web-abc-1"]
    assert pods.pod_of(own)["service"] == "web"
    assert pods.pod_of(others[1])["service"] == "web-db"


@pytest.mark.parametrize(
    ("text", "times", "gives"),
    [
        ("64Mi", 1, 64 * 2**20),
        ("1.5G", 1, 1_500_000_000),
        ("250m", 1000, 250),
        ("2", 1000, 2000),
        ("1e3", 1, 1000),
        ("123456789n", 1_000_000, 123457),
        ("", 1, 0),
        (None, 1, 0),
        ("lots", 1, 0),
        (100, 1, 100),
        ("1.2.3", 1, 0),
    ],
)
def test_quantities(text: Any, times: int, gives: int) -> None:
    assert readings.amount(text, times) == gives


def test_events_are_told_newest_first_whichever_way_their_time_is_written() -> None:
    about = {"kind": "Pod", "name": "web-1"}
    told = reports.events(
        [
            {"metadata": {"creationTimestamp": "2026-11-25T10:00:00Z"}, "involvedObject": about, "lastTimestamp": None},
            {"metadata": {}, "involvedObject": about, "lastTimestamp": "2026-11-25T10:02:00Z", "count": 3},
            {"metadata": {}, "regarding": about, "eventTime": "2026-11-25T10:01:00.123456Z", "note": "hello"},
            {"metadata": {}, "series": {"lastObservedTime": "2026-11-25T10:03:00.000000Z", "count": 7}},
        ]
    )
    assert [(one["at"][11:19], one["count"], one["object"]) for one in told] == [
        ("10:03:00", 7, ""),
        ("10:02:00", 3, "web-1"),
        ("10:01:00", 1, "web-1"),
        ("10:00:00", 1, "web-1"),
    ]
    assert told[2]["message"] == "hello"


def test_a_template_is_another_one_where_its_pods_would_be() -> None:
    one, scaled, other = (workload(CASES[0]) for _ in range(3))
    scaled["metadata"]["generation"], scaled["spec"]["replicas"] = 7, 9
    other["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    first, same, another = (found["template"] for found in rollouts.look([one, scaled, other]))
    assert first == same
    assert first != another


def test_what_the_busiest_pod_uses() -> None:
    status = rollouts.look([workload(CASES[0])], [owned("web-abc-1", **{"pod-template-hash": "abc"})])[0]
    rows = [
        {"metadata": {"name": name}, "containers": [{"name": "app", "usage": {"cpu": cpu, "memory": memory}}]}
        for name, cpu, memory in (("web-abc-1", "250000000n", "64Mi"), ("another", "4", "1Gi"))
    ]
    assert reports.usage(rows, status) == {"memory_bytes": 64 * 2**20, "cpu_percent": 25.0}
    assert reports.usage([], status) == {"memory_bytes": 0, "cpu_percent": 0.0}


def test_a_quota_of_thousandths_is_used_up_too() -> None:
    quota = {"metadata": {"name": "q"}, "status": {"hard": {"cpu": "1"}, "used": {"cpu": "1000m"}}}
    less = {"metadata": {"name": "q"}, "status": {"hard": {"cpu": "1"}, "used": {"cpu": "999m"}}}
    assert [one["exhausted"] for one in reports.quotas([quota, less])] == [True, False]

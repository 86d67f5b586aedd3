"""How many healthy replicas go, budgets, and what a patch makes of an object: without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici_executors.kubernetes import budget, fields, managed
from uici_executors.kubernetes.selectors import picks, selects

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/rolling.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_rolling(case: dict[str, Any]) -> None:
    kind = case.get("kind", "Deployment")
    spec = {"replicas": case["desired"], "paused": case.get("paused", False)}
    status = {"availableReplicas": case["healthy"]}
    if kind == "DaemonSet":
        status = {"numberAvailable": case["healthy"], "desiredNumberScheduled": case["desired"]}
    spec["strategy" if kind == "Deployment" else "updateStrategy"] = case.get("strategy") or case.get("update") or {}
    assert budget.rolling({"kind": kind, "metadata": {"name": "x"}, "spec": spec, "status": status}) == case["takes"]


def test_a_budget_that_was_not_reckoned_since_it_was_changed_spares_none() -> None:
    one = {
        "metadata": {"name": "b", "namespace": "shop", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": 3},
    }
    assert budget.spare([one], {"app": "web"}) == (0, "PodDisruptionBudget shop/b")
    assert budget.spare([one], {"app": "other"}) == (None, "")
    one["status"]["observedGeneration"] = 2  # type: ignore[index]
    assert budget.spare([one], {"app": "web"})[0] == 3


SELECTORS: list[tuple[Any, bool]] = [
    (None, False),
    ({}, True),
    ({"matchLabels": {"app": "web"}}, True),
    ({"matchLabels": {"app": "web", "tier": "x"}}, False),
    ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}, True),
    ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
    ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
    ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ({"matchExpressions": [{"key": "tier", "operator": "Whatever"}]}, True),
]


@pytest.mark.parametrize(("selector", "selected"), SELECTORS)
def test_selectors(selector: Any, selected: bool) -> None:
    assert selects(selector, {"app": "web"}) is selected


def test_an_empty_selector_of_a_service_picks_nothing() -> None:
    assert not picks({}, {"app": "web"})
    assert not picks(None, {"app": "web"})
    assert picks({"app": "web"}, {"app": "web", "a": "b"})


BEFORE = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {"containers": [{"name": "x", "image": "1"}, {"name": "y"}], "args": ["a"]},
}
PATCHES: list[tuple[Any, list[str]]] = [
    ({}, []),
    ({"metadata": {"resourceVersion": "9", "uid": "u"}}, []),
    ({"metadata": {"labels": {"a": "1"}}}, []),
    ({"metadata": {"labels": {"a": None}}}, ["metadata.labels.a"]),
    ({"spec": {"containers": [{"name": "x", "image": "2"}]}}, ["spec.containers[x].image"]),
    ({"spec": {"containers": [{"name": "x", "image": "1"}]}}, []),
    ({"spec": {"containers": [{"name": "z"}]}}, ["spec.containers[z]"]),
    ({"spec": {"args": ["b"]}}, ["spec.args"]),
    ([{"op": "replace", "path": "/spec/containers/0/image", "value": "2"}], ["spec.containers[x].image"]),
    ([{"op": "remove", "path": "/spec/containers/1"}], ["spec.containers[y]"]),
    ([{"op": "add", "path": "/spec/args/-", "value": "b"}], ["spec.args"]),
    ([{"op": "move", "from": "/spec/args", "path": "/spec/other"}], ["spec.args", "spec.other"]),
    ([{"op": "test", "path": "/spec/nothing", "value": 1}], []),
    ([{"op": "replace", "path": "/metadata/labels/a", "value": "1"}], []),
]


@pytest.mark.parametrize(("patch", "changed"), PATCHES)
def test_what_a_patch_changes(patch: Any, changed: list[str]) -> None:
    whole = isinstance(patch, list)
    after = fields.patched(BEFORE, patch) if whole else fields.merged(BEFORE, patch, strategic=True)
    assert [fields.shown(path) for path in fields.differences(BEFORE, after)] == changed


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/none", "value": 1},
        {"op": "remove", "path": "/spec/containers/7"},
        {"op": "add", "path": "/spec/none/deeper", "value": 1},
        {"op": "add", "path": "/spec/args/9", "value": 1},
        {"op": "add", "path": "spec", "value": 1},
        {"op": "burn", "path": "/spec"},
    ],
)
def test_a_json_patch_that_does_not_apply(operation: dict[str, Any]) -> None:
    with pytest.raises(fields.PatchError):
        fields.patched(BEFORE, [operation])


def test_a_patch_of_an_object_leaves_the_object_alone() -> None:
    before = {"spec": {"a": [1]}}
    fields.patched(before, [{"op": "add", "path": "/spec/a/-", "value": 2}])
    fields.merged(before, {"spec": {"a": [9]}}, strategic=False)
    assert before == {"spec": {"a": [1]}}


def test_an_operators_own_fields_are_managed_elsewhere() -> None:
    owner = {"apiVersion": "db.io/v1", "kind": "Postgres", "name": "main", "uid": "u", "controller": True}
    one = {
        "kind": "StatefulSet",
        "metadata": {
            "name": "main",
            "ownerReferences": [owner],
            "managedFields": [
                {"manager": "postgres-operator", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            ],
        },
    }
    assert managed.manager(one, [("spec", "replicas")]) == "Postgres main"
    assert managed.manager(one, [("spec", "paused")]) is None
    assert managed.manager(one, [], whole=True) == "Postgres main"

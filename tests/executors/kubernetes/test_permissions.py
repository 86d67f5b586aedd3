"""Which rights calls need, by name and back, and the least role that gives them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.executor import Permission
from uici.model import Call, Risk
from uici_executors.kubernetes import permissions, sdk
from uici_executors.kubernetes.permissions import EVERY, OF_TARGET, Right

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/rights.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['path']} {case['with']}")
def test_rights(case: dict[str, Any]) -> None:
    rights = permissions.of_call(case["path"], case["with"])
    assert [permissions.permission(one).name for one in rights] == case["rights"]
    assert [permissions.right_of(permissions.permission(one)) for one in rights] == rights


def test_every_method_of_the_client_needs_a_right_that_its_name_brings_back() -> None:
    for api in sdk.classes():
        for name in sdk.names(api):
            rights = permissions.of_call(f"{api}.{name}", {})
            assert rights, name
            for right in rights:
                assert right.verb, name
                assert right.url or right.resource, name
                assert permissions.right_of(permissions.permission(right)) == right, name


def test_a_call_that_there_is_none_of_needs_no_made_up_right() -> None:
    with pytest.raises(ValueError, match="has no 'AppsV1Api"):
        permissions.of_call("AppsV1Api.explode", {})


@pytest.mark.parametrize("name", ["", "pods", "pods get", "core/pods", "core/pods/log/x get", "core/pods get in a b"])
def test_what_names_no_right(name: str) -> None:
    with pytest.raises(ValueError, match="names no right"):
        permissions.right_of(Permission(name=name))


# The contract's own reads


def test_the_contracts_own_reads_read() -> None:
    rights = permissions.own_reads("uici")
    assert {one.verb for one in rights} == {"get", "list", "watch"}
    assert not any(one.resource in ("secrets", "configmaps") or one.subresource for one in rights)
    assert permissions.ENGINE in rights


def test_of_calls_has_the_calls_and_the_contract_once_each() -> None:
    call = Call(
        on=None,
        path="AppsV1Api.patch_namespaced_deployment",
        arguments={"name": "web", "namespace": "shop"},
        risk=Risk.CHANGE,
    )
    names = [one.name for one in permissions.of_calls([call, call])]
    assert len(names) == len(set(names))
    assert "apps/deployments patch named web in shop" in names
    assert "core/pods watch in every namespace" in names
    assert "core/pods watch in shop" in [one.name for one in permissions.of_calls([call], ["shop"])]


def test_the_targets_namespace_is_each_that_may_be_or_every_one() -> None:
    right = Right(resource="pods", verb="get", namespace=OF_TARGET)
    assert [one.namespace for one in permissions.settled([right], ["shop", "pay"])] == ["pay", "shop"]
    assert [one.namespace for one in permissions.settled([right])] == [EVERY]
    assert [one.namespace for one in permissions.settled([right], ["shop", "pay-*"])] == [EVERY]


def test_what_a_wider_right_gives_is_not_asked_for_again() -> None:
    wide = Right(resource="pods", verb="get", namespace=EVERY)
    some = [
        Right(resource="pods", verb="get", namespace="shop"),
        Right(resource="pods", verb="get", namespace="shop", name="a"),
    ]
    other = Right(resource="pods", verb="list", namespace="shop")
    assert permissions.settled([*some, wide, other]) == sorted([wide, other])
    assert permissions.settled(some) == [some[0]]


def test_a_review_asks_for_what_the_right_is() -> None:
    right = Right("apps", "deployments", "scale", "patch", "shop", "web")
    assert permissions.review(right) == {
        "resourceAttributes": {
            "group": "apps",
            "resource": "deployments",
            "subresource": "scale",
            "verb": "patch",
            "namespace": "shop",
            "name": "web",
        }
    }
    everywhere = Right(resource="pods", verb="list", namespace=EVERY)
    assert permissions.review(everywhere) == {"resourceAttributes": {"group": "", "resource": "pods", "verb": "list"}}
    assert permissions.review(Right(verb="get", url="/version/")) == {
        "nonResourceAttributes": {"path": "/version/", "verb": "get"}
    }


# Roles

RIGHTS = [
    Right(resource="pods", verb="list", namespace=OF_TARGET),
    Right(resource="pods", verb="get", namespace=OF_TARGET),
    Right(resource="services", verb="get", namespace=OF_TARGET),
    Right(resource="services", verb="list", namespace=OF_TARGET),
    Right(resource="pods", subresource="log", verb="get", namespace="shop"),
    Right("apps", "deployments", verb="patch", namespace="shop"),
    Right("apps", "deployments", verb="patch", namespace="shop", name="web"),
    Right("apps", "deployments", verb="delete", namespace="shop", name="web"),
    Right("apps", "deployments", verb="delete", namespace="shop", name="api"),
    Right(resource="nodes", verb="get"),
    permissions.ENGINE,
    Right(verb="get", url="/version/"),
]


def test_a_role_holds_what_is_needed_and_nothing_else() -> None:
    cluster, pay, shop = permissions.role(RIGHTS, "uici", ["shop", "pay"])
    assert (cluster["kind"], cluster["metadata"]) == ("ClusterRole", {"name": "uici"})
    assert cluster["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
        {"nonResourceURLs": ["/version/"], "verbs": ["get"]},
    ]
    assert (pay["kind"], pay["metadata"]) == ("Role", {"name": "uici", "namespace": "pay"})
    assert pay["rules"] == [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]}]
    assert shop["metadata"]["namespace"] == "shop"
    assert shop["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["api", "web"], "verbs": ["delete"]},
    ]


def test_without_namespaces_all_is_one_cluster_role_but_for_what_names_one() -> None:
    kinds = [(one["kind"], one["metadata"].get("namespace")) for one in permissions.role(RIGHTS, "uici")]
    assert kinds == [("ClusterRole", None), ("Role", "shop")]


@pytest.mark.parametrize("seed", range(5))
def test_a_role_is_the_same_whatever_the_order(seed: int) -> None:
    shuffled = [*RIGHTS, *RIGHTS]
    random.Random(seed).shuffle(shuffled)
    assert permissions.role(shuffled, "uici", ["pay", "shop"]) == permissions.role(RIGHTS, "uici", ["pay", "shop"])


def allowed(manifests: list[dict[str, Any]]) -> set[tuple[str, str, str, str, str]]:
    """Every (namespace, group, resource, verb, name) that roles give, as RBAC reads them."""
    return {
        (one["metadata"].get("namespace", EVERY), group, resource, verb, name)
        for one in manifests
        for rule in one["rules"]
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_merging_rules_makes_no_right_wider() -> None:
    everything = [
        right
        for api in ("AppsV1Api", "CoreV1Api", "BatchV1Api", "RbacAuthorizationV1Api")
        for name in sdk.names(api)
        for right in permissions.of_call(
            f"{api}.{name}", {"name": "a" if len(name) % 2 else "${x}", "namespace": "shop"}
        )
    ]
    given = allowed(permissions.role(everything, "uici"))
    settled = permissions.settled(everything)
    needed = {
        (one.namespace or EVERY, one.group, "/".join(filter(None, (one.resource, one.subresource))), one.verb, one.name)
        for one in settled
        if not one.url
    }
    assert given == needed


def test_a_right_that_only_run_time_knows_makes_no_role() -> None:
    rights = permissions.of_call("CustomObjectsApi.get_cluster_custom_object", {"group": "a.io", "plural": "${p}"})
    with pytest.raises(ValueError, match="must be written out"):
        permissions.role(rights, "uici")

"""How much each call may harm: by the table, by its body, and by what a Pod's deletion touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.executors.kubernetes.schemas import schema_of
from uici.model import Call, Pinned, Resource, Risk, Touch
from uici_executors.kubernetes import risks, sdk

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/risks.yml").read_text())
#: What may be below ``destroy`` and yet ends something.
POD = "CoreV1Api.delete_namespaced_pod"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['path']} {case['with']}")
def test_risk(case: dict[str, Any]) -> None:
    schemas = {key: schema_of(value) for key, value in case["with"].items()}
    assert risks.static(case["path"], schemas).value == case["risk"]
    if "${" not in str(case["with"]):
        assert risks.risk(case["path"], case["with"]).value == case["risk"]


def methods() -> list[sdk.Method]:
    found = [sdk.find(f"{api}.{name}") for api in sdk.classes() for name in sdk.names(api)]
    return [one for one in found if one is not None]


def test_nothing_that_can_delete_is_below_destroy() -> None:
    for method in methods():
        if method.http == "DELETE" or method.name.startswith(("delete", "connect")) or "eviction" in method.subresource:
            assert risks.risk(method.path, {}) is (Risk.CHANGE if method.path == POD else Risk.DESTROY), method.path


def test_only_what_asks_observes() -> None:
    observing = [one for one in methods() if risks.risk(one.path, {}) is Risk.OBSERVE]
    assert len(observing) > 300
    odd = [one.path for one in observing if one.http != "GET" and "review" not in one.resource]
    assert odd == []
    named = ("read_", "list_", "get_")
    assert [one.path for one in observing if one.http == "GET" and not one.name.startswith(named)] == []


def test_nothing_that_writes_is_below_change() -> None:
    for method in methods():
        if method.http in ("POST", "PUT", "PATCH") and "review" not in method.resource:
            assert risks.risk(method.path, {}) >= Risk.CHANGE, method.path


@pytest.mark.parametrize("path", [one.path for one in methods() if one.http == "PATCH" and one.body and one.resource])
@pytest.mark.parametrize("body", [{"metadata": {"finalizers": []}}, [{"op": "remove", "path": "/metadata/finalizers"}]])
def test_no_patch_takes_finalizers_away_below_destroy(path: str, body: Any) -> None:
    assert risks.risk(path, {"body": body}) is Risk.DESTROY


# A Pod's deletion at run time


def pinned(owner: str | None, name: str = "web-1", **arguments: Any) -> Pinned:
    call = Call(on=None, path=POD, arguments={"name": "web-1", "namespace": "shop", **arguments}, risk=Risk.CHANGE)
    pod = Resource(engine="e", kind="Pod", id="u", name=name, namespace="shop", owner=owner or "")
    return Pinned(call=call, touches=(Touch(resource=pod),) if owner is not None else ())


@pytest.mark.parametrize(
    ("found", "risk"),
    [
        (pinned("deployment/shop/web"), Risk.CHANGE),
        (pinned("statefulset/shop/web"), Risk.CHANGE),
        (pinned("daemonset/shop/web"), Risk.CHANGE),
        (pinned("replicaset/shop/web"), Risk.CHANGE),
        (pinned("replicationcontroller/shop/web"), Risk.CHANGE),
        # Nothing makes it anew, or nobody knows.
        (pinned(""), Risk.DESTROY),
        (pinned("pod/shop/web-1"), Risk.DESTROY),
        (pinned("job/shop/web"), Risk.DESTROY),
        (pinned("cronjob/shop/web"), Risk.DESTROY),
        (pinned("cluster/shop/database"), Risk.DESTROY),
        (pinned(None), Risk.DESTROY),
        (pinned("deployment/shop/web", name="other"), Risk.DESTROY),
        (pinned("deployment/shop/web", grace_period_seconds=0), Risk.DESTROY),
    ],
)
def test_a_pod_that_a_controller_makes_anew_may_go(found: Pinned, risk: Risk) -> None:
    assert risks.risk_of(found) is risk


def test_a_call_that_is_no_deletion_of_a_pod_is_judged_by_its_arguments() -> None:
    path = "AppsV1Api.patch_namespaced_deployment_scale"
    call = Call(on=None, path=path, arguments={"body": {"spec": {"replicas": 0}}}, risk=Risk.OBSERVE)
    assert risks.risk_of(Pinned(call=call)) is Risk.DESTROY

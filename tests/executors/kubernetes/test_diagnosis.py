"""What is wrong is named from real objects and events; the table names only causes that operations.yml promises."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from uici_executors.kubernetes.causes import MEANINGS, RULES
from uici_executors.kubernetes.diagnosis import find

ROOT = Path(__file__).parents[3]
CAPTURED: dict[str, Any] = yaml.safe_load((ROOT / "tests/cases/kubernetes_causes.yml").read_text())
CASES: dict[str, Any] = CAPTURED["cases"]
NOW: str = CAPTURED["now"]


@pytest.mark.parametrize("name", CASES)
def test_the_cause_of_what_was_seen(name: str) -> None:
    case = CASES[name]
    found = find(NOW, **case["given"])
    assert {key: found[key] for key in case["expect"]} == case["expect"], found
    if found["cause"] != "none":
        assert found["evidence"], "a cause is named with what shows it"
        assert found["object"] in found["message"]


def said(text: str) -> dict[str, Any]:
    """The Pod of ``noimage`` whose registry says something else."""
    given: dict[str, Any] = copy.deepcopy(CASES["noimage"]["given"])
    given["events"] = []
    given["pods"][0]["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = text
    return given


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            'Back-off pulling image "docker.io/shop/web:2": ErrImagePull: rpc error: code = NotFound desc = failed to pull and '
            'unpack image "docker.io/shop/web:2": failed to resolve reference "docker.io/shop/web:2": docker.io/shop/web:2: not found',
            "image_not_found",
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
            "https://auth.example/token: 401 Unauthorized",
            "image_auth",
        ),
        (
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            "image_auth",
        ),
        ("dial tcp: lookup registry.example on 10.0.0.2:53: no such host", "image_unreachable"),
        ("toomanyrequests: You have reached your pull rate limit", "image_unreachable"),
        ("something that nobody has said yet", "image_unavailable"),
    ],
)
def test_what_a_registry_says(text: str, cause: str) -> None:
    assert find(NOW, **said(text))["cause"] == cause


def test_a_node_that_is_gone_explains_its_pods() -> None:
    node = {"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    found = find(NOW, **CASES["crash"]["given"], nodes=[node])
    assert found["cause"] == "node_down"
    assert "crash_exit" in found["others"]


def test_a_node_that_is_gone_is_known_by_what_its_pods_are_told() -> None:
    given = copy.deepcopy(CASES["noready"]["given"])
    pod = given["pods"][0]["metadata"]
    about = {"kind": "Pod", "namespace": pod["namespace"], "name": pod["name"], "uid": pod["uid"]}
    event = {"metadata": {"name": "e"}, "involvedObject": about, "type": "Warning", "lastTimestamp": NOW}
    given["events"].append({**event, "reason": "NodeNotReady", "message": "Node is not ready"})
    assert find(NOW, **given)["cause"] == "node_down"
    about["uid"] = "of a former Pod of that name"
    assert find(NOW, **given)["cause"] == "probe_failing"


def test_what_lies_long_ago_explains_nothing() -> None:
    given = copy.deepcopy(CASES["oom"]["given"])
    pod = given["pods"][0]
    for condition in pod["status"]["conditions"]:
        condition["status"] = "True"
    status = pod["status"]["containerStatuses"][0]
    status["ready"], status["state"] = True, {"running": {"startedAt": NOW}}
    pod["status"]["phase"] = "Running"
    given["events"] = []
    assert find(NOW, **given)["cause"] == "out_of_memory", "it was killed just now, though it runs again"
    status["lastState"]["terminated"]["finishedAt"] = "2020-01-01T00:00:00Z"
    assert find(NOW, **given)["cause"] == "none"


def refused(case: str, message: str) -> dict[str, Any]:
    """A case with a Pod that could not be made a while ago."""
    given: dict[str, Any] = copy.deepcopy(CASES[case]["given"])
    workload, made_by = given["workload"], given["revisions"][0]["metadata"]
    kind, name = workload["kind"], workload["metadata"]["name"]
    about = {"kind": "ReplicaSet", "name": made_by["name"]} if kind == "Deployment" else {"kind": kind, "name": name}
    event = {"metadata": {"name": "e"}, "involvedObject": about, "type": "Warning", "lastTimestamp": NOW}
    given["events"] = [{**event, "reason": "FailedCreate", "message": f"Error creating: pods is forbidden: {message}"}]
    return given


REFUSED = {
    "exceeded quota: q": "quota",
    'error looking up service account shop/a: serviceaccount "a" not found': "account_missing",
    "no policy allows it": "admission_denied",
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("case", ["good", "sts", "ds"])
def test_a_refusal_explains_only_what_is_still_missing(case: str, message: str) -> None:
    given = refused(case, message)
    assert find(NOW, **given)["cause"] == "none", "all its Pods are there"
    given["pods"][0]["metadata"]["deletionTimestamp"] = NOW
    assert find(NOW, **given)["cause"] == "none", "nobody makes the next one yet"
    given["pods"][0]["status"]["phase"] = "Failed"
    assert find(NOW, **given)["cause"] == REFUSED[message]
    del given["pods"][0]
    assert find(NOW, **given)["cause"] == REFUSED[message]


def test_a_refusal_of_the_past_does_not_explain_what_was_killed_since() -> None:
    found = find(NOW, **refused("oom", "no policy allows it"))
    assert found["cause"] == "out_of_memory"
    assert "admission_denied" not in found["others"]


def test_what_the_controller_says_counts_though_no_pod_is_missing() -> None:
    """A rollout that may not make one Pod more stands still, while the old ones serve. A paused one takes nothing back."""
    given = refused("good", "exceeded quota: q")
    said = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    given["workload"]["status"]["conditions"].append(said)
    assert find(NOW, **given)["cause"] == "quota"
    given["workload"]["spec"]["paused"] = True
    assert find(NOW, **given)["cause"] == "rollout_paused"
    del given["pods"][0]
    assert find(NOW, **given)["cause"] == "quota"
    said["reason"] = "FailedDelete"
    given = {**given, "events": []}
    assert find(NOW, **given)["cause"] == "rollout_paused"


def test_a_pod_that_does_not_end_is_stuck_only_after_its_grace() -> None:
    given = copy.deepcopy(CASES["good"]["given"])
    given["pods"][0]["metadata"]["deletionTimestamp"] = NOW
    assert find(NOW, **given)["cause"] == "none"
    given["pods"][0]["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z"
    assert find(NOW, **given)["cause"] == "stuck_terminating"


def test_pods_of_others_are_left_out() -> None:
    given = {**CASES["good"]["given"], "pods": [*CASES["good"]["given"]["pods"], *CASES["crash"]["given"]["pods"]]}
    assert find(NOW, **given)["cause"] == "none"


def test_every_cause_has_a_meaning_and_is_promised() -> None:
    operations = yaml.safe_load((ROOT / "infrastructure/config/operations.yml").read_text())["operations"]
    promised = operations["diagnose_workload"]["returns"]["properties"]["cause"]["enum"]
    assert {rule.cause for rule in RULES} | {"none"} == set(MEANINGS) == set(promised)

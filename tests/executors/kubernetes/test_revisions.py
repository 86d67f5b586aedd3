"""Which revisions count as seen fully available: by UICI's mark, by what is there now, by what a monitor remembers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from uici.model import UnreachableError
from uici_executors.kubernetes import words
from uici_executors.kubernetes.revisions import look

NOW = "2026-11-25T12:00:00.000000000Z"


def replica_set(
    number: int, *, available: int = 0, replicas: int = 0, verified: bool = False, mark: str = ""
) -> dict[str, Any]:
    mark = f"h{number} {NOW}" if verified else mark
    marks = {"deployment.kubernetes.io/revision": str(number), **({"uici/verified-at": mark} if mark else {})}
    labels = {"app": "web", "pod-template-hash": f"h{number}"}
    container = {"name": "app", "image": f"web:{number}"}
    return {
        "metadata": {
            "name": f"web-h{number}",
            "annotations": marks,
            "labels": labels,
            "ownerReferences": [{"uid": "u", "controller": True}],
        },
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
        "status": {"replicas": replicas, "availableReplicas": available},
    }


def pod(number: int, since: str, status: str = "True") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": since}
    labels = {"pod-template-hash": f"h{number}"}
    return {"metadata": {"name": f"web-h{number}-x", "labels": labels}, "status": {"conditions": [condition]}}


WEB = {
    "kind": "Deployment",
    "metadata": {"name": "web", "uid": "u", "annotations": {"deployment.kubernetes.io/revision": "4"}},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": "web:4"}]}}},
}
LONG_AGO, JUST_NOW = "2026-11-25T11:00:00Z", "2026-11-25T11:59:50Z"


@pytest.mark.parametrize(
    ("sets", "pods", "series", "rollback_to", "seen"),
    [
        ([replica_set(3), replica_set(2)], [], [], 0, "no"),
        ([replica_set(3), replica_set(2, verified=True)], [], [], 2, "verified"),
        ([replica_set(3, mark=f"h2 {NOW}"), replica_set(2, verified=True)], [], [], 2, "verified"),
        ([replica_set(3, mark=f"h2 {NOW}")], [], [], 0, "no"),
        ([replica_set(3, mark=NOW)], [], [], 0, "no"),
        ([replica_set(3, mark="h3")], [], [], 0, "no"),
        ([replica_set(3, available=2, replicas=2)], [pod(3, LONG_AGO)], [], 3, "available"),
        ([replica_set(3, available=2, replicas=2)], [pod(3, JUST_NOW)], [], 0, "no"),
        ([replica_set(3, available=1, replicas=2)], [pod(3, LONG_AGO)], [], 0, "no"),
        ([replica_set(3), replica_set(2)], [], ["web-h2"], 2, "monitored"),
        ([replica_set(3, verified=True), replica_set(2, verified=True)], [], [], 3, "verified"),
    ],
    ids=[
        "nobody saw one", "marked", "a mark that came along", "and no other", "a mark of nobody", "a mark without a moment",
        "it stands", "for a moment", "not all of it", "a monitor saw it", "the newest",
    ],
)  # fmt: skip
def test_what_counts_as_seen(sets: list[Any], pods: list[Any], series: list[str], rollback_to: int, seen: str) -> None:
    monitored = [{"labels": {"replicaset": name}, "value": "2"} for name in series]
    found = look(WEB, [replica_set(4, available=2, replicas=2), *sets], pods, NOW, monitored)
    assert (found["current"], found["rollback_to"]) == (4, rollback_to)
    wanted = rollback_to or 3
    assert next(one["seen"] for one in found["revisions"] if one["revision"] == wanted) == seen
    template = found["revisions"][-1]["template"]
    assert template["metadata"]["labels"] == {"app": "web"}, "the mark of a ReplicaSet is none of a Deployment's"


def stands(
    number: int, since: str, status: str = "True", *, begun: str = LONG_AGO, restarts: int = 0
) -> dict[str, Any]:
    one = pod(number, since, status)
    one["status"] |= {"startTime": begun, "containerStatuses": [{"name": "app", "restartCount": restarts}]}
    return one


@pytest.mark.parametrize(
    ("verified", "pods", "series", "seen"),
    [
        (True, [], [], True),
        (False, [], ["web-h4"], True),
        (False, [], ["web-h3"], False),
        (False, [], [], False),
        (False, [stands(4, LONG_AGO), stands(4, JUST_NOW, "False")], [], True),
        (False, [stands(4, JUST_NOW)], [], False),
        (False, [stands(4, LONG_AGO), stands(3, LONG_AGO)], [], False),
        (False, [stands(4, JUST_NOW, "False")], [], True),
        (False, [stands(4, JUST_NOW, "False", restarts=1)], [], False),
        (False, [stands(4, LONG_AGO, "False")], [], False),
        (False, [stands(9, LONG_AGO)], [], False),
    ],
    ids=[
        "marked", "a monitor saw it", "a monitor saw another", "nobody saw it", "another of its Pods stands",
        "it stands for a moment", "its rollout is under way", "it stood until just now", "it crashes", "it never stood",
        "another's Pod",
    ],
)  # fmt: skip
def test_whether_the_newest_one_itself_was_seen(verified: bool, pods: list[Any], series: list[str], seen: bool) -> None:
    monitored = [{"labels": {"replicaset": name}, "value": "2"} for name in series]
    sets = [replica_set(4, replicas=2, verified=verified), replica_set(3, verified=True)]
    found = look(WEB, sets, pods, NOW, monitored)
    assert (found["current_seen"], found["rollback_to"]) == (seen, 3)


@pytest.mark.parametrize(
    ("pods", "seen"),
    [
        ([("old", LONG_AGO, "True"), ("new", LONG_AGO, "False")], "available"),
        ([("old", JUST_NOW, "True")], "no"),
        ([("old", LONG_AGO, "True"), ("old", LONG_AGO, "False")], "no"),
        ([], "no"),
    ],
)
def test_a_daemonset_is_known_by_the_pods_that_it_has_left(pods: list[tuple[str, str, str]], seen: str) -> None:
    mark = "controller-revision-hash"
    revisions = [
        {
            "metadata": {"name": f"agent-{name}", "labels": {mark: name}, "ownerReferences": [{"uid": "u"}]},
            "revision": number,
            "data": {"spec": {"template": {"$patch": "replace", "spec": {"containers": []}}}},
        }
        for number, name in enumerate(("old", "new"), 1)
    ]
    seen_pods = []
    for name, since, status in pods:
        one = pod(1, since, status)
        one["metadata"]["labels"] = {mark: name}
        seen_pods.append(one)
    workload = {"kind": "DaemonSet", "metadata": {"name": "agent", "uid": "u"}, "spec": {}}
    found = look(workload, revisions, seen_pods, NOW)
    assert found["revisions"][-1]["seen"] == seen
    assert found["revisions"][-1]["template"] == {"spec": {"containers": []}}


@pytest.mark.parametrize(
    ("current", "pods", "seen"),
    [
        ("b", [], {"a": "no", "b": "available", "c": "no"}),
        ("a", [], {"a": "no", "b": "no", "c": "no"}),
        ("a", [("a", LONG_AGO, "True"), ("c", LONG_AGO, "False")], {"a": "available", "b": "no", "c": "no"}),
        ("a", [("a", LONG_AGO, "True"), ("a", LONG_AGO, "False")], {"a": "no", "b": "no", "c": "no"}),
        ("a", [("a", JUST_NOW, "True")], {"a": "no", "b": "no", "c": "no"}),
        ("c", [("c", LONG_AGO, "True")], {"a": "no", "b": "no", "c": "no"}),
    ],
    ids=["moved on to", "begun with", "it stands", "not all of it", "for a moment", "no other"],
)
def test_what_a_stateful_set_began_with_need_not_have_run(
    current: str, pods: list[tuple[str, str, str]], seen: dict[str, str]
) -> None:
    """It is the current revision from the beginning, and again when it is gone back to, under a higher number."""
    revisions = [
        {
            "metadata": {
                "name": name,
                "creationTimestamp": f"2026-11-25T1{age}:00:00Z",
                "ownerReferences": [{"uid": "u"}],
            },
            "revision": number,
            "data": {"spec": {"template": {"spec": {"containers": []}}}},
        }
        for name, age, number in (("a", 0, 3), ("b", 1, 2), ("c", 2, 4))
    ]
    ready = []
    for name, since, status in pods:
        one = pod(1, since, status)
        one["metadata"]["labels"] = {"controller-revision-hash": name}
        ready.append(one)
    status = {"currentRevision": current, "updateRevision": "c"}
    workload = {"kind": "StatefulSet", "metadata": {"name": "db", "uid": "u"}, "spec": {}, "status": status}
    found = look(workload, revisions, ready, NOW)
    assert {one["name"]: one["seen"] for one in found["revisions"]} == seen


@pytest.mark.parametrize(
    ("policy", "updated", "seen"), [("OrderedReady", 1, "available"), ("OrderedReady", 0, "no"), ("Parallel", 1, "no")]
)
def test_what_is_replaced_in_order_was_ready(policy: str, updated: int, seen: str) -> None:
    revisions = [
        {
            "metadata": {
                "name": name,
                "creationTimestamp": f"2026-11-25T1{number}:00:00Z",
                "ownerReferences": [{"uid": "u"}],
            },
            "revision": number,
            "data": {"spec": {"template": {"spec": {"containers": []}}}},
        }
        for number, name in enumerate("ac", 1)
    ]
    status = {"currentRevision": "a", "updateRevision": "c", "updatedReplicas": updated}
    spec = {"podManagementPolicy": policy}
    workload = {"kind": "StatefulSet", "metadata": {"name": "db", "uid": "u"}, "spec": spec, "status": status}
    assert look(workload, revisions, [], NOW)["revisions"][-1]["seen"] == seen


def test_the_mark_of_a_controller_revision_is_its_name() -> None:
    revisions = [
        {
            "metadata": {
                "name": name,
                "ownerReferences": [{"uid": "u"}],
                "annotations": {"uici/verified-at": f"a {NOW}"},
            },
            "revision": number,
            "data": {"spec": {"template": {"spec": {"containers": []}}}},
        }
        for number, name in enumerate("ab", 1)
    ]
    workload = {"kind": "DaemonSet", "metadata": {"name": "agent", "uid": "u"}, "spec": {}}
    assert [one["seen"] for one in look(workload, revisions, [], NOW)["revisions"]] == ["no", "verified"]


def test_other_owners_revisions_are_left_out() -> None:
    stranger = replica_set(3, verified=True)
    stranger["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert look(WEB, [replica_set(4), stranger], [], NOW)["previous"] == 0


class Monitor(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer: Any = {"status": "success", "data": {"result": [{"metric": {"replicaset": "web"}, "value": [1, "2"]}]}}
        if "wrong" in body:
            answer = {"status": "error"}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def monitor() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Monitor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_monitor_is_asked_where_one_is_named(monitor: str) -> None:
    assert words.query("", "up") == {"series": [], "asked": False}
    assert words.query(monitor, "up") == {"series": [{"labels": {"replicaset": "web"}, "value": "2"}], "asked": True}
    with pytest.raises(UnreachableError, match="gives no answer"):
        words.query(monitor, "wrong")
    with pytest.raises(ValueError, match="no http address"):
        words.query("file:///etc/passwd", "up")

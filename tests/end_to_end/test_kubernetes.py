"""An alert of a real cluster's failure, by the real daemon, to verified recovery or to a person; and nothing else changed."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.place import WAIT, Place, firing, place, until
from tests.engines.kubernetes import BUSYBOX, Cluster, images
from tests.monitoring.shipped import Listener

pytestmark = pytest.mark.engine("kubernetes")

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "cases/kubernetes_failures.yml").read_text())
BROKEN = "localhost/uici-test/broken:2"
#: How long a revision must have been ready to count as seen, and a little more.
PROVEN = 33.0
#: A whole recovery: the look, the change, the rollout, and that it holds.
LONG = 180.0
STAYS = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"]
TAKES_38 = ["sh", "-c", "busybox mkfifo /tmp/p; sleep 1000000 <>/tmp/p & exec dd if=/dev/zero bs=38M count=1 of=/tmp/p"]
#: All that a namespace holds and that says anything: not what was said of it, and who holds which lease.
_LEFT_OUT = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "pods.metrics.k8s.io", "bindings")


def workload(
    name: str, container: Mapping[str, Any], spec: Mapping[str, Any], kind: str = "Deployment"
) -> dict[str, Any]:
    one = {"name": "app", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": STAYS, **container}
    labels = {"app": name}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [one]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    whole = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": whole}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def scenes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A namespace for each case, with `web` as it was before, and what stands beside it; all long enough to be proven."""
    root = images.busybox_root(tmp_path_factory.mktemp("broken") / "root")
    cluster.load_image(BROKEN, root, "sh", "-c", "exit 3")
    with ExitStack() as stack:
        made = {name: stack.enter_context(cluster.namespace("shop")) for name in CASES}
        for name, namespace in made.items():
            begin = CASES[name]["begin"]
            container = dict(begin.get("container", {}))
            if container.get("command") == "TAKES_38":
                container["command"] = TAKES_38
            if "BROKEN" in str(CASES[name].get("break")):
                container["command"] = None  # what the image says
            beside: list[dict[str, Any]] = [
                workload("web", container, begin.get("spec", {}), CASES[name].get("kind", "Deployment")),
                service("web"),
                workload("other", {}, {}),
                service("other"),
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"mode": "fast"}},
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "x"}},
            ]
            cluster.apply(*beside, namespace=namespace)
        for name, namespace in made.items():
            cluster.wait("deployment/other", "condition=Available", namespace)
            if "break" in CASES[name]:
                up(cluster, namespace, CASES[name])
            if "release" in CASES[name]:
                released(cluster, namespace, CASES[name])
        time.sleep(PROVEN)
        yield made


def kind_of(case: Mapping[str, Any]) -> str:
    return str(case.get("kind", "Deployment")).lower()


def up(cluster: Cluster, namespace: str, case: Mapping[str, Any]) -> None:
    cluster.kubectl(
        "rollout", "status", f"{kind_of(case)}/web", f"--namespace={namespace}", "--timeout=60s", seconds=70
    )


def released(cluster: Cluster, namespace: str, case: Mapping[str, Any]) -> None:
    """Gives it another revision, with the mark of one that UICI has verified."""
    cluster.kubectl(*case["release"], f"--namespace={namespace}")
    up(cluster, namespace, case)
    for one in cluster.get("replicasets", "--selector=app=web", f"--namespace={namespace}")["items"]:
        if one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2":
            mark = f"uici/verified-at={one['metadata']['labels']['pod-template-hash']} 2026-01-01T00:00:00.000000000Z"
            cluster.kubectl("annotate", f"replicaset/{one['metadata']['name']}", mark, f"--namespace={namespace}")


def all_of(cluster: Cluster, namespace: str) -> dict[str, tuple[str, str]]:
    """Every object of the namespace by kind and name: its uid and resourceVersion."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    listed = ",".join(kind for kind in kinds if kind not in _LEFT_OUT)
    columns = "custom-columns=K:.kind,A:.apiVersion,N:.metadata.name,U:.metadata.uid,V:.metadata.resourceVersion"
    found = {}
    for line in cluster.kubectl(
        "get", listed, f"--namespace={namespace}", f"--output={columns}", "--no-headers"
    ).splitlines():
        kind, version, name, uid, resource_version = line.split()
        group = version.partition("/")[0] if "/" in version else ""
        found[f"{kind.lower()}{'.' if group else ''}{group}/{name}"] = (uid, resource_version)
    return found


def broken(cluster: Cluster, namespace: str, case: Mapping[str, Any]) -> str:
    """Breaks it, waits until that shows, and gives a Pod that is not ready (empty: there is none)."""
    if "break" in case:
        words = [BROKEN if word == "BROKEN" else word.replace("=BROKEN", f"={BROKEN}") for word in case["break"]]
        where = words.index("--") if "--" in words else len(words)
        cluster.kubectl(*words[:where], f"--namespace={namespace}", *words[where:])
    waits = case.get("waits", "")
    if waits == "ProgressDeadlineExceeded":

        def stuck(one: dict[str, Any]) -> bool:
            return any(condition.get("reason") == waits for condition in one["status"].get("conditions", ()))

        cluster.until("deployment/web", stuck, namespace)
        return ""

    def ill(pod: dict[str, Any]) -> bool:
        if pod["metadata"].get("labels", {}).get("app") != "web":
            return False
        statuses = pod["status"].get("containerStatuses", ())
        if waits == "unready":
            return any(not one["ready"] for one in statuses)
        return any(one["state"].get("waiting", {}).get("reason") == waits for one in statuses)

    return str(cluster.until("pods", ill, namespace, seconds=90)["metadata"]["name"]) if waits else ""


def settled(cluster: Cluster, namespace: str) -> None:
    """Pods that are on their way out are no longer there."""

    def quiet() -> bool | None:
        pods = cluster.get("pods", f"--namespace={namespace}")["items"]
        return not any("deletionTimestamp" in one["metadata"] for one in pods) or None

    until(quiet, "no Pod is ending")


def ended(uici: Place, state: str) -> dict[str, Any]:
    def seen() -> dict[str, Any] | None:
        found = [one for one in uici.incidents() if one["state"] in (state, "escalated", "resolved")]
        return found[0] if found else None

    incident = until(seen, lambda: f"an incident that is {state}; {uici.story()}", LONG)
    assert incident["state"] == state, uici.story()
    return incident


@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_healed_or_told_and_nothing_else_changes(
    cluster: Cluster, scenes: dict[str, str], people: Listener, tell: str, name: str
) -> None:
    case, namespace = CASES[name], scenes[name]
    pod = broken(cluster, namespace, case)
    with place("", executor="kubernetes", escalate_to=tell) as uici:
        environment = {
            "executor": "kubernetes",
            "settings": {"kubeconfig": str(cluster.kubeconfig)},
            "alerts": ['cluster="local"'],
            "autonomy": "change",
        }
        uici.write("environments", {"version": 1, "environments": {"local": environment}})
        before = all_of(cluster, namespace)
        with uici.serving():
            uici.ready()
            words = {"POD": pod, "NODE": cluster.node}
            labels = {key: words.get(value, value) for key, value in case["alert"].items()}
            # As kube-state-metrics' own labels stand beside those of what it tells of.
            alert = firing("kube-state-metrics", labels.pop("alertname"), namespace=namespace, job="kube-state-metrics")
            alert["labels"] |= labels
            uici.alert(alert)
            incident = ended(uici, case["ends"])
            if incident["state"] == "escalated":
                _, letter = people.posts.get(timeout=WAIT)
                assert [word for word in case["says"] if word not in str(letter)] == [], letter
        assert incident["runbook"] == case["runbook"], uici.story()
        assert [one["call"]["path"] for one in uici.entries("intent")] == case["changes"], uici.story()
        tried = [
            one["operation"] for one in incident["tried"] if one["changed"] or one["operation"] == case.get("tried")
        ]
        assert tried == ([case["tried"]] if "tried" in case else []), uici.story()
        if case["ends"] == "watching":
            assert [one["verification"] for one in incident["tried"] if one["changed"]] == ["recovered"]
            up(cluster, namespace, case)
        for word in case.get("says", ()):
            assert word in incident["message"]
    container = cluster.get(f"{kind_of(case)}/web", f"--namespace={namespace}")["spec"]["template"]["spec"][
        "containers"
    ][0]
    wanted = {key: BUSYBOX if value == "BUSYBOX" else value for key, value in case["left"].items()}
    assert {key: container.get(key) for key in wanted} == wanted
    settled(cluster, namespace)
    after = all_of(cluster, namespace)
    changed = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
    if not case["may_change"]:
        changed = {one for one in changed if not _of_its_own(one)}
    others = {one for one in changed if not any(fnmatch.fnmatch(one, pattern) for pattern in case["may_change"])}
    assert not others, "what nobody asked to be changed"


def _of_its_own(one: str) -> bool:
    """What Kubernetes itself goes on changing while nobody does anything: the status of what fails."""
    return one.startswith(("pod/web-", "replicaset.apps/web-")) or one == "deployment.apps/web"

"""UICI in the cluster that it looks after, as the chart installs it: real helm, real image, real rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import generate_chart
from tests.engines.kubernetes import BUSYBOX, Cluster, KubectlError
from tests.infrastructure.installed import installed, load, rights

pytestmark = [pytest.mark.engine("kubernetes", "helm", "debian"), pytest.mark.timeout(400)]

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/in_cluster_self.yml").read_text())
NOTHING_PROTECTED = "{version: 1, protected: [], blast_radius: [], brakes: []}"
ENVIRONMENT: dict[str, Any] = {"executor": "kubernetes", "stage": "production", "autonomy": "change"}


def environments(**more: Any) -> str:
    return json.dumps({"version": 1, "default": "cluster", "environments": {"cluster": {**ENVIRONMENT, **more}}})


def web(*, broken: bool = False) -> dict[str, Any]:
    """Ready for as long as nobody breaks it; made anew it is ready again."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "exit 1" if broken else "sleep 1000000"],
        "readinessProbe": {"exec": {"command": ["sh", "-c", "! test -e /tmp/broken"]}, "periodSeconds": 1, "failureThreshold": 1},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


def start(cluster: Cluster, namespace: str) -> str:
    """The Pod of a ``web`` that runs there."""
    cluster.apply(web(), namespace=namespace)
    cluster.wait("deployment/web", "condition=Available", namespace)
    (pod,) = cluster.get("pods", "--selector=app=web", f"--namespace={namespace}")["items"]
    return str(pod["metadata"]["name"])


def wreck(cluster: Cluster, namespace: str, pod: str) -> None:
    cluster.kubectl("exec", pod, f"--namespace={namespace}", "--", "touch", "/tmp/broken")
    cluster.wait("deployment/web", "condition=Available=false", namespace)


@pytest.fixture(scope="module")
def image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    load(cluster, tmp_path_factory.mktemp("image"))


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("shop") as name:
        yield name


@pytest.mark.usefixtures("image")
def test_it_heals_with_just_the_rights_of_its_catalog(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    pod = start(cluster, shop)
    with installed(cluster, tmp_path) as uici:
        container = uici.pod["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "none of " in uici.run("uici", "doctor", "-e", "cluster")
        wreck(cluster, shop, pod)
        incident, entries = uici.heal("ServiceUnhealthy", service="web", namespace=shop)
        assert incident["state"] in ("watching", "resolved"), incident
        results = [one["data"]["result"] for one in entries if one["kind"] == "result"]
        changed = [one for one in results if one["risk"] == "change"]
        assert [(one["operation"], one["verification"]) for one in changed] == [("restart_service", "recovered")]
        cluster.wait("deployment/web", "condition=Available", shop)
        assert pod not in cluster.kubectl("get", "pods", f"--namespace={shop}")
        # Each look that the server denies would be a gap between what is done and what `uici rbac` prints.
        assert uici.refused() == set()

        taken = _without(generate_chart.CHART / "files" / "rules.yml", "deployments", "patch")
        uici.upgrade(rbac={"rules": taken})
        result = uici.ask("restart_service", service="web")
        assert (result["status"], result["reason"]) == ("failed", "permission"), result
        for word in ("patch", "deployments", shop):
            assert word in result["message"]
        assert uici.refused() == {("patch", "deployments", shop)}
        with pytest.raises(KubectlError) as said:
            uici.run("uici", "doctor", "-e", "cluster")
        assert "exit code 1" in str(said.value)
        missing = uici.run("sh", "-c", "uici doctor -e cluster || true")
        assert "missing: apps/deployments patch in every namespace" in missing
        assert missing.count("missing: ") == 1


#: What the starter's operations ask for; an operation that asks for something else needs a word here.
GIVEN: dict[str, Any] = {
    "service": "web",
    "replicas": 2,
    "image": BUSYBOX,
    "memory_bytes": 64 * 1024 * 1024,
    "ceiling_bytes": 128 * 1024 * 1024,
    "revision": 1,
    "name": "once",
    "command": ["true"],
    "reason": "a test",
}
#: Ended by what they do, or in need of what others did.
LAST = ("job_status", "stop_service", "start_service", "remove_service")


@pytest.mark.timeout(700)
@pytest.mark.usefixtures("image")
def test_each_operation_has_the_rights_that_it_needs(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    start(cluster, shop)
    config = {
        "policies.yml": NOTHING_PROTECTED,
        "environments.yml": environments(autonomy="destroy", namespaces=[shop]),
    }
    with installed(cluster, tmp_path, config=config, rbac={"namespaces": [shop]}) as uici:
        offered = {one["name"]: one for one in uici.client("anna").get("api/v1/operations")["operations"]}
        risks = ["observe", "change", "destroy"]
        order = sorted(
            offered, key=lambda name: (LAST.index(name) if name in LAST else -1, risks.index(offered[name]["risk"]))
        )
        ended: dict[str, Any] = {}
        job = ""
        for name in order:
            listed = cluster.get("pods", "--selector=app=web", f"--namespace={shop}")["items"]
            given = {
                **GIVEN,
                "namespace": shop,
                "request": job,
                "node": cluster.node,
                "pod": listed[0]["metadata"]["name"] if listed else "none",
            }
            schema = offered[name]["parameters"]
            wanted = {*schema.get("required", ()), *({"namespace", "command"} & schema["properties"].keys())}
            result = uici.ask(name, patience=25, **{one: given[one] for one in wanted})
            ended[name] = (result["status"], result["reason"], result["message"])
            job = result["id"] if name == "run_job" else job
        # Where each has got to, some are refused for other reasons (nothing to go back to, UICI's own node); none for want of a right.
        assert {name: one for name, one in ended.items() if one[1] in ("permission", "schema", "executor")} == {}
        assert uici.refused() == set()
        done = {name for name, one in ended.items() if one[0] == "done"}
        # Some take longer to verify than anybody waits here; their calls were made all the same.
        assert done >= {"list_services", "run_job", *LAST}, ended


def _without(rules: Path, resource: str, verb: str) -> dict[str, Any]:
    """The rules without one verb of one resource."""
    kept: dict[str, Any] = yaml.safe_load(rules.read_text())
    for rule in list(kept["namespaced"]):
        if resource in rule.get("resources", ()) and verb in rule["verbs"]:
            kept["namespaced"].append(
                {**rule, "resources": [resource], "verbs": [one for one in rule["verbs"] if one != verb]}
            )
            rule["resources"] = [one for one in rule["resources"] if one != resource]
    return kept  # fmt: skip


@pytest.mark.usefixtures("image")
def test_it_stops_neither_itself_nor_what_carries_it(cluster: Cluster, tmp_path: Path) -> None:
    """From the real Pod. Nothing else would refuse: no policy protects anything, a person asks and confirms."""
    operations, translations = {}, {}
    for name, case in CASES["operations"].items():
        operations[name] = {
            "summary": name,
            "risk": "destroy",
            "timeout": "20s",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "required": ["namespace", "pod"],
                "properties": {"namespace": {"type": "string"}, "pod": {"type": "string"}},
            },
            "returns": {"type": "object"},
        }
        translations[name] = {"kubernetes": {"steps": [case], "returns": {}}}
    config = {
        "policies.yml": NOTHING_PROTECTED,
        "environments.yml": environments(autonomy="destroy"),
        "operations.yml": json.dumps({"version": 1, "include": ["starter"], "operations": operations}),
        "command_translations.yml": json.dumps({"version": 1, "include": ["starter"], "translations": translations}),
    }
    rules = rights(tmp_path / "catalog", config)
    with installed(cluster, tmp_path, config=config, rbac={"rules": rules}) as uici:
        pod = uici.pod
        words = {"POD": pod["metadata"]["name"], "NODE": pod["spec"]["nodeName"]}
        attacks = [(name, {"namespace": uici.namespace, "pod": words["POD"]}) for name in operations]
        attacks += [
            (name, {key: words.get(value, value) for key, value in given.items()}) for name, given in CASES["starter"]
        ]
        for name, parameters in attacks:
            result = uici.ask(name, **parameters)
            assert (result["status"], result["reason"]) == ("refused", "self"), (name, parameters, result["message"])
        assert uici.pod["metadata"]["uid"] == pod["metadata"]["uid"]
        assert uici.refused() == set()


@pytest.mark.usefixtures("image")
def test_bounded_to_namespaces_it_works_there_and_nowhere_else(cluster: Cluster, shop: str, tmp_path: Path) -> None:
    with cluster.namespace("other") as other:
        for place in (shop, other):
            start(cluster, place)
        config = {"environments.yml": environments(namespaces=[shop])}
        with installed(cluster, tmp_path, config=config, rbac={"namespaces": [shop]}) as uici:
            result = uici.ask("restart_service", service="web")
            assert (result["status"], result["verification"]) == ("done", "recovered"), result["message"]
            before = cluster.get("deployment", "web", f"--namespace={other}")["metadata"]["resourceVersion"]
            uid = cluster.get("deployment", "web", f"--namespace={other}")["metadata"]["uid"]
            result = uici.ask("restart_service", service=uid)
            assert (result["status"], result["reason"]) == ("refused", "unknown_target"), result
            assert cluster.get("deployment", "web", f"--namespace={other}")["metadata"]["resourceVersion"] == before
            login = uici.login()
            for verb in ("patch", "delete"):
                asked = ("auth", "can-i", verb, "deployments", f"--as={login}")
                assert cluster.kubectl(*asked, f"--namespace={shop}").strip() == "yes"
                with pytest.raises(KubectlError):
                    cluster.kubectl(*asked, f"--namespace={other}")

"""The chart as helm renders it: what it promises of the Pod, its rights just those of its catalog, its files current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import generate_chart
from tests.engines.helm import helm

pytestmark = pytest.mark.engine("helm")
VERSION = "1.34.4"


def rendered(folder: Path, *values: str) -> list[dict[str, Any]]:
    config = folder / "kubeconfig"
    config.write_text("{apiVersion: v1, kind: Config}\n")
    text = helm(
        "template", "uici", str(generate_chart.CHART), "--namespace", "uici", "--kube-version", VERSION,
        *(word for one in values for word in ("--set", one)),
        kubeconfig=config, folder=folder,
    )  # fmt: skip
    return [one for one in yaml.safe_load_all(text) if one]


def of(kind: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


@pytest.mark.parametrize("name", generate_chart.FILES)
def test_a_generated_file_is_current(name: str) -> None:
    written = (generate_chart.CHART / "files" / name).read_text(encoding="utf-8")
    assert written == generate_chart.FILES[name](), "stale; run: make reference"


def test_the_pod_may_do_little_and_is_alone(tmp_path: Path) -> None:
    (deployment,) = of("Deployment", rendered(tmp_path))
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    assert "persistentVolumeClaim" in next(one for one in pod["volumes"] if one["name"] == "state")


def test_its_rights_are_those_of_its_catalog(tmp_path: Path) -> None:
    catalog = generate_chart.catalog(tmp_path / "catalog")
    roles = tmp_path / "roles.yml"
    roles.write_text(yaml.safe_dump_all(rendered(tmp_path)))
    said = subprocess.run(
        [sys.executable, "-m", "uici", "rbac", "-e", "cluster", "--config", str(catalog), "--compare", str(roles)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


def test_namespaces_bound_it(tmp_path: Path) -> None:
    objects = rendered(tmp_path, "rbac.namespaces={shop,pay}")
    assert {one["metadata"]["namespace"] for one in of("Role", objects)} == {"shop", "pay", "uici"}
    (own,) = [one for one in of("Role", objects) if one["metadata"]["namespace"] == "uici"]
    assert {verb for rule in own["rules"] for verb in rule["verbs"]} == {"get"}
    (wide,) = of("ClusterRole", objects)
    for rule in wide["rules"]:
        # What lies in no namespace: nothing is changed there but nodes.
        assert set(rule.get("resources", ())) <= {"namespaces", "nodes", "persistentvolumes", "priorityclasses"}, rule
        changes = set(rule["verbs"]) - {"get", "list", "watch"}
        assert not changes or set(rule.get("resources", ())) <= {"nodes"}, rule


def test_no_port_is_no_way_out(tmp_path: Path) -> None:
    """A rule without ports would be one for all of them."""
    (policy,) = of("NetworkPolicy", rendered(tmp_path, "networkPolicy.egressPorts=null"))
    (dns,) = policy["spec"]["egress"]
    assert {one["port"] for one in dns["ports"]} == {53}
    (policy,) = of("NetworkPolicy", rendered(tmp_path, "networkPolicy.egressPorts={6443,9090}"))
    assert [one["port"] for one in policy["spec"]["egress"][1]["ports"]] == [6443, 9090]


def test_the_operator_s_kinds_come_when_they_are_asked_for(tmp_path: Path) -> None:
    plain = rendered(tmp_path)
    assert {one["kind"] for one in plain} == {
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim",
        "PodDisruptionBudget", "Service", "ServiceAccount",
    }  # fmt: skip
    watched = rendered(tmp_path, "monitoring.serviceMonitor.enabled=true", "monitoring.prometheusRule.enabled=true")
    (rule,) = of("PrometheusRule", watched)
    alerts = [one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]]
    assert alerts
    assert all(one.startswith("Uici") for one in alerts)
    assert of("ServiceMonitor", watched)

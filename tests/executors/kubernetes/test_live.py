"""``uici check --live`` against a real cluster: what it proves, what it says of what it cannot, and that it changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.kubernetes import Cluster

pytestmark = pytest.mark.engine("kubernetes")

GROUP = "live.uici.test"


def check(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "uici", "check", str(folder), "--live", *more],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def catalog(folder: Path, kubeconfig: Path, steps: dict[str, dict[str, Any]] | None = None) -> Path:
    """The starter's operations, or one operation for each step, in an environment of this kubeconfig."""
    folder.mkdir()
    place = {"executor": "kubernetes", "settings": {"kubeconfig": str(kubeconfig)}, "autonomy": "change"}
    here = {"executor": "supervisor", "settings": {"url": "unix:///nowhere.sock"}}
    documents: dict[str, Any] = {"environments": {"default": "prod", "environments": {"prod": place, "local": here}}}
    if steps is None:
        documents |= {one: {"include": ["starter"]} for one in ("operations", "command_translations")}
    else:
        operation = {
            "summary": "One.",
            "risk": "destroy",
            "parameters": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}},
            "returns": {"type": "object"},
        }
        said = {name: {"kubernetes": {"steps": [step], "returns": {}}} for name, step in steps.items()}
        documents |= {
            "operations": {"operations": dict.fromkeys(steps, operation)},
            "command_translations": {"translations": said},
        }
    for name, one in documents.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **one}))
    return folder


@pytest.fixture(scope="module")
def widgets(cluster: Cluster) -> Iterator[None]:
    """A custom resource with a field ``spec.size``."""
    size = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": size}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    cluster.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )
    cluster.wait(f"customresourcedefinition/widgets.{GROUP}", "condition=Established")
    yield
    cluster.kubectl("delete", "customresourcedefinition", f"widgets.{GROUP}")


def test_the_starter_holds_and_nothing_is_made(cluster: Cluster, tmp_path: Path) -> None:
    before = len(cluster.requests())
    said = check(catalog(tmp_path / "catalog", cluster.kubeconfig))
    assert said.returncode == 0, said.stdout + said.stderr
    assert "live: local: supervisor cannot be asked" in said.stdout
    assert "live: prod: " in said.stdout
    assert "were read by the server in a dry run" in said.stdout
    # The test cluster has no metrics; everything else is there.
    (warning,) = [one for one in said.stdout.splitlines() if "[live" in one]
    assert "(in service_metrics): this cluster does not serve metrics.k8s.io/v1beta1 (warning)" in warning
    writes = [one for one in cluster.requests()[before:] if "uici" in one["requestURI"] and one["verb"] == "create"]
    assert writes
    assert all("dryRun=All" in one["requestURI"] for one in writes)


def custom(method: str, body: dict[str, Any], plural: str = "widgets", **more: str) -> dict[str, Any]:
    place = {"group": GROUP, "version": "v1", "namespace": "default", "plural": plural, **more}
    return {"call": f"CustomObjectsApi.{method}", "with": {**place, "body": body}}


def widget(size: Any, field: str = "size") -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {field: size}}


@pytest.mark.usefixtures("widgets")
def test_what_only_the_server_knows_is_found(cluster: Cluster, tmp_path: Path) -> None:
    create, patch = "create_namespaced_custom_object", "patch_namespaced_custom_object"
    steps = {
        "right": custom(create, widget("${parameters.size}")),
        "misspelt": custom(patch, {"spec": {"sizze": "${parameters.size}"}}, name="one"),
        "unserved": custom(create, widget(1), plural="gadgets"),
    }
    folder = catalog(tmp_path / "catalog", cluster.kubeconfig, steps)
    said = check(folder, "--json")
    assert said.returncode == 2, said.stdout + said.stderr
    live = [one for one in json.loads(said.stdout) if one["code"] == "live-call"]
    found = {one["message"].partition("(in ")[2].partition(")")[0]: one for one in live}
    assert {name: one["severity"] for name, one in found.items()} == {"misspelt": "error", "unserved": "warning"}
    assert 'unknown field "spec.sizze"' in found["misspelt"]["message"]
    assert f"serves no gadgets in {GROUP}/v1" in found["unserved"]["message"]
    assert cluster.get(f"widgets.{GROUP}", "--all-namespaces")["items"] == []


def test_a_login_that_may_little_is_told_what_it_lacks(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    said = check(catalog(tmp_path / "catalog", cluster.kubeconfig_for("default", namespace)))
    assert said.returncode == 0, said.stdout + said.stderr
    assert "because this login may not create such objects" in said.stdout
    assert "prod: this login lacks apps/deployments patch in every namespace; `uici rbac -e prod`" in said.stdout


def test_an_engine_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    said = check(catalog(tmp_path / "catalog", tmp_path / "none"))
    assert said.returncode == 2
    assert f"prod: no login to Kubernetes: there is no kubeconfig at {tmp_path}/none" in said.stdout
    assert "live: prod: not asked" in said.stdout

"""``uici rbac``: the least rights of a catalog, and where a role is wider or narrower than that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Uici

OPERATION: dict[str, Any] = {
    "summary": "Restart one.",
    "risk": "change",
    "target": {"parameter": "service", "kind": "service"},
    "parameters": {"type": "object", "required": ["service"], "properties": {"service": {"type": "string"}}},
    "returns": {"type": "object"},
}
PATCH = {
    "call": "AppsV1Api.patch_namespaced_deployment",
    "with": {
        "name": "${target.name}",
        "namespace": "${target.namespace}",
        "body": {"metadata": {"annotations": {"at": "${now}"}}},
    },
}


def write(
    folder: Path, *, namespaces: list[str], steps: list[dict[str, Any]], logs: list[dict[str, Any]] | None = None
) -> Path:
    folder.mkdir(exist_ok=True)
    place: dict[str, Any] = {"executor": "kubernetes", "autonomy": "change"}
    if namespaces:
        place["namespaces"] = namespaces
    documents: dict[str, dict[str, Any]] = {
        "environments": {"default": "prod", "environments": {"prod": place, "local": {"executor": "supervisor"}}},
        "operations": {"operations": {"restart": OPERATION}},
        "command_translations": {
            "translations": {"restart": {"kubernetes": {"steps": steps, "logs": logs or [], "returns": {}}}}
        },
    }
    for name, one in documents.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **one}))
    return folder


def granted(text: str) -> set[tuple[str, str, str]]:
    return {
        (one["kind"] + ":" + one["metadata"].get("namespace", ""), resource, verb)
        for one in yaml.safe_load_all(text)
        for rule in one["rules"]
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def test_what_the_catalog_calls_and_nothing_else_is_granted(uici: Uici, tmp_path: Path) -> None:
    folder = write(tmp_path / "catalog", namespaces=["shop", "pay"], steps=[PATCH])
    said = uici("rbac", "--config", str(folder))
    assert said.returncode == 0, said.stderr
    rights = granted(said.stdout)
    for namespace in ("shop", "pay"):
        assert (f"Role:{namespace}", "deployments", "patch") in rights
    writes = {one for one in rights if one[2] not in ("get", "list", "watch")}
    assert writes == {("Role:shop", "deployments", "patch"), ("Role:pay", "deployments", "patch")}
    assert not {one for one in rights if one[1] == "secrets"}


def test_what_its_logs_read_is_granted_too(uici: Uici, tmp_path: Path) -> None:
    logs = [
        {"call": "pods.logs", "with": {"namespace": "${target.namespace}", "label_selector": "a=b"}, "stream": True}
    ]
    folder = write(tmp_path / "catalog", namespaces=["shop"], steps=[PATCH], logs=logs)
    said = uici("rbac", "--config", str(folder))
    assert ("Role:shop", "pods/log", "get") in granted(said.stdout), said.stderr


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1",
        "kind: Role\nrules: 5",
        "kind: Role\nmetadata: []\nrules: [{verbs: [get], resources: 7}]",
        "kind: Role",
    ],
)
def test_a_file_that_holds_no_roles_is_told_and_no_traceback(uici: Uici, tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "catalog", namespaces=["shop"], steps=[PATCH])
    (tmp_path / "roles.yml").write_text(text)
    said = uici("rbac", "--config", str(folder), "--compare", str(tmp_path / "roles.yml"))
    assert said.returncode == 2, said.stderr
    assert "Traceback" not in said.stderr
    assert str(tmp_path / "roles.yml") in said.stderr or "is missing" in said.stdout, said.stderr


def test_without_namespaces_it_is_one_cluster_role(uici: Uici, tmp_path: Path) -> None:
    folder = write(tmp_path / "catalog", namespaces=[], steps=[PATCH])
    (only,) = yaml.safe_load_all(uici("rbac", "-e", "prod", "--name", "hands", "--config", str(folder)).stdout)
    assert (only["kind"], only["metadata"]["name"]) == ("ClusterRole", "hands")


@pytest.mark.parametrize("form", ["manifests", "chart"])
def test_a_role_that_is_wider_or_narrower_is_told(uici: Uici, tmp_path: Path, form: str) -> None:
    folder = write(tmp_path / "catalog", namespaces=["shop"], steps=[PATCH])
    words = ("rbac", "--config", str(folder), "--format", form)
    roles = tmp_path / "roles.yml"
    roles.write_text(uici(*words).stdout)
    same = uici(*words, "--compare", str(roles))
    assert (same.returncode, "the very rights" in same.stdout) == (0, True), same.stdout + same.stderr
    roles.write_text(roles.read_text().replace("[get, list, patch, watch]", "[delete, get, list, watch]"))
    assert "delete" in roles.read_text(), roles.read_text()
    other = uici(*words, "--compare", str(roles))
    assert other.returncode == 2
    told = other.stdout.splitlines()
    assert [line.split(":")[0] for line in told if "deployments" in line] == ["wider", "narrower"]
    assert any(line.startswith("narrower") and "patch is missing" in line for line in told)


def test_rights_that_the_chart_cannot_give_are_refused_and_not_lost(uici: Uici, tmp_path: Path) -> None:
    """It gives the same in each namespace; a call that names one itself needs more there."""
    fixed = {"call": "CoreV1Api.list_namespaced_config_map", "with": {"namespace": "argocd"}}
    folder = write(tmp_path / "catalog", namespaces=["shop"], steps=[fixed, PATCH])
    said = uici("rbac", "--config", str(folder), "--format", "chart")
    assert (said.returncode, said.stdout) == (2, "")
    assert "namespaces argocd and shop" in said.stderr, said.stderr
    rights = granted(uici("rbac", "--config", str(folder)).stdout)
    assert {("Role:argocd", "configmaps", "list"), ("Role:shop", "deployments", "patch")} <= rights


def test_an_engine_without_roles_says_so(uici: Uici, tmp_path: Path) -> None:
    folder = write(tmp_path / "catalog", namespaces=[], steps=[PATCH])
    said = uici("rbac", "-e", "local", "--config", str(folder))
    assert said.returncode == 2
    assert "supervisor knows no roles" in said.stderr
    assert "no environment 'stage'" in uici("rbac", "-e", "stage", "--config", str(folder)).stderr

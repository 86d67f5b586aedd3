"""Manifests of tests, written shortly: a workload of a name, with its Pods' image and what they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.engines.kubernetes import BUSYBOX, Cluster

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
RESTART = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}


def manifest(short: Mapping[str, Any]) -> dict[str, Any]:
    """``replicas``, ``image``, ``ports``, ``template`` (of a Pod's specification) and ``spec`` say what is not as usual."""
    whole = {
        key: short[key]
        for key in short
        if key not in ("replicas", "image", "template", "manager", "unready", "spec", "ports")
    }
    spec = dict(short.get("spec") or {})
    if short["kind"] not in (*WORKLOADS, "Pod"):
        return {**whole, **({"spec": spec} if spec else {})}
    more = dict(short.get("template") or {})
    name = short["metadata"]["name"]
    container = {
        "name": "main",
        "image": short.get("image", BUSYBOX),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "1000000"],
    }
    if "ports" in short:
        container["ports"] = short["ports"]
    if "env" in more:
        container["envFrom"] = [{"configMapRef": {"name": more.pop("env")}}]
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container], **more}
    if short["kind"] == "Pod":
        return {**whole, "spec": {**pod, **spec}}
    labels = {"app": name}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}, **spec}
    if short["kind"] != "DaemonSet":
        spec["replicas"] = short.get("replicas", 1)
    return {**whole, "spec": spec}


def ready(cluster: Cluster, namespace: str, short: Mapping[str, Any]) -> None:
    """Waits until it is as it is meant to be."""
    kind, name = short["kind"], short["metadata"]["name"]
    if "image" in short:
        return
    if kind == "Pod":
        cluster.wait(f"pod/{name}", "condition=Ready", namespace)
    elif kind == "DaemonSet":
        cluster.until(f"daemonset/{name}", lambda one: one["status"].get("numberAvailable") == 1, namespace)
    elif kind in WORKLOADS:
        wanted = short.get("replicas", 1)
        cluster.until(
            f"{kind.lower()}/{name}", lambda one: one["status"].get("availableReplicas", 0) == wanted, namespace
        )
    elif kind == "PodDisruptionBudget":
        cluster.until(f"pdb/{name}", lambda one: one["status"].get("currentHealthy") == 2, namespace)


def pod_of(cluster: Cluster, namespace: str, app: str) -> str:
    found = cluster.get("pods", f"--selector=app={app}", f"--namespace={namespace}")["items"]
    return str(found[0]["metadata"]["name"])


def filled(data: Any, words: Mapping[str, str]) -> Any:
    """The words, longest first, in all texts and keys."""
    if isinstance(data, dict):
        return {filled(key, words): filled(value, words) for key, value in data.items()}
    if isinstance(data, list):
        return [filled(one, words) for one in data]
    if data == "RESTART":
        return RESTART
    if isinstance(data, str):
        for word in sorted(words, key=len, reverse=True):
            data = data.replace(word, words[word])
    return data

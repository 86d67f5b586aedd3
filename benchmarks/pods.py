"""Five thousand Pods, listed by the operation through the whole engine and by the bare client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, median, say
from benchmarks.following import memory

if TYPE_CHECKING:
    from tests.engines.kubernetes import Cluster

PODS, LISTINGS = 5000, 3


def listing(cluster: Cluster, catalog: Path) -> Iterator[Figure]:
    with cluster.namespace("pods") as namespace, _node(cluster):
        say(f"making {PODS} Pods on a node that nobody runs")
        asyncio.run(_make_pods(str(cluster.kubeconfig), namespace))
        say("listing them")
        ours: list[float] = []
        bare: list[float] = []
        most, bare_most = 0.0, 0.0
        for _ in range(LISTINGS):
            for program, values in (("unhealthy", ours), ("listed", bare)):
                given = f"{str(catalog)!r}, {str(cluster.kubeconfig)!r}, {namespace!r}"
                code = f"from benchmarks.pods import {program}; {program}({given})"
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
                )
                if done.returncode != 0:
                    raise RuntimeError(done.stderr[-3000:])
                seconds, grown = json.loads(done.stdout)
                values.append(seconds)
                if program == "unhealthy":
                    most = max(most, grown)
                else:
                    bare_most = max(bare_most, grown)
        yield Figure(
            name=f"list_unhealthy_workloads over {PODS:,} Pods", unit="s", values=ours,
            peer="the bare client's listing, in pages", peer_values=bare, goal="≤ 1.3 ×, memory bounded",
            met=median(ours) / median(bare) <= 1.3,
            note=f"grew by {most:.0f} MB, the bare client by {bare_most:.0f} MB",
        )  # fmt: skip


@contextlib.contextmanager
def _node(cluster: Cluster) -> Iterator[None]:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nobody"}}
    cluster.apply(node)
    try:
        yield
    finally:
        cluster.kubectl("delete", "node", "nobody", "--ignore-not-found")


async def _make_pods(kubeconfig: str, namespace: str) -> None:
    from uici_executors.kubernetes.connection import Server

    server = Server({"kubeconfig": kubeconfig})
    environ = [{"name": f"NAME_{number}", "value": "x" * 40} for number in range(8)]
    container = {
        "name": "main",
        "image": "localhost/none:1",
        "env": environ,
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {
        "nodeName": "nobody", "automountServiceAccountToken": False, "tolerations": [{"operator": "Exists"}],
        "containers": [container], "terminationGracePeriodSeconds": 0,
    }  # fmt: skip
    numbers = iter(range(PODS))

    async def make() -> None:
        for number in numbers:
            labels = {"app": f"app-{number % 50}", "pod-template-hash": "5c9d8f7b6"}
            metadata = {"name": f"app-{number % 50}-{number:05d}", "labels": labels}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            await server.ask("POST", f"/api/v1/namespaces/{namespace}/pods", body=body, seconds=60)

    await asyncio.gather(*(make() for _ in range(16)))
    await server.close()


def _grown(before: float) -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def _now() -> float:
    return memory(os.getpid())


def unhealthy(catalog: str, kubeconfig: str, namespace: str) -> None:
    """In a process of its own: the operation through the whole engine; prints seconds and by how many MB it grew."""

    async def asked() -> None:
        from uici.catalog import UniversalConfigLoader
        from uici.engine import UniversalInfrastructureInterface
        from uici.executor import Facts
        from uici.journal import open_journal
        from uici.model import Origin, Request

        with tempfile.TemporaryDirectory() as folder:
            journal = await open_journal(f"sqlite:///{folder}/journal.db")
            interface = UniversalInfrastructureInterface(
                UniversalConfigLoader(catalog).load(), journal, facts=Facts(pids=(1,), hostname="bench")
            )
            await interface.start()
            origin = Origin("human", "bench")
            await interface.execute(Request(operation="environment_health", parameters={}), origin)
            before, began = _now(), time.perf_counter()
            request = Request(operation="list_unhealthy_workloads", parameters={"namespace": namespace})
            result = await interface.execute(request, origin)
            seconds = time.perf_counter() - began
            if not result.ok or len(result.answer["pods"]) != PODS:
                raise RuntimeError(f"{result.message}: {len((result.answer or {}).get('pods', ()))} Pods")
            print(json.dumps([seconds, _grown(before)]))
            await interface.close(grace=0)
            await journal.close()

    asyncio.run(asked())


def listed(catalog: str, kubeconfig: str, namespace: str) -> None:
    """In a process of its own: the same Pods by the official client, in pages."""
    from kubernetes import client, config

    config.load_kube_config(config_file=kubeconfig)  # type: ignore[no-untyped-call]  # the client says no types here
    core = client.CoreV1Api()
    core.list_namespace(limit=1)
    before, began = _now(), time.perf_counter()
    found: list[Any] = []
    more: str | None = None
    while True:
        page = core.list_namespaced_pod(namespace, limit=500, _continue=more)
        found += page.items
        more = page.metadata.var_continue if page.metadata else None
        if not more:
            break
    unready = [one.metadata.name for one in found if not any(c.type == "Ready" for c in one.status.conditions or ())]
    seconds = time.perf_counter() - began
    if len(unready) != PODS:
        raise RuntimeError(f"{len(unready)} Pods")
    print(json.dumps([seconds, _grown(before)]))

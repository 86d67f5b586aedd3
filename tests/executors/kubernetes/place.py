"""The engine with the starter's catalog in one namespace of a cluster, and workloads for it to work on."""

from __future__ import annotations

from typing import Any

from tests.engines.kubernetes import BUSYBOX, Cluster
from uici.engine import UniversalInfrastructureInterface
from uici.model import Origin, Request, Result, Status

STAYS = ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 1 & wait; done"]
MISSING = "localhost/uici-test/missing:2"
#: How many times as fast time runs for the engine.
FASTER = 5.0


class Place:
    """The engine with the starter's catalog, in one namespace."""

    def __init__(self, interface: UniversalInfrastructureInterface, cluster: Cluster, namespace: str) -> None:
        self.interface, self.cluster, self.namespace = interface, cluster, namespace

    async def ask(self, operation: str, **parameters: Any) -> Result:
        request = Request(operation=operation, parameters=parameters, environment="kubernetes", confirm=True)
        return await self.interface.execute(request, Origin("human", "anna"))

    async def do(self, operation: str, **parameters: Any) -> Result:
        return await self.ask(operation, namespace=self.namespace, **parameters)

    async def done(self, operation: str, **parameters: Any) -> Any:
        result = await self.do(operation, **parameters)
        seen = [(one.kind, one.name, one.verdict) for one in result.evidence if one.kind != "sample"]
        assert result.status is Status.DONE, (result.message, result.undo, seen, result.evidence[-6:])
        return result.answer

    def workload(
        self,
        name: str,
        command: list[str] | None = None,
        kind: str = "Deployment",
        *,
        replicas: int = 1,
        spec: dict[str, Any] | None = None,
        volumes: list[dict[str, Any]] | None = None,
        **container: Any,
    ) -> None:
        """Applied, not waited for."""
        one = {"name": "app", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": command or STAYS}
        pod = {"terminationGracePeriodSeconds": 1, "containers": [{**one, **container}], "volumes": volumes or []}
        labels = {"app": name}
        whole: dict[str, Any] = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        if kind != "DaemonSet":
            whole["replicas"] = replicas
        if kind == "StatefulSet":
            whole["serviceName"] = name
        manifest = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**whole, **(spec or {})},
        }
        self.cluster.apply(manifest, namespace=self.namespace)

    def up(self, name: str, kind: str = "deployment") -> None:
        """Waits for its rollout."""
        self.cluster.kubectl("rollout", "status", f"{kind}/{name}", f"--namespace={self.namespace}", "--timeout=60s")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.get(kind, name, f"--namespace={self.namespace}")

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    def container(self, name: str, kind: str = "deployment") -> dict[str, Any]:
        found: dict[str, Any] = self.get(kind, name)["spec"]["template"]["spec"]["containers"][0]
        return found

    def waits(self, name: str, *reasons: str, restarts: int = 0) -> None:
        """Until a Pod of it waits for one of these reasons."""

        def holds(pod: dict[str, Any]) -> bool:
            return pod["metadata"]["labels"].get("app") == name and any(
                one.get("state", {}).get("waiting", {}).get("reason") in reasons and one["restartCount"] >= restarts
                for one in pod["status"].get("containerStatuses", ())
            )

        self.cluster.until("pods", holds, self.namespace)

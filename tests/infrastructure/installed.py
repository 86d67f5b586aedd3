"""UICI as the chart installs it on the test cluster, with an image that was made without a registry.

What is here installs and asks; what must hold is said in the tests.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from docs import generate_chart
from tests.engines import uici_image
from tests.engines.helm import helm
from tests.engines.kubernetes import Cluster
from uici.cli.client import Client
from uici.cli.rbac import of_chart, roles

TAG = "test"
WHO = ("alertmanager", "metrics", "anna")
PLATFORM = """version: 1
server:
  listen: 0.0.0.0:8080
  tokens:
    alertmanager: {token: "${env:UICI_ALERTMANAGER_TOKEN}", may: [alerts]}
    metrics: {token: "${env:UICI_METRICS_TOKEN}", may: [metrics]}
    anna: {token: "${env:UICI_ANNA_TOKEN}", may: [observe, operate], person: true}
"""


def load(cluster: Cluster, folder: Path) -> None:
    """The image, into the cluster's own containerd."""
    cluster.load_image(
        f"{uici_image.NAME}:{TAG}",
        uici_image.root(folder),
        *uici_image.COMMAND,
        entrypoint=uici_image.ENTRYPOINT,
        user=uici_image.USER,
        environ=uici_image.ENVIRON,
    )


@dataclass(frozen=True)
class Installed:
    """One release. ``anna``, ``alertmanager``: its API with their tokens."""

    cluster: Cluster
    namespace: str
    folder: Path
    tokens: Mapping[str, str]
    values: dict[str, Any]

    @property
    def pod(self) -> dict[str, Any]:
        found = self.cluster.get(
            "pods", "--selector=app.kubernetes.io/name=uici", f"--namespace={self.namespace}",
        )["items"]  # fmt: skip
        (one,) = [one for one in found if not one["metadata"].get("deletionTimestamp")]
        return dict(one)

    def client(self, who: str) -> Client:
        return Client(f"http://{self.pod['status']['podIP']}:8080", self.tokens[who])

    def login(self) -> str:
        return f"system:serviceaccount:{self.namespace}:uici"

    def run(self, *words: str) -> str:
        """A command in its container; raises KubectlError where it ends with another status than 0."""
        return self.cluster.kubectl("exec", "deploy/uici", f"--namespace={self.namespace}", "--", *words, seconds=120)

    def upgrade(self, **values: Any) -> None:
        """With the values of before and these."""
        self.values.update(values)
        path = self.folder / "values.yml"
        path.write_text(json.dumps(self.values))
        helm(
            "upgrade", "--install", "uici", str(generate_chart.CHART), "--namespace", self.namespace,
            "--values", str(path), "--wait", "--timeout", "150s",
            kubeconfig=self.cluster.kubeconfig, folder=self.folder, seconds=170,
        )  # fmt: skip

    def ask(self, operation: str, *, patience: int = 0, **parameters: Any) -> dict[str, Any]:
        """As anna, who confirms; the Result. ``patience``: seconds after which it is cancelled; 0: never."""
        body = {"operation": operation, "environment": "cluster", "parameters": parameters, "confirm": True}
        anna = self.client("anna")
        answer: dict[str, Any] = anna.post(f"api/v1/requests?wait={patience or 25}s", body)
        if answer["status"] == "running" and patience:
            anna.post(f"api/v1/requests/{answer['id']}/cancel")
        while answer["status"] == "running":
            answer = anna.get(f"api/v1/requests/{answer['id']}", wait="25s")
        return answer

    def heal(self, alertname: str, **labels: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Posts the alert; what became of its incident, and all entries of the journal until then."""
        stream = self.client("anna").events()
        next(stream)  # connected: nothing that comes from now on is missed
        alert = {
            "status": "firing",
            "labels": {"alertname": alertname, "severity": "critical", **labels},
            "annotations": {},
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": secrets.token_hex(8),
        }
        post = {"version": "4", "status": "firing", "receiver": "uici", "groupKey": "{}", "alerts": [alert]}
        self.client("alertmanager").post("webhooks/alertmanager", post)
        entries = []
        for entry in stream:
            if entry is None:
                continue
            entries.append(dict(entry))
            if entry["kind"] == "incident" and entry["data"]["state"] in ("watching", "resolved", "escalated"):
                break
        return entries[-1]["data"], entries

    def refused(self) -> set[tuple[str, str, str]]:
        """What the API server denied its login: verb, resource, namespace."""
        return {
            (one["verb"], one.get("objectRef", {}).get("resource", one["requestURI"]), one.get("objectRef", {}).get("namespace", ""))
            for one in self.cluster.requests()
            if one["user"].get("username") == self.login() and one.get("responseStatus", {}).get("code") == 403
        }  # fmt: skip


@contextlib.contextmanager
def installed(cluster: Cluster, folder: Path, **values: Any) -> Iterator[Installed]:
    """In a namespace of its own, ready."""
    tokens = {who: secrets.token_hex(16) for who in WHO}
    settings: dict[str, Any] = {
        "image": {"repository": uici_image.NAME, "tag": TAG},
        "persistence": {"enabled": False},
        **values,
    }
    settings["config"] = {"platform.yml": PLATFORM, **settings.get("config", {})}
    with cluster.namespace("uici") as namespace:
        literals = [f"--from-literal=UICI_{who.upper()}_TOKEN={token}" for who, token in tokens.items()]
        cluster.kubectl("create", "secret", "generic", "uici", *literals, f"--namespace={namespace}")
        made = Installed(cluster, namespace, folder, tokens, settings)
        try:
            made.upgrade()
            yield made
        finally:
            # What lies in no namespace would stay.
            helm(
                "uninstall", "uici", "--namespace", namespace, "--ignore-not-found",
                kubeconfig=cluster.kubeconfig, folder=folder,
            )  # fmt: skip


def rights(folder: Path, config: Mapping[str, str]) -> dict[str, Any]:
    """The chart's ``rbac.rules`` for a catalog: its files, the chart's own where one is not given."""
    folder.mkdir()
    for name, text in {**generate_chart.values()["config"], **config}.items():
        (folder / name).write_text(text)
    environments = yaml.safe_load((folder / "environments.yml").read_text())
    # What lies in namespaces is told apart by naming one.
    environments["environments"]["cluster"].setdefault("namespaces", ["anywhere"])
    (folder / "environments.yml").write_text(yaml.safe_dump(environments))
    return of_chart(roles(str(folder), "cluster"))

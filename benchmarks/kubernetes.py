"""On a real cluster: from the webhook to the API server, how soon verify notices, five thousand Pods, and lines to ten followers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from benchmarks.figure import Figure, median, percentile, say
from benchmarks.following import lines
from benchmarks.pods import listing
from tests.end_to_end.place import firing, posted
from tests.engines import availability
from uici.cli.client import Client
from uici.model import epoch

if TYPE_CHECKING:
    from tests.engines.kubernetes import Cluster

ROUNDS = 8
WAIT = 120.0
#: Seconds in which a cluster on two cores comes to rest after a rollout.
QUIET = 3.0
_POLICIES: Mapping[str, Any] = {"protected": [], "blast_radius": [], "brakes": []}
_RUNBOOK = {
    "name": "restart",
    "match": ['alertname="ServiceDown"'],
    "target": ["service"],
    "only_if": {
        "operation": "service_status",
        "parameters": {"service": "${target.name}"},
        "expect": 'answer.state != "unknown"',
    },
    "steps": [{"operation": "restart_service", "parameters": {"service": "${target.name}"}}],
}


def figures() -> Iterator[Figure]:
    from tests.engines.kubernetes import kubernetes

    if why := availability("kubernetes").missing:
        say(f"Kubernetes is left out: {why}")
        return
    with kubernetes() as cluster, cluster.namespace("bench") as namespace, tempfile.TemporaryDirectory() as folder:
        catalog = _catalog(Path(folder), cluster, namespace)
        with _serving(catalog) as door:
            yield from _recovery(cluster, namespace, door)
            yield lines(cluster, namespace, door)
        yield from listing(cluster, catalog)


# A daemon of its own


def _catalog(folder: Path, cluster: Cluster, namespace: str) -> Path:
    place = {"executor": "kubernetes", "settings": {"kubeconfig": str(cluster.kubeconfig)}, "autonomy": "change"}
    files: dict[str, Any] = {
        "platform": {"journal": {"url": f"sqlite:///{folder}/journal.db"}, "server": {"listen": "127.0.0.1:0"}},
        "environments": {"default": "bench", "environments": {"bench": place}},
        "operations": {"include": ["starter"]},
        "command_translations": {"include": ["starter"]},
        "runbooks": {"runbooks": [_RUNBOOK]},
        "policies": _POLICIES,
    }
    for name, data in files.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **data}))
    return folder


class Door:
    def __init__(self, url: str) -> None:
        self.url = url
        self.client = Client(url)

    def alert(self, name: str, namespace: str) -> None:
        data = json.dumps(posted(firing(name, namespace=namespace))).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/webhooks/alertmanager", data, headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            answer.read()

    def run(self, operation: str, **parameters: Any) -> str:
        return str(self.client.post("api/v1/requests", {"operation": operation, "parameters": parameters})["id"])

    def result(self, id: str) -> Mapping[str, Any]:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            found: Mapping[str, Any] = self.client.get(f"api/v1/requests/{id}", wait="10s")
            if found["status"] != "running":
                return found
        raise RuntimeError(f"the request {id} does not end")


@contextlib.contextmanager
def _serving(catalog: Path) -> Iterator[Door]:
    log = catalog / "log"
    with log.open("wb") as stderr:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "uici", "serve", "--config", str(catalog)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + WAIT
        while b'"event":"ready"' not in (text := log.read_bytes()):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon does not start: {text.decode()[-3000:]}")
            time.sleep(0.05)
        said = [json.loads(line) for line in text.splitlines()]
        yield Door(next(one["address"] for one in said if one["event"] == "listening"))
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


# From the webhook to the API server, and until verify knows


def _deployment(name: str) -> dict[str, Any]:
    from tests.engines.kubernetes import BUSYBOX

    container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"]}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    labels = {"app": name}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


class Watching(threading.Thread):
    """When the API server said of each Deployment that its rollout is complete: name -> moment of the last such turn."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(daemon=True)
        arguments = ("get", "deployments", f"--namespace={namespace}", "--watch", "--output=json")
        self._process = subprocess.Popen(cluster.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.complete: dict[str, float] = {}

    def run(self) -> None:
        decoder, rest = json.JSONDecoder(), ""
        assert self._process.stdout is not None
        while data := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]  # BufferedReader has it, IO[bytes] does not say so
            now = time.time()
            rest = (rest + data.decode()).lstrip()
            with contextlib.suppress(ValueError):
                while rest:
                    one, end = decoder.raw_decode(rest)
                    rest = rest[end:].lstrip()
                    self._seen(one, now)

    def _seen(self, one: Mapping[str, Any], now: float) -> None:
        status, name = one.get("status") or {}, one["metadata"]["name"]
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
        if counts == {1} and status.get("observedGeneration") == one["metadata"]["generation"]:
            self.complete.setdefault(name, now)
        else:
            self.complete.pop(name, None)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _recovery(cluster: Cluster, namespace: str, door: Door) -> Iterator[Figure]:
    names = [f"web-{number}" for number in range(ROUNDS)]
    cluster.apply(*(_deployment(name) for name in names), namespace=namespace)
    for name in names:
        cluster.wait(f"deployment/{name}", "condition=Available", namespace, seconds=WAIT)
    bare = Bare(str(cluster.kubeconfig))
    first, bare_first, noticed = [], [], []
    watching = Watching(cluster, namespace)
    watching.start()
    try:
        for number, name in enumerate(names):
            say(f"one Deployment, round {number + 1} of {ROUNDS}")
            _quiet(cluster, name, namespace)
            seen = len(cluster.requests())
            began = time.time()
            door.alert(name, namespace)
            time.sleep(
                QUIET
            )  # nothing is asked of the daemon while it works: to list its requests takes longer than they do
            result = _restarted(door, name)
            requests = [one for one in cluster.requests()[seen:] if "python" in one.get("userAgent", "")]
            requests.sort(key=lambda one: str(one["requestReceivedTimestamp"]))
            change = next(index for index, one in enumerate(requests) if one["verb"] not in ("get", "list", "watch"))
            first.append((epoch(requests[change]["requestReceivedTimestamp"]) - began) * 1000)
            holds = next(one for one in result["evidence"] if one["kind"] == "sample" and one["verdict"] == "holds")
            noticed.append((epoch(holds["at"]) - watching.complete[name]) * 1000)

            looks = [unquote(one["requestURI"]) for one in requests[:change] if one["verb"] in ("get", "list")]
            _quiet(cluster, name, namespace)
            seen, began = len(cluster.requests()), time.time()
            bare.restart(name, namespace, looks)
            patched = next(
                one for one in cluster.requests()[seen:] if one["verb"] == "patch" and name in one["requestURI"]
            )
            bare_first.append((epoch(patched["requestReceivedTimestamp"]) - began) * 1000)
    finally:
        watching.end()
        bare.close()
    yield Figure(
        name="webhook received → first mutating request at the API server", unit="ms", values=first,
        peer="the bare client, same look-ups", peer_values=bare_first, goal="≤ 1.5 ×",
        met=median(first) / median(bare_first) <= 1.5, note=f"{len(looks)} look-ups",
    )  # fmt: skip
    yield Figure(
        name="verify notices a rollout's success after the API server knows", unit="ms", values=noticed, goal="≤ 500 ms",
        met=percentile(noticed, 1.0) <= 500, note=f"at worst {percentile(noticed, 1.0):.0f} ms",
    )  # fmt: skip


def _quiet(cluster: Cluster, name: str, namespace: str) -> None:
    """Returns when the last rollout is over and what it set off has died down: both sides begin from there."""
    cluster.kubectl("rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={WAIT:.0f}s")
    time.sleep(QUIET)


def _restarted(door: Door, name: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        for one in door.client.get("api/v1/requests", limit=20)["requests"]:
            if one["operation"] == "restart_service" and (one.get("target") or {}).get("name") == name:
                if one["status"] != "done":
                    raise RuntimeError(f"{name}: {one['status']}: {one.get('message')}")
                found: Mapping[str, Any] = one
                return found
        time.sleep(0.1)
    raise RuntimeError(f"{name} was not restarted")


class Bare:
    """The official client by itself, synchronous, with a connection that is open already."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]  # the client says no types here
        self._client = client.ApiClient(configuration)
        self._apps = client.AppsV1Api(self._client)
        self._ask("/version")

    def _ask(self, uri: str) -> bytes:
        path, _, query = uri.partition("?")
        sent = self._client.param_serialize(
            method="GET", resource_path=path, query_params=[tuple(part.split("=", 1)) for part in query.split("&") if part],
            header_params={"Accept": "application/json"}, auth_settings=["BearerToken"],
        )  # fmt: skip
        answer = self._client.call_api(*sent)
        data: bytes = answer.read()  # type: ignore[no-untyped-call]  # as above
        json.loads(data)
        return data

    def restart(self, name: str, namespace: str, looks: list[str]) -> None:
        for uri in looks:
            self._ask(uri)
        at = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
        self._apps.patch_namespaced_deployment(
            name, namespace, {"spec": {"template": {"metadata": {"annotations": at}}}}
        )

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]  # as above

"""On a real cluster: from the webhook to the API server, how soon verify notices, five thousand Pods, and lines to ten followers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
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
from tests.end_to_end.place import firing, posted
from tests.engines import availability
from uici.cli.client import Client
from uici.model import epoch

if TYPE_CHECKING:
    from tests.engines.kubernetes import Cluster

ROUNDS = 8
PODS, LISTINGS = 5000, 3
LINES, FOLLOWERS = 120_000, 10
#: How a line of the job looks in an event.
_SIGN = b'"text":"line '
WAIT = 120.0
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
            yield _lines(cluster, namespace, door)
        yield from _listing(cluster, catalog)


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
        while data := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
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
            seen = len(cluster.requests())
            began = time.time()
            door.alert(name, namespace)
            result = _restarted(door, name)
            requests = [one for one in cluster.requests()[seen:] if "python" in one.get("userAgent", "")]
            requests.sort(key=lambda one: str(one["requestReceivedTimestamp"]))
            change = next(index for index, one in enumerate(requests) if one["verb"] not in ("get", "list", "watch"))
            first.append((epoch(requests[change]["requestReceivedTimestamp"]) - began) * 1000)
            holds = next(one for one in result["evidence"] if one["kind"] == "sample" and one["verdict"] == "holds")
            noticed.append((epoch(holds["at"]) - watching.complete[name]) * 1000)

            looks = [unquote(one["requestURI"]) for one in requests[:change] if one["verb"] in ("get", "list")]
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
        config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
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
        data: bytes = answer.read()  # type: ignore[no-untyped-call]
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
        self._client.close()  # type: ignore[no-untyped-call]


# Lines to ten followers


def _lines(cluster: Cluster, namespace: str, door: Door) -> Figure:
    from tests.engines.kubernetes import BUSYBOX

    say(f"{LINES} lines to {FOLLOWERS} followers")
    # It begins once all follow; with no bound on what it may use, as far as the node has it.
    script = f"echo begin; sleep 10; i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 600"
    id = door.run("run_job", name="talk", namespace=namespace, image=BUSYBOX, command=["sh", "-c", script], cpu="1")
    program = f"from benchmarks.kubernetes import follow; follow({door.url!r}, {id!r}, {LINES}, {FOLLOWERS})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    door.client.post(f"api/v1/requests/{id}/cancel")
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    seconds, lost, memory, used = json.loads(done.stdout)
    return Figure(
        name=f"log lines streamed to {FOLLOWERS} followers", unit="lines/s to each", values=[LINES / seconds],
        goal="≥ 20,000 lines/s, none lost, memory bounded", met=LINES / seconds >= 20_000 and lost == 0 and memory < 100,
        note=f"{lost} lost; the daemon grew by {memory:.0f} MB and used {used / LINES * 1e6:.0f} µs of processor a line",
    )  # fmt: skip


def follow(url: str, id: str, lines: int, followers: int) -> None:
    """In a process of its own: prints the seconds from the first line that anybody has to the last that all have, how many were
    lost or came twice, and by how many MB the daemon grew and how many seconds of processor it used."""
    import selectors

    daemon = _daemon(url)
    before, used = _memory(daemon), _processor(daemon)
    selector = selectors.DefaultSelector()
    seen: dict[socket.socket, int] = {}
    parts: dict[socket.socket, list[bytes]] = {}
    host, port = url.removeprefix("http://").split(":")
    for _ in range(followers):
        one = socket.create_connection((host, int(port)), 60)
        one.sendall(f"GET /api/v1/requests/{id}/logs HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        seen[one], parts[one] = 0, []
        selector.register(one, selectors.EVENT_READ, one)
    began = None
    while min(seen.values()) < lines:
        for key, _ in selector.select(60):
            data = key.data.recv(1 << 20)
            if not data:
                raise RuntimeError(f"a stream ended after {seen[key.data]} lines")
            tail = parts[key.data][-1][1 - len(_SIGN) :] if parts[key.data] else b""
            parts[key.data].append(data)
            seen[key.data] += (tail + data).count(_SIGN)
            if began is None and seen[key.data]:
                began = time.perf_counter()
    seconds = time.perf_counter() - (began or 0.0)
    most, used = _memory(daemon, "VmHWM"), _processor(daemon) - used
    lost = 0
    for some in parts.values():
        found = [part.partition(b'"')[0] for part in b"".join(some).split(_SIGN)[1:]]
        lost += abs(lines - len(set(found))) + (len(found) - len(set(found)))
    print(json.dumps([seconds, lost, most - before, used]))


def _daemon(url: str) -> int:
    """The process that listens there."""
    port = int(url.rpartition(":")[2])
    wanted = None
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[1].endswith(f":{port:04X}") and parts[3] == "0A":
            wanted = f"socket:[{parts[9]}]"
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(path.readlink()) == wanted:
                return int(path.parts[2])
    raise RuntimeError("nobody listens there")


def _memory(pid: int, what: str = "VmRSS") -> float:
    """MB that a process has in memory (``VmHWM``: at the most)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def _processor(pid: int) -> float:
    """Seconds of processor that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Five thousand Pods


def _listing(cluster: Cluster, catalog: Path) -> Iterator[Figure]:
    with cluster.namespace("pods") as namespace, _node(cluster):
        say(f"making {PODS} Pods on a node that nobody runs")
        asyncio.run(_make_pods(str(cluster.kubeconfig), namespace))
        say("listing them")
        ours: list[float] = []
        bare: list[float] = []
        memory, bare_memory = 0.0, 0.0
        for _ in range(LISTINGS):
            for program, values in (("unhealthy", ours), ("listed", bare)):
                given = f"{str(catalog)!r}, {str(cluster.kubeconfig)!r}, {namespace!r}"
                code = f"from benchmarks.kubernetes import {program}; {program}({given})"
                done = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
                )
                if done.returncode != 0:
                    raise RuntimeError(done.stderr[-3000:])
                seconds, grown = json.loads(done.stdout)
                values.append(seconds)
                if program == "unhealthy":
                    memory = max(memory, grown)
                else:
                    bare_memory = max(bare_memory, grown)
        yield Figure(
            name=f"list_unhealthy_workloads over {PODS:,} Pods", unit="s", values=ours,
            peer="the bare client's listing, in pages", peer_values=bare, goal="≤ 1.3 ×, memory bounded",
            met=median(ours) / median(bare) <= 1.3,
            note=f"grew by {memory:.0f} MB, the bare client by {bare_memory:.0f} MB",
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
    return _memory(os.getpid())


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

    config.load_kube_config(config_file=kubeconfig)  # type: ignore[no-untyped-call]
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

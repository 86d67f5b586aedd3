"""From the webhook to the Docker socket and to a proven service, beside the bare Docker API doing the same through the same proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, median, say
from tests.end_to_end.place import Place, firing, place
from tests.end_to_end.proxy import Proxy, proxy
from tests.engines import availability
from uici.model import epoch

if TYPE_CHECKING:
    from tests.engines.docker import Docker

ROUNDS = 12
TEN_ROUNDS = 8
STABLE_FOR = 3.0
#: Seconds in which the engine clears up after a container's death.
QUIET = 1.0


class Bare(http.client.HTTPConnection):
    """HTTP over a unix socket: the bare Docker API."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str) -> bytes:
        self.request(method, path)
        answer = self.getresponse()
        body = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {body[:300]!r}")
        return body


def _proven(uici: Place, name: str) -> float:
    """When the service was first seen well by the verify that then held: the Result's end without ``stable_for``.

    The journal tells it afterwards; to ask the daemon while it works would take a third of its processor.
    """
    uici.incident("watching", service=name)
    for one in reversed(uici.entries("result")):
        result = one["result"]
        if result["operation"] == "restart_service" and result["target"]["name"] == name:
            samples = [seen for seen in result["evidence"] if seen["kind"] == "sample"]
            return max(epoch(samples[0]["at"]), epoch(result["ended_at"]) - STABLE_FOR)
    raise RuntimeError(f"no restart of {name}: {uici.story()}")


def _killed(*webs: Any) -> None:
    """Returns when the engine has come to rest after it: both sides begin from there."""
    for web in webs:
        web.kill()
    time.sleep(QUIET)


@contextlib.contextmanager
def _least(socket_path: str) -> Iterator[Callable[[Any], None]]:
    """The program of ``least`` on that socket; what it gives posts to it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.least", socket_path, f"{folder}/journal.db"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
            if running.stdin is None or running.stdout is None:
                raise RuntimeError("the least daemon has no pipes")
            try:
                url = f"http://127.0.0.1:{int(running.stdout.readline())}/"

                def post(body: Any) -> None:
                    request = urllib.request.Request(url, json.dumps(body).encode())
                    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  loopback only

                yield post
            finally:
                running.stdin.close()
                running.wait(timeout=10)


def _running(bare: Bare, name: str) -> None:
    while b'"Running":true' not in bare.ask("GET", f"/v1.41/containers/{name}/json"):
        pass


def figures() -> Iterator[Figure]:
    from tests.engines.docker import docker

    if why := availability("docker").missing:
        say(f"recovery on Docker is left out: {why}")
        return
    with docker() as engine, proxy(engine.base_url) as front:
        yield from _one(engine, front)
        yield _ten(engine)


def _one(engine: Docker, front: Proxy) -> Iterator[Figure]:
    first, proven, bare_first, bare_proven, least_first = [], [], [], [], []
    with (
        place(front.url, escalate_to="json://127.0.0.1:1") as uici,
        uici.serving(),
        _least(str(front.path)) as least,
    ):
        uici.ready()
        bare = Bare(str(front.path))
        for number in range(ROUNDS):
            say(f"one service, round {number + 1} of {ROUNDS}")
            # A new one each time: three attempts on the same one and the brake would hold it.
            web = engine.run(engine.name(f"one{number}"))
            _killed(web)
            seen = len(front.forwarded)
            began = time.time()
            uici.alert(firing(web.name))
            time.sleep(STABLE_FOR)
            end = _proven(uici, web.name)
            lines = list(zip(front.forwarded[seen:], front.moments[seen:], strict=True))
            at = next(index for index, (line, _) in enumerate(lines) if line.startswith("POST"))
            first.append((lines[at][1] - began) * 1000)
            proven.append((end - began) * 1000)

            _killed(web)
            began, seen = time.time(), len(front.forwarded)
            for line, _ in lines[:at]:
                bare.ask(*line.split()[:2])
            bare.ask("POST", lines[at][0].split()[1])
            sent = zip(front.forwarded[seen:], front.moments[seen:], strict=True)
            bare_first.append((next(moment for line, moment in sent if line.startswith("POST")) - began) * 1000)
            _running(bare, web.name)
            bare_proven.append((time.time() - began) * 1000)

            _killed(web)
            began, seen = time.time(), len(front.forwarded)
            least({"gets": [line.split()[1] for line, _ in lines[:at]], "post": lines[at][0].split()[1]})
            _running(bare, web.name)
            sent = zip(front.forwarded[seen:], front.moments[seen:], strict=True)
            least_first.append((next(moment for line, moment in sent if line.startswith("POST")) - began) * 1000)
            engine.client.api.remove_container(web.id, force=True)
    yield Figure(
        name="webhook received → first mutating request at the Docker socket", unit="ms", values=first,
        peer="bare Docker API, same look-ups", peer_values=bare_first, goal="≤ 1.5 ×",
        met=median(first) / median(bare_first) <= 1.5,
    )  # fmt: skip
    yield Figure(
        name="the same from the least that such a daemon does: post, two durable commits, the look-ups; nothing decided",
        unit="ms", values=least_first, peer="bare Docker API, same look-ups", peer_values=bare_first,
    )  # fmt: skip
    yield Figure(
        name="webhook received → verified running, `stable_for` excluded", unit="ms", values=proven,
        peer="bare Docker API until running", peer_values=bare_proven, goal="≤ 1.10 ×",
        met=median(proven) / median(bare_proven) <= 1.10,
    )  # fmt: skip


def _ten(engine: Docker) -> Figure:
    """Both at the engine's own socket: what the proxy takes of the processor would count for whoever asks more."""
    taken, bare_taken = [], []
    with place(engine.base_url, escalate_to="json://127.0.0.1:1") as uici, uici.serving():
        uici.ready()
        for number in range(TEN_ROUNDS):
            say(f"ten services, round {number + 1} of {TEN_ROUNDS}")
            webs = [engine.run(engine.name(f"ten{number}-{one}")) for one in range(10)]
            _killed(*webs)
            began = time.time()
            uici.alert(*(firing(web.name) for web in webs))
            time.sleep(STABLE_FOR)
            taken.append((max(_proven(uici, web.name) for web in webs) - began) * 1000)

            _killed(*webs)
            began = time.time()
            threads = [threading.Thread(target=_restart, args=(engine, web)) for web in webs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            bare_taken.append((time.time() - began) * 1000)
            for web in webs:
                engine.client.api.remove_container(web.id, force=True)
    return Figure(
        name="ten services at once", unit="ms", values=taken, peer="Docker API driven in parallel", peer_values=bare_taken,
        goal="≤ 1.10 ×", met=median(taken) / median(bare_taken) <= 1.10,
    )  # fmt: skip


def _restart(engine: Docker, web: Any) -> None:
    bare = Bare(engine.base_url.removeprefix("unix://"))
    bare.ask("POST", f"/v1.41/containers/{web.id}/restart?t=10")
    _running(bare, web.id)
    bare.close()

"""Alerts accepted durably: 16 connections, one alert a post, beside an aiohttp server that keeps nothing.

That one runs as lean as it can: on the daemon's loop and without an access log.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, percentile, say
from tests.end_to_end.place import firing, place, posted
from tests.engines.process import free_port, started
from tests.engines.supervisord import STAYS, supervisord
from tests.monitoring.shipped import TOKEN

CONNECTIONS = 16
SECONDS = 5.0
MOST = 200_000
_KEEPS_NOTHING = """
import sys
from aiohttp import web
from uici.daemon import loop
async def well(request): return web.Response(text="ok")
async def take(request):
    await request.read()
    return web.json_response({"accepted": 1})
app = web.Application()
app.router.add_get("/healthz", well)
app.router.add_post("/webhooks/alertmanager", take)
made = loop.factory()()
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=made)
"""


def _request(number: int) -> bytes:
    body = json.dumps(posted(firing(f"web{number}"))).encode()
    head = (
        "POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def drive(port: int) -> None:
    """Run in a process of its own: posts until the time is over, then prints [posts a second, latencies in ms…]."""
    requests = [_request(number) for number in range(200)]
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    sent: dict[socket.socket, float] = {}
    by_number: dict[int, socket.socket] = {}
    for number in range(CONNECTIONS):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ)
        by_number[one.fileno()] = one
        one.sendall(requests[number])
        sent[one] = time.perf_counter()
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < SECONDS and len(latencies) < MOST:
        for key, _ in selector.select(1):
            one = by_number[key.fd]
            answer = one.recv(65536)
            now = time.perf_counter()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"not accepted: {answer[:500]!r}")
            latencies.append((now - sent[one]) * 1000)
            one.sendall(requests[len(latencies) % len(requests)])
            sent[one] = now
    print(json.dumps([len(latencies) / (time.perf_counter() - began), *latencies]))


def _driven(port: int) -> tuple[float, list[float]]:
    program = f"from benchmarks.acceptance import drive; drive({port})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    rate, *latencies = json.loads(done.stdout)
    return rate, latencies


def figures() -> Iterator[Figure]:
    say(f"alerts accepted durably, {CONNECTIONS} connections, {SECONDS:.0f} s")
    with supervisord({"web": STAYS}) as engine, tempfile.TemporaryDirectory() as name:
        port = free_port()
        with started(
            [sys.executable, "-c", _KEEPS_NOTHING, str(port)],
            log=Path(name, "bare.log"),
            ready=f"http://127.0.0.1:{port}/healthz",
        ):
            bare_rate, _ = _driven(port)
        with (
            place(engine.url, executor="supervisor", escalate_to="json://127.0.0.1:1", waiting=10_000_000) as uici,
            uici.serving(),
        ):
            uici.ready()
            rate, latencies = _driven(uici.port)
            kept = len(uici.entries("alert"))
    if kept < len(latencies):
        raise RuntimeError(f"{len(latencies)} alerts were accepted and {kept} are in the journal")
    slowest = percentile(latencies, 0.99)
    yield Figure(
        name="alerts accepted durably, 16 connections", unit="/s", values=[rate], peer="aiohttp that keeps nothing",
        peer_values=[bare_rate], goal="≥ 8,000/s, p99 ≤ 20 ms", met=rate >= 8000 and slowest <= 20,
        note=f"p99 {slowest:.1f} ms, all {kept:,} in the journal",
    )  # fmt: skip

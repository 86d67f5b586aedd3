"""Log lines of a Job to ten followers of the daemon, each of which must get every line once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, say

if TYPE_CHECKING:
    from benchmarks.kubernetes import Door
    from tests.engines.kubernetes import Cluster

LINES, FOLLOWERS = 120_000, 10
#: How a line of the job looks in an event.
_SIGN = b'"text":"line '


def lines(cluster: Cluster, namespace: str, door: Door) -> Figure:
    from tests.engines.kubernetes import BUSYBOX

    say(f"{LINES} lines to {FOLLOWERS} followers")
    # It begins once all follow; with no bound on what it may use, as far as the node has it.
    script = f"echo begin; sleep 10; i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 600"
    id = door.run("run_job", name="talk", namespace=namespace, image=BUSYBOX, command=["sh", "-c", script], cpu="1")
    program = f"from benchmarks.following import follow; follow({door.url!r}, {id!r}, {LINES}, {FOLLOWERS})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    door.client.post(f"api/v1/requests/{id}/cancel")
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    seconds, lost, grown, used = json.loads(done.stdout)
    return Figure(
        name=f"log lines streamed to {FOLLOWERS} followers", unit="lines/s to each", values=[LINES / seconds],
        goal="≥ 20,000 lines/s, none lost, memory bounded", met=LINES / seconds >= 20_000 and lost == 0 and grown < 100,
        note=f"{lost} lost; the daemon grew by {grown:.0f} MB and used {used / LINES * 1e6:.0f} µs of processor a line",
    )  # fmt: skip


def follow(url: str, id: str, lines: int, followers: int) -> None:
    """In a process of its own: prints the seconds from the first line that anybody has to the last that all have, how many were
    lost or came twice, and by how many MB the daemon grew and how many seconds of processor it used."""
    import selectors

    daemon = _daemon(url)
    before, used = memory(daemon), processor(daemon)
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
    most, used = memory(daemon, "VmHWM"), processor(daemon) - used
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


def memory(pid: int, what: str = "VmRSS") -> float:
    """MB that a process has in memory (``VmHWM``: at the most)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def processor(pid: int) -> float:
    """Seconds of processor that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

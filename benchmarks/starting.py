"""What a start costs: ``uici --help``, ``uici check``, a check of a large catalog, the daemon until it is ready, its memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figure import Figure, median, say
from tests.end_to_end.place import UICI, Place, place
from tests.engines import availability
from tests.engines.process import answers, free_port, started

STARTER = Path(__file__).parents[1] / "infrastructure" / "config"
_BARE = """
import sys
from aiohttp import web
async def well(request): return web.Response(text="ok")
app = web.Application()
app.router.add_get("/healthz", well)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def _seconds(*command: str | Path, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
        taken.append(time.perf_counter() - began)
        if done.returncode != 0:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return taken


def figures() -> Iterator[Figure]:
    say("uici --help")
    floor = [one * 1000 for one in _seconds(sys.executable, "-c", "import click", times=15)]
    helped = [one * 1000 for one in _seconds(UICI, "--help", times=15)]
    ratio = median(helped) / median(floor)
    yield Figure(
        name="`uici --help`", unit="ms", values=helped, peer="`python -c 'import click'`", peer_values=floor,
        goal="≤ 3 ×", met=ratio <= 3,
    )  # fmt: skip
    say("uici check of the starter catalog")
    checked = _seconds(UICI, "check", STARTER, times=5)
    yield Figure(
        name="`uici check` of the starter catalog", unit="s", values=checked, peer="`python -c 'import click'`",
        peer_values=[one / 1000 for one in floor], goal="≤ 1 s", met=median(checked) <= 1,
    )  # fmt: skip
    yield _large()
    yield from _daemon()


def _catalog(folder: Path, count: int) -> Path:
    """The starter's restart under ``count`` names, each translated for both executors."""
    folder.mkdir()
    operation = yaml.safe_load((STARTER / "operations.yml").read_text())["operations"]["restart_service"]
    translation: dict[str, Any] = {}
    for path in sorted((STARTER / "command_translations").glob("*.yml")):
        for name, one in yaml.safe_load(path.read_text())["translations"].items():
            if name == "restart_service":
                translation |= one
    names = [f"restart_service_{number}" for number in range(count)]
    documents: dict[str, dict[str, Any]] = {
        "operations": {"include": ["starter"], "operations": dict.fromkeys(names, operation)},
        "command_translations": {"include": ["starter"], "translations": dict.fromkeys(names, translation)},
        "environments": {"include": ["starter"]},
        "runbooks": {"include": ["starter"]},
        "policies": {"include": ["starter"]},
        "platform": {},
    }
    for name, document in documents.items():
        # No aliases: the catalog refuses them.
        dumper = yaml.CSafeDumper
        dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]
        (folder / f"{name}.yml").write_text(yaml.dump({"version": 1, **document}, Dumper=dumper, sort_keys=False))
    return folder


def _large() -> Figure:
    with tempfile.TemporaryDirectory() as name:
        taken = {}
        for count in (250, 500, 1000):
            say(f"uici check of {count:,} operations")
            taken[count] = _seconds(UICI, "check", _catalog(Path(name, str(count)), count), times=3)
    first, last = median(taken[250]), median(taken[1000])
    growth = last / first
    return Figure(
        name="`uici check` of 1,000 operations", unit="s", values=taken[1000], peer="of 250 operations",
        peer_values=taken[250], goal="≤ 3 s, linear", met=last <= 3 and growth <= 4.5,
    )  # fmt: skip


def _resident(pid: int) -> float:
    """MB held by a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no VmRSS")


@contextlib.contextmanager
def _remembering(folder: Path) -> Iterator[None]:
    """Proofs are remembered there and not where this user's own lie."""
    before = os.environ.get("CACHE_DIRECTORY")
    os.environ["CACHE_DIRECTORY"] = str(folder)
    try:
        yield
    finally:
        del os.environ["CACHE_DIRECTORY"]
        if before is not None:
            os.environ["CACHE_DIRECTORY"] = before


@contextlib.contextmanager
def _ready(uici: Place, times: list[float]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is ready, and in ``times`` how long that took."""
    began = time.perf_counter()
    with uici.serving() as daemon:
        while not answers(f"{uici.url}/readyz"):
            time.sleep(0.005)
        times.append(time.perf_counter() - began)
        yield daemon


def _daemon() -> Iterator[Figure]:
    from tests.engines.docker import docker

    if why := availability("docker").missing:
        say(f"the daemon's start and memory are left out: {why}")
        return
    first: list[float] = []
    checked: list[float] = []
    ready: list[float] = []
    bare_ready, memory, bare_memory = [], [], []
    with docker() as engine, tempfile.TemporaryDirectory() as name, _remembering(Path(name, "cache")):
        say("the daemon's start and its memory, with Docker loaded")
        for number in range(5):
            port, log = free_port(), Path(name, f"{number}.log")
            began = time.perf_counter()
            with started(
                [sys.executable, "-c", _BARE, str(port)], log=log, ready=f"http://127.0.0.1:{port}/healthz"
            ) as bare:
                bare_ready.append(time.perf_counter() - began)
                bare_memory.append(_resident(bare.pid))
            with place(engine.base_url, escalate_to="json://127.0.0.1:1") as uici:
                # The first start proves the catalog; the next finds it as it was proven.
                for times in (first, ready):
                    with _ready(uici, times) as daemon:
                        if times is ready:
                            time.sleep(1)
                            memory.append(_resident(daemon.pid))
            with place(engine.base_url, escalate_to="json://127.0.0.1:1") as uici:
                _seconds(UICI, "check", uici.catalog, times=1)
                with _ready(uici, checked):
                    pass
    yield Figure(
        name="daemon ready, first start with this catalog", unit="s", values=first, peer="a bare aiohttp server",
        peer_values=bare_ready, goal="≤ 0.5 s", met=median(first) <= 0.5,
    )  # fmt: skip
    yield Figure(
        name="daemon ready, first start after `uici check`", unit="s", values=checked, peer="a bare aiohttp server",
        peer_values=bare_ready, goal="≤ 0.5 s", met=median(checked) <= 0.5,
    )  # fmt: skip
    yield Figure(
        name="daemon ready, catalog unchanged", unit="s", values=ready, peer="a bare aiohttp server", peer_values=bare_ready,
        goal="≤ 0.5 s", met=median(ready) <= 0.5,
    )  # fmt: skip
    yield Figure(
        name="idle memory of the daemon, Docker loaded", unit="MB", values=memory, peer="a bare aiohttp server",
        peer_values=bare_memory, goal="≤ 70 MB", met=median(memory) <= 70,
    )  # fmt: skip

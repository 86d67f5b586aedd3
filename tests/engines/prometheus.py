"""A real Prometheus with a given configuration file; private port and folder."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.process import free_port, started


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, **query: str) -> Any:
        """``data`` of the HTTP API's answer (``/api/v1/…``)."""
        address = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=10) as response:  # noqa: S310  loopback only
            return json.load(response)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return found


@contextlib.contextmanager
def prometheus(configuration: Path, folder: Path, *options: str, port: int | None = None) -> Iterator[Prometheus]:
    """Runs until the block ends. ``folder`` takes its data and its log; raises NotReadyError with that log."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port or free_port()}"
    command: Sequence[str | Path] = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=warn",
        *options,
    ]
    log = folder / "prometheus.log"
    with started(command, log=log, ready=f"{url}/-/ready") as process:
        yield Prometheus(url, process, log)

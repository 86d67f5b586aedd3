"""A real Alertmanager with a given configuration file, or several that know each other; private ports and folders."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.process import free_port, started


@dataclass(frozen=True, slots=True)
class Alertmanager:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, *alerts: dict[str, Any]) -> None:
        """Hands alerts to its API, as a Prometheus does: ``{"labels": …, "annotations": …, "startsAt": …}``."""
        request = urllib.request.Request(  # noqa: S310  loopback only
            f"{self.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            pass

    def alerts(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as response:  # noqa: S310
            found: list[dict[str, Any]] = json.load(response)
            return found


@contextlib.contextmanager
def alertmanager(configuration: Path, folder: Path, *options: str, port: int | None = None) -> Iterator[Alertmanager]:
    """Runs alone until the block ends. ``folder`` takes its data and its log; raises NotReadyError with that log."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port or free_port()}"
    command: Sequence[str | Path] = [
        "prometheus-alertmanager",
        f"--config.file={configuration}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=warn",
        *options,
    ]
    log = folder / "alertmanager.log"
    with started(command, log=log, ready=f"{url}/-/ready") as process:
        yield Alertmanager(url, process, log)

"""A whole UICI for a test: a folder with a catalog and a journal, and the real daemon as a process of its own.

It must not import the daemon: what the tests see is what a user sees, by its doors and by the journal's file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.engines.process import answers, free_port, started
from tests.monitoring.shipped import TOKEN

T = TypeVar("T")
WAIT = 60.0
UICI = Path(sys.executable).parent / "uici"
_FILES = ("operations", "command_translations", "runbooks", "policies")


def until(what: Callable[[], T | None], why: str | Callable[[], str], seconds: float = WAIT) -> T:
    """The first answer of ``what`` that is something; raises AssertionError with ``why`` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {why if isinstance(why, str) else why()}")
        time.sleep(0.05)


def firing(container: str, name: str = "ServiceDown", **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager posts it."""
    labels = {"alertname": name, "severity": "critical", "service": container, "cluster": "local", **labels}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"{abs(hash(tuple(sorted(labels.items())))):016x}",
    }


def posted(*alerts: Mapping[str, Any]) -> dict[str, Any]:
    """A webhook payload, version 4."""
    return {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "uici",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.tests",
        "alerts": list(alerts),
    }


class Place:
    """``folder`` is short, because a unix socket lies beside the journal. ``url``: of the daemon, once it serves."""

    def __init__(
        self,
        folder: Path,
        engine: str,
        *,
        executor: str,
        escalate_to: str | None,
        waiting: int,
        worker: Mapping[str, Any],
    ) -> None:
        self.folder, self.catalog, self.journal = folder, folder / "catalog", folder / "journal.db"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.catalog.mkdir()
        platform: dict[str, Any] = {
            "version": 1,
            "journal": {"url": f"sqlite:///{self.journal}"},
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "tokens": {
                    "alertmanager": {"token": "${env:UICI_TEST_TOKEN}", "may": ["alerts", "metrics"]},
                    "anna": {"token": "${env:UICI_TEST_PERSON}", "may": ["observe", "operate"], "person": True},
                },
                "limits": {"waiting": waiting},
            },
            "worker": dict(worker),
        }
        if escalate_to:
            platform["escalate_to"] = [escalate_to]
        self.write("platform", platform)
        self.write(
            "environments",
            {
                "version": 1,
                "environments": {
                    "local": {
                        "executor": executor,
                        "settings": {"base_url" if executor == "docker" else "url": engine},
                        "alerts": ['cluster="local"'],
                        "stage": "sandbox",
                        "autonomy": "change",
                    }
                },
            },
        )
        for name in _FILES:
            self.write(name, {"version": 1, "include": ["starter"]})

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        (self.catalog / f"{name}.yml").write_text(yaml.safe_dump(dict(document), sort_keys=False))

    @contextlib.contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon, alive; stopped by SIGTERM unless the test killed it."""
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("UICI_", "DOCKER_"))},
            "UICI_TEST_TOKEN": TOKEN,
            "UICI_TEST_PERSON": f"person-{TOKEN}",
        }
        command: list[str | Path] = [UICI, "serve", "--config", self.catalog]
        with started(command, log=self.log, ready=f"{self.url}/healthz", environ=environ, grace=40) as process:
            self.process = process
            yield process

    def ready(self) -> None:
        """Returns when the daemon can work: its engine is open."""
        until(lambda: answers(f"{self.url}/readyz") or None, lambda: f"ready; {self.story()}")

    def restarts(self) -> int:
        """How many restarts were written down before they were sent."""
        return sum(one["call"]["path"].endswith("restart") for one in self.entries("intent"))

    def request(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """The JSON answer; raises HTTPError."""
        request = urllib.request.Request(  # noqa: S310  loopback only
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token or f'person-{TOKEN}'}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return json.load(response)

    def metrics(self) -> str:
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            text: str = response.read().decode()
            return text

    def alert(self, *alerts: Mapping[str, Any]) -> Any:
        return self.request("POST", "/webhooks/alertmanager", posted(*alerts), TOKEN)

    def incidents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request("GET", "/api/v1/incidents?limit=1000")["incidents"]
        return found

    def incident(self, state: str, *, service: str | None = None) -> dict[str, Any]:
        """The incident (of that target) once it is in that state."""

        def seen() -> dict[str, Any] | None:
            for one in self.incidents():
                target = (one["target"] or {}).get("name")
                if one["state"] == state and (service is None or service == target):
                    return one
            return None

        return until(seen, lambda: f"an incident of {service} that is {state}; {self.story()}")

    def entries(self, *kinds: str) -> list[dict[str, Any]]:
        """Of the journal's file, read beside the daemon; the ``data`` of those kinds, oldest first."""
        connection = sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)
        try:
            wanted = ", ".join("?" * len(kinds))
            rows = connection.execute(f"SELECT data FROM entries WHERE kind IN ({wanted}) ORDER BY seq", kinds)  # noqa: S608
            return [json.loads(row[0]) for row in rows]
        finally:
            connection.close()

    def story(self) -> str:
        """What is known, for a failed test's message."""
        with contextlib.suppress(OSError, urllib.error.URLError, sqlite3.Error):
            results = [
                {key: one["result"][key] for key in ("operation", "status", "reason", "message", "verification")}
                for one in self.entries("result")
            ]
            states = [(one["state"], one["reason"], one["message"]) for one in self.entries("incident")]
            return f"results {results}; states {states}; log: {self.log.read_text()[-3000:]}"
        return f"log: {self.log.read_text()[-3000:]}"


@contextlib.contextmanager
def place(
    engine: str, *, executor: str = "docker", escalate_to: str | None = None, waiting: int = 10_000, **worker: Any
) -> Iterator[Place]:
    """``engine``: its URL. ``waiting``: of ``server.limits``. ``worker``: of platform.yml (``settle="2s"``)."""
    folder = Path(tempfile.mkdtemp(prefix="uici-e2e-"))
    try:
        yield Place(folder, engine, executor=executor, escalate_to=escalate_to, waiting=waiting, worker=worker)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""A catalog over a real supervisord, and the real daemon over real sockets, for the tests of the doors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from uici.catalog import UniversalConfigLoader
from uici.daemon.serve import Serving
from uici.daemon.server import Daemon

#: Every token of the tests' catalogs: name -> (text, rights, person).
TOKENS = {
    "alertmanager": ("t-alertmanager", ["alerts"], False),
    "reader": ("t-reader", ["observe"], False),
    "program": ("t-program", ["observe", "operate"], False),
    "anna": ("t-anna", ["observe", "operate", "approve"], True),
    "prometheus": ("t-prometheus", ["metrics"], False),
}


def write_catalog(
    folder: Path,
    supervisor: str,
    *,
    journal: Path,
    tokens: bool = False,
    platform: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """Files that include the starter, with one environment ``local``. JSON is YAML too."""
    folder.mkdir(parents=True, exist_ok=True)
    server: dict[str, Any] = {"listen": "127.0.0.1:0"}
    if tokens:
        server["tokens"] = {
            name: {"token": "${env:UICI_TEST_" + name.upper() + "}", "may": may, "person": person}
            for name, (_, may, person) in TOKENS.items()
        }
    more = dict(platform or {})
    server |= more.pop("server", {})
    files: dict[str, Any] = {
        "platform": {"journal": {"url": f"sqlite:///{journal}"}, "server": server, **more},
        "environments": {
            "default": "local",
            "environments": {
                "local": {
                    "executor": "supervisor",
                    "settings": {"url": supervisor},
                    "autonomy": "change",
                    **(environment or {}),
                }
            },
        },
    }
    for name in ("operations", "command_translations", "runbooks", "policies"):
        files[name] = {"include": ["starter"]}
    for name, data in files.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **data}))
    return folder


class Door:
    """A client of one daemon: ``await door.get(path)`` gives status and JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str, daemon: Daemon, serving: Serving) -> None:
        self.session, self.url, self.daemon, self.serving = session, url, daemon, serving

    async def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> tuple[int, Any]:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {TOKENS[token][0] if token in TOKENS else token}"
        async with self.session.request(method, self.url + path, headers=headers, **more) as response:
            body = await response.read()
            kind = response.content_type
            return response.status, json.loads(body) if kind.endswith("json") else body

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, data: Any = None, **more: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, json={} if data is None else data, **more)


@contextlib.asynccontextmanager
async def serving(catalog: Path, *, listen: str | None = None, signals: bool = True) -> AsyncIterator[Door]:
    """The daemon, ready, in this event loop; its way out is the one that SIGTERM takes."""
    ready: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    one = Serving(UniversalConfigLoader(catalog), listen=listen, ready=ready.set_result, grace=5.0, signals=signals)
    life = asyncio.create_task(one.run())
    await asyncio.wait([life, ready], return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        life.result()
    daemon = ready.result()
    async with aiohttp.ClientSession() as session:
        try:
            yield Door(session, daemon.listens[0], daemon, one)
        finally:
            one.stop()
            await life


def alert(name: str = "ServiceDown", service: str = "web", **more: Any) -> dict[str, Any]:
    """One alert of a payload."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "service": service},
        "annotations": {"summary": "it is down"},
        "startsAt": "2026-11-25T18:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{name}-{service}",
        **more,
    }


def payload(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "receiver": "uici",
        "status": "firing",
        "truncatedAlerts": 0,
        "alerts": list(alerts),
        **more,
    }

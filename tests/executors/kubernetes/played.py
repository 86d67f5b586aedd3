"""An API server that a test plays: whatever it is asked, one function answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import yaml
from aiohttp import web

from uici_executors.kubernetes.connection import Server


@contextlib.asynccontextmanager
async def played(folder: Path, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Server]:
    """``folder``: for its kubeconfig."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cluster = {"name": "k", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}
    context = {"name": "k", "context": {"cluster": "k", "user": "anna"}}
    whole = {"clusters": [cluster], "contexts": [context], "users": [{"name": "anna", "user": {"token": "t"}}]}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "k", **whole}))
    server = Server({"kubeconfig": str(path)})
    try:
        yield server
    finally:
        await server.close()
        await runner.cleanup()

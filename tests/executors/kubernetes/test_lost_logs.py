"""Logs that cannot be read to their end, of a node that is gone: whoever asks is told so, in a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.executors.kubernetes.played import played
from uici.model import Call, Risk, UnreachableError
from uici_executors.kubernetes import logs, watch

RUNNING = {"name": "main", "restartCount": 0, "state": {"running": {"startedAt": "2026-11-25T21:00:00Z"}}}
POD = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main"}]},
    "status": {"phase": "Running", "containerStatuses": [RUNNING]},
}
PODS = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [POD]}
TRIES = 3


async def unreachable(request: web.Request) -> web.StreamResponse:
    message = 'Get "https://10.0.0.9:10250/containerLogs/shop/web-1/main": dial tcp 10.0.0.9:10250: no route to host'
    return web.json_response({"kind": "Status", "code": 500, "message": message}, status=500)


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("followed", [False, True], ids=["read", "followed"])
@pytest.mark.parametrize(
    ("answers", "said", "silence"),
    [(unreachable, "no route to host", 10.0), (silent, "nothing came for a while", 0.1)],
)
async def test_a_log_that_is_not_there_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: Callable[[web.Request], Awaitable[web.StreamResponse]],
    said: str,
    silence: float,
    followed: bool,
) -> None:
    monkeypatch.setattr(logs, "LAST_TRIES", TRIES)
    monkeypatch.setattr(logs, "SILENCE", silence)
    monkeypatch.setattr(watch, "MOST", 0.1)
    asked = 0
    until = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        if request.path.endswith("/log"):
            asked += 1
            if request.query.get("follow") == "true" and asked > TRIES + 1:
                until.set()  # however often it failed before, it is tried as often at the end
            return await answers(request)
        if request.query.get("watch") == "true":
            await asyncio.sleep(60)
        return web.json_response(PODS)

    arguments = {"namespace": "shop", "name": "web-1", "follow": followed}
    call = Call(on=None, path=logs.ONE, arguments=arguments, risk=Risk.OBSERVE)
    async with played(tmp_path, answer) as server, asyncio.timeout(20):
        await server.client()  # made once, which takes longer than the silence here
        with pytest.raises(UnreachableError, match=said):
            async for _ in logs.stream(server, call, until=until if followed else None):
                pass
    followed_before = asked - (TRIES + 1)
    assert followed_before == 0 if not followed else followed_before > TRIES

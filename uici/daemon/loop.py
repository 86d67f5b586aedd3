"""Which event loop the daemon runs on (``docs/decisions``), and how it listens on a socket that is bound already.

uvloop where it is installed, asyncio's own elsewhere: the daemon does the same on both, and its log says which. Nothing here
knows what is served.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aiohttp import web


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes the daemon's loop."""
    try:
        import uvloop
    except ImportError:  # there are platforms without it; whoever starts there reads ``asyncio`` in the log
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def name(loop: asyncio.AbstractEventLoop) -> str:
    """``uvloop`` or ``asyncio``."""
    return type(loop).__module__.partition(".")[0]


class Listening(web.BaseSite):
    """As aiohttp's ``SockSite``, and right for a unix socket too: uvloop takes one only where it is told so."""

    def __init__(self, runner: web.AppRunner, listening: socket.socket, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._listening = listening

    @property
    def name(self) -> str:
        return str(self._listening.getsockname())

    async def start(self) -> None:
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        if server is None:
            raise RuntimeError("the runner is set up before its sites")
        listen = loop.create_unix_server if self._listening.family == socket.AF_UNIX else loop.create_server
        self._server = await listen(server, sock=self._listening, backlog=self._backlog)

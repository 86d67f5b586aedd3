"""The least that a daemon on this stack does between a webhook and an engine: a program, run beside UICI for its figures.

aiohttp takes the post, SQLite makes it durable, the same look-ups go out one after another, the intent is made durable, and
the change is sent. Nothing is decided, checked or read of what is answered; what UICI takes more is what it decides.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from uici.executor.wire import Address, Wire


async def serve(socket: str, journal: Path) -> None:
    """Prints its port, then serves until its standard input ends. Posted: ``{"gets": [path, …], "post": path}``."""
    loop, writer = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    database = await loop.run_in_executor(writer, _opened, journal)
    wire = Wire(Address(host="localhost", socket=socket), unheeded)
    reader, sender = await asyncio.open_unix_connection(socket)
    tasks: set[asyncio.Task[None]] = set()

    async def commit(text: str) -> None:
        await loop.run_in_executor(writer, _written, database, text)

    async def act(gets: list[str], post: str) -> None:
        for path in gets:
            await wire.get(path)
        await commit(post)
        sender.write(f"POST {post} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")

    async def posted(request: web.Request) -> web.Response:
        asked = await request.json()
        await commit(await request.text())
        task = asyncio.create_task(act(asked["gets"], asked["post"]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/", posted)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    await wire.close()
    sender.close()


def unheeded() -> None:
    """A connection that ends says nothing to it."""


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, data TEXT)")
    return database


def _written(database: sqlite3.Connection, text: str) -> None:
    database.execute("INSERT INTO entries (data) VALUES (?)", (text,))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))

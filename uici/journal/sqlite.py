"""The journal on SQLite: one writer thread (``writer``), one reader thread, one process.

The event loop never touches the database. What is written is decided elsewhere; this module must not look into it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import orjson

from uici.journal import location, reads, tables
from uici.journal.entry import Entry
from uici.journal.failures import in_words
from uici.journal.interface import Attempt, Escalation, Unsettled, WaitingAlert
from uici.journal.writer import Writer
from uici.model import Clock, Command, Incident, IncidentState, JournalError, Result

T = TypeVar("T")

#: Pages of the WAL after which a commit carries them over, while everybody waits: seldom, and those written often only once.
_CHECKPOINT = 4000
_PATIENCE = 5.0  # seconds to wait for a lock that another program holds


async def open_journal(url: str = "", *, clock: Clock = time.time) -> SQLiteJournal:
    """The journal that ``url`` names (``location.path_of``), made where it is missing.

    Raises JournalInUseError where another process holds it, JournalError, or ConfigurationError for the URL.
    """
    path = location.path_of(url)

    def opened() -> tuple[Path, int, sqlite3.Connection, sqlite3.Connection]:
        real = location.prepare(path)
        lock = location.hold(real)
        connections: list[sqlite3.Connection] = []
        try:
            connections.append(_connect(real))
            _migrate(connections[0], real)
            connections.append(_connect(real))
            connections[1].execute("PRAGMA query_only = 1")
        except (sqlite3.Error, JournalError) as error:
            for connection in connections:
                connection.close()
            os.close(lock)
            raise in_words(error, real) from error
        return real, lock, connections[0], connections[1]

    real, lock, writer, reader = await asyncio.to_thread(opened)
    return SQLiteJournal(real, lock, writer, reader, clock)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # holds for a new file only
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise JournalError(f"{path}: this file system cannot do SQLite's WAL; put the journal on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        tables.create(connection)
    elif application != tables.APPLICATION_ID:
        raise JournalError(f"{path} is a database of another program; name another file in platform.yml (journal.url)")
    elif version != tables.VERSION:
        raise JournalError(f"{path} was written by another version of UICI (format {version}); use that version")
    else:
        tables.reindex(connection)


class SQLiteJournal:
    """See ``Journal``. Made by ``open_journal`` and used in the event loop that made it. ``path``: the database file."""

    def __init__(
        self, path: Path, lock: int, writer: sqlite3.Connection, reader: sqlite3.Connection, clock: Clock
    ) -> None:
        self.path = path
        self._lock = lock
        self._connections = (writer, reader)
        self._reader = reader
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, "uici-journal-reader")
        self._closed = False
        self._news: set[asyncio.Event] = set()
        self._writer = Writer(path, writer, self._tell)

    # Writing

    async def append(self, *entries: Entry) -> int:
        """Writes them as one transaction; durable when this returns. ``at`` is filled in where it is 0.

        Gives the last one's seq; those of one append follow each other. Raises JournalError: none was accepted then.
        """
        if not entries or self._closed:
            self._writable()
            return self._writer.seq
        return await self._writer.write(entries, self._clock())

    async def rebuild(self) -> None:
        self._writable()
        await self._writer.work(lambda connection: tables.rebuild(connection, orjson.loads))

    async def prune(self, older_than: float) -> int:
        self._writable()
        gone = int(await self._writer.work(lambda connection: tables.prune(connection, older_than)))
        if gone and not self._closed:
            await self._writer.work(lambda connection: connection.execute("PRAGMA incremental_vacuum(2000)").fetchall())
        return gone

    def _writable(self) -> None:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed; nothing can be written any more")

    def _tell(self, seq: int) -> None:
        for event in self._news:
            event.set()

    async def close(self) -> None:
        """Writes what was appended, then lets the journal go. May be called twice."""
        if self._closed:
            return
        self._closed = True
        written = self._writer.close()
        self._tell(self._writer.seq)

        def closing() -> None:
            written()
            self._pool.shutdown(wait=True)
            for connection in self._connections:
                connection.close()
            os.close(self._lock)

        await asyncio.to_thread(closing)

    # Reading

    def _readable(self) -> None:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed")

    async def _read(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        self._readable()

        def read() -> T:
            try:
                return function(self._reader, *arguments, **named)
            except sqlite3.Error as error:
                raise in_words(error, self.path) from error

        return await self._loop.run_in_executor(self._pool, read)

    async def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        kinds: Sequence[str] = (),
        incident: str | None = None,
        request: str | None = None,
    ) -> list[Entry]:
        return await self._read(reads.entries, after, limit, tuple(kinds), incident, request)

    async def follow(self, after: int = 0) -> AsyncIterator[Entry]:
        """Entries after ``after`` and then new ones; ends when the journal is closed."""
        news = asyncio.Event()
        self._news.add(news)
        try:
            while not self._closed:
                news.clear()
                try:
                    found = await self.entries(after=after)
                except JournalError:
                    if self._closed:
                        return
                    raise
                for entry in found:
                    yield entry
                    after = entry.seq
                if not found:
                    await news.wait()
        finally:
            self._news.discard(news)

    async def incident(self, id: str) -> Incident | None:
        return await self._read(reads.incident, id)

    async def incidents(
        self, *, states: Sequence[IncidentState] = (), limit: int = 100, before: str | None = None
    ) -> list[Incident]:
        return await self._read(reads.incidents, tuple(states), limit, before)

    async def unended(self, *, key: str | None = None, fingerprint: str | None = None) -> Incident | None:
        return await self._read(reads.of_key, False, key, fingerprint)

    async def last_ended(self, *, key: str | None = None, fingerprint: str | None = None) -> Incident | None:
        return await self._read(reads.last_ended, key, fingerprint)

    async def waiting_alerts(self, limit: int = 1000, *, without: Collection[str | None] = ()) -> list[WaitingAlert]:
        return await self._read(reads.waiting_alerts, limit, tuple(without))

    async def waiting_count(self) -> int:
        return self._writer.waiting

    async def command(self, request: str) -> Command | None:
        return await self._read(reads.command, request)

    async def result(self, request: str) -> Result | None:
        return await self._read(reads.result, request)

    async def results(
        self, *, incident: str | None = None, limit: int = 100, before: str | None = None
    ) -> list[Result]:
        return await self._read(reads.results, incident, limit, before)

    async def unsettled(self) -> list[Unsettled]:
        return await self._read(reads.unsettled)

    async def attempts(
        self, *, since: float, key: str | None = None, environment: str | None = None, operation: str | None = None
    ) -> list[Attempt]:
        return await self._read(reads.attempts, since, key, environment, operation)

    async def closed(self, key: str) -> str | None:
        return (await self.closed_keys()).get(key)

    async def closed_keys(self) -> dict[str, str]:
        self._readable()
        return dict(self._writer.closed)

    async def paused(self) -> dict[str | None, str]:
        self._readable()
        return dict(self._writer.paused)

    async def outbox(self, now: float, limit: int = 100) -> list[Escalation]:
        return await self._read(reads.outbox, now, limit)

    async def outbox_size(self) -> int:
        return await self._read(reads.outbox_size)

    async def size(self) -> int:
        return self._writer.seq

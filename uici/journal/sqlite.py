"""The journal on SQLite: one writer thread that commits in groups, one reader thread, one process.

Every ``append`` that waits while a commit runs joins the next one, so that durability costs one fsync for many. The event
loop never touches the database. What is written is decided elsewhere; this module must not look into it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import orjson

from uici.journal import location, reads, tables
from uici.journal.encoding import text_of
from uici.journal.entry import Entry
from uici.journal.failures import in_words
from uici.journal.interface import Attempt, Escalation, Unsettled, WaitingAlert
from uici.model import Clock, Command, Incident, IncidentState, JournalError, Result

T = TypeVar("T")

_GROUP = 1000  # entries a commit, so that the first of a long queue does not wait for all of it
_PATIENCE = 5.0  # seconds to wait for a lock that another program holds


class _Write:
    """One append (``rows``) or one ``work`` on the writer's connection, and where its answer goes."""

    __slots__ = ("answer", "entries", "error", "future", "rows", "work")

    def __init__(
        self,
        future: asyncio.Future[Any],
        entries: Sequence[Entry] = (),
        work: Callable[[sqlite3.Connection], Any] | None = None,
    ) -> None:
        self.future = future
        self.entries = entries
        self.work = work
        self.rows: list[tuple[Entry, str, Mapping[str, Any]]] = []
        self.answer: Any = None
        self.error: JournalError | None = None


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
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # holds for a new file only
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise JournalError(f"{path}: this file system cannot do SQLite's WAL; put the journal on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
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


class SQLiteJournal:
    """See ``Journal``. Made by ``open_journal`` and used in the event loop that made it. ``path``: the database file."""

    def __init__(
        self, path: Path, lock: int, writer: sqlite3.Connection, reader: sqlite3.Connection, clock: Clock
    ) -> None:
        self.path = path
        self._wal = path.with_name(path.name + "-wal")
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, "uici-journal-reader")
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._closed = False
        self._news: set[asyncio.Event] = set()
        self._seq = self._last_seq()
        self._size = self._seq
        self._waiting = self._count_waiting()
        self._inodes = self._files()
        self._thread = threading.Thread(target=self._write, name="uici-journal-writer", daemon=True)
        self._thread.start()

    # Writing

    async def append(self, *entries: Entry) -> int:
        """Writes them as one transaction; durable when this returns. ``at`` is filled in where it is 0.

        Gives the last one's seq; those of one append follow each other. Raises JournalError: none was accepted then.
        """
        if not entries:
            return self._size
        now = self._clock()
        dated = [
            entry
            if entry.at
            else Entry(kind=entry.kind, data=entry.data, incident=entry.incident, request=entry.request, at=now)
            for entry in entries
        ]
        return int(await self._submit(_Write(self._loop.create_future(), dated)))

    async def rebuild(self) -> None:
        await self._work(lambda connection: tables.rebuild(connection, orjson.loads))

    async def prune(self, older_than: float) -> int:
        gone = int(await self._work(lambda connection: tables.prune(connection, older_than)))
        if gone:
            await self._work(lambda connection: connection.execute("PRAGMA incremental_vacuum(2000)").fetchall())
        return gone

    async def _work(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self._submit(_Write(self._loop.create_future(), work=work))

    async def _submit(self, write: _Write) -> Any:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed; nothing can be written any more")
        self._queue.put(write)
        return await write.future

    def _write(self) -> None:
        """The writer thread: takes what waits, commits it as one, answers; until None comes."""
        going = True
        while going:
            writes: list[_Write] = []
            size = 0
            block = True
            while size < _GROUP:
                try:
                    write = self._queue.get(block)
                except Empty:
                    break
                if write is None:
                    going = False
                    break
                block = False
                writes.append(write)
                size += len(write.entries) or _GROUP
            if writes:
                self._commit(writes)
                self._answer(writes)

    def _commit(self, writes: list[_Write]) -> None:
        for write in writes:
            try:
                write.rows = [(entry, *text_of(entry)) for entry in write.entries]
            except (TypeError, ValueError) as error:
                write.error = JournalError(f"an entry cannot be written: {error}")
        good = [write for write in writes if write.error is None]
        try:
            self._transaction(good)
        except sqlite3.OperationalError as error:
            self._fail(good, error)
        except (sqlite3.Error, LookupError, TypeError, ValueError, AttributeError) as error:
            if len(good) == 1 or (
                isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError)
            ):
                self._fail(good, error)
                return
            # One of them is not as Entry says; the others must not suffer for it.
            for write in good:
                try:
                    self._transaction([write])
                except (sqlite3.Error, LookupError, TypeError, ValueError, AttributeError, OSError) as one:
                    self._fail([write], one)
        except OSError as error:
            self._fail(good, error)

    def _transaction(self, writes: list[_Write]) -> None:
        if not writes:
            return
        connection, seq = self._writer, self._seq
        if self._files() != self._inodes:
            raise FileNotFoundError(f"{self.path} was removed or replaced while this process holds it")
        try:
            connection.execute("BEGIN IMMEDIATE")
            texts: list[tuple[int, float, str, str | None, str | None, str]] = []
            rows: list[tables.Row] = []
            for write in writes:
                for entry, text, data in write.rows:
                    seq += 1
                    texts.append((seq, entry.at, entry.kind, entry.incident, entry.request, text))
                    rows.append((seq, entry.at, entry.kind, entry.incident, entry.request, data))
                write.answer = seq
            tables.insert(connection, texts)
            tables.project_all(connection, rows)
            for write in writes:
                if write.work is not None:
                    write.answer = write.work(connection)
            waiting = self._count_waiting()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._seq, self._waiting = seq, waiting

    def _fail(self, writes: list[_Write], error: Exception) -> None:
        for write in writes:
            write.error = in_words(error, self.path)

    def _answer(self, writes: list[_Write]) -> None:
        seq = self._seq

        def answer() -> None:
            self._size = seq
            for write in writes:
                if write.future.done():  # its caller was cancelled; the entries are written all the same
                    continue
                if write.error is not None:
                    write.future.set_exception(write.error)
                else:
                    write.future.set_result(write.answer)
            for event in self._news:
                event.set()

        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _files(self) -> tuple[tuple[int, int], ...]:
        """Which files the two paths name now. A database that was removed would take commits that nobody finds again."""
        stats = (self.path.stat(), self._wal.stat())
        return tuple((one.st_dev, one.st_ino) for one in stats)

    def _last_seq(self) -> int:
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
        return int(row[0]) if row else 0

    def _count_waiting(self) -> int:
        row = self._writer.execute(
            "SELECT (SELECT count(*) FROM waiting_alerts) + "
            "(SELECT count(*) FROM incidents WHERE state IN ('open', 'acting', 'waiting'))"
        ).fetchone()
        return int(row[0])

    async def close(self) -> None:
        """Writes what was appended, then lets the journal go. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        for event in self._news:
            event.set()

        def closing() -> None:
            self._thread.join()
            self._pool.shutdown(wait=True)
            self._reader.close()
            self._writer.close()
            os.close(self._lock)

        await asyncio.to_thread(closing)

    # Reading

    async def _read(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed")

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
        return await self._read(reads.of_key, True, key, fingerprint)

    async def waiting_alerts(self, limit: int = 1000) -> list[WaitingAlert]:
        return await self._read(reads.waiting_alerts, limit)

    async def waiting_count(self) -> int:
        return self._waiting

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
        return await self._read(reads.closed_keys)

    async def paused(self) -> dict[str | None, str]:
        return await self._read(reads.paused)

    async def outbox(self, now: float, limit: int = 100) -> list[Escalation]:
        return await self._read(reads.outbox, now, limit)

    async def outbox_size(self) -> int:
        return await self._read(reads.outbox_size)

    async def size(self) -> int:
        return self._size

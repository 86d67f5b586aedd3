"""The journal's writer: one thread that commits what waits as one transaction, so that an fsync serves many appends.

While a group is being committed, the next one gathers, and the thread goes on with all of it: waking a thread costs more
than a row does. What is written is decided elsewhere; this must not look into it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from uici.journal import reads, tables
from uici.journal.entry import Entry
from uici.journal.failures import in_words
from uici.model import JournalError

_GROUP = 1000  # entries a commit, so that the first of a long queue does not wait for all of it

#: Turns of the event loop that bring nothing more, after which what was gathered is written; and how many it may wait at all.
_QUIET, _TURNS = 2, 10

#: Kinds that change what is closed or paused.
_HOLDING = frozenset({"closed", "reopened", "paused", "resumed"})

Work = Callable[[sqlite3.Connection], Any]


class _Write:
    """One append (``rows``) or one ``work`` on the writer's connection, and where its answer goes."""

    __slots__ = ("answer", "error", "future", "rows", "work")

    def __init__(
        self,
        future: asyncio.Future[Any],
        rows: Sequence[tables.Row] = (),
        work: Work | None = None,
    ) -> None:
        self.future, self.rows, self.work = future, rows, work
        self.answer: Any = None
        self.error: JournalError | None = None


class Writer:
    """Used in the event loop that made it. ``durable``: called there with the last seq whenever a group is.

    As of the last commit: ``waiting``, how many alerts wait and incidents are open; ``closed`` and ``paused``, few and
    asked for with every change, so that nobody has to wait for a thread to read them.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, durable: Callable[[int], None]) -> None:
        self._path, self._connection, self._durable = path, connection, durable
        self._wal = path.with_name(path.name + "-wal")
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Write] = []
        self._writes: SimpleQueue[_Write | None] = SimpleQueue()
        self._seq = _last_seq(connection)
        self.seq = self._seq
        self.waiting = _count_waiting(connection)
        self.closed, self.paused = reads.closed_keys(connection), reads.paused(connection)
        self._inodes = self._files()
        self._thread = threading.Thread(target=self._run, name="uici-journal-writer", daemon=True)
        self._thread.start()

    # In the event loop

    def write(self, entries: Sequence[Entry], now: float) -> asyncio.Future[int]:
        """Gives the last one's seq once they are durable. ``now``: of those without a time, seconds since the epoch.

        Raises JournalError, here or in the future: none was accepted then.
        """
        try:
            rows = [tables.row(entry, now) for entry in entries]
        except (TypeError, ValueError) as error:
            raise JournalError(f"an entry cannot be written: {error}") from error
        return self._submit(_Write(self._loop.create_future(), rows))

    def work(self, work: Work) -> asyncio.Future[Any]:
        """What ``work`` gives, done in a transaction of the writer's connection. Raises JournalError."""
        return self._submit(_Write(self._loop.create_future(), work=work))

    def _submit(self, write: _Write) -> asyncio.Future[Any]:
        self._gathered.append(write)
        if len(self._gathered) == 1:
            self._loop.call_soon(self._gather, 1, _QUIET, _TURNS)
        return write.future

    def _gather(self, before: int, quiet: int, turns: int) -> None:
        """Hands over when the loop brings no more, and soon in any case: whoever is on the way shares the commit."""
        now = len(self._gathered)
        quiet = _QUIET if now > before else quiet - 1
        if quiet and turns:
            self._loop.call_soon(self._gather, now, quiet, turns - 1)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        for write in self._gathered:
            self._writes.put(write)
        self._gathered.clear()

    def _answer(self, group: list[_Write], seq: int) -> None:
        self.seq = seq
        for write in group:
            if write.future.done():  # its caller was cancelled; the entries are written all the same
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.answer)
        self._durable(seq)

    def close(self) -> Callable[[], None]:
        """Takes no more. Gives what waits, in another thread, for the end of what was appended."""
        self._hand_over()
        self._writes.put(None)
        return self._thread.join

    # In the thread

    def _run(self) -> None:
        ending = False
        while not ending:
            group: list[_Write] = []
            size = 0
            while size < _GROUP and (not group or self._writes.qsize()):
                write = self._writes.get()
                if write is None:
                    ending = True
                    break
                group.append(write)
                size += len(write.rows) or _GROUP
            if not group:
                continue
            self._commit(group)
            try:
                self._loop.call_soon_threadsafe(self._answer, group, self._seq)
            except RuntimeError:
                continue  # the loop is closed: nobody waits any more

    def _commit(self, group: list[_Write]) -> None:
        try:
            self._transaction(group)
        except (sqlite3.OperationalError, OSError) as error:
            self._fail(group, error)
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever an entry or a work does
            of_file = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError)
            if len(group) == 1 or of_file:
                self._fail(group, error)
                return
            # One of them is not as Entry says; the others must not suffer for it.
            for write in group:
                self._commit([write])

    def _transaction(self, group: list[_Write]) -> None:
        connection, seq, works = self._connection, self._seq, False
        if self._files() != self._inodes:
            raise FileNotFoundError(f"{self._path} was removed or replaced while this process holds it")
        rows = [row for write in group for row in write.rows]
        if _only_repeats(group, rows):
            # One statement is a transaction too, at a third of the calls.
            tables.insert(connection, seq, rows)
            for write in group:
                seq += len(write.rows)
                write.answer = seq
            self._seq = seq
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            tables.insert(connection, seq, rows)
            more = tables.project_all(connection, seq, rows)
            for write in group:
                seq += len(write.rows)
                write.answer = seq
                if write.work is not None:
                    write.answer, more, works = write.work(connection), None, True
            waiting = self.waiting + more if more is not None else _count_waiting(connection)
            closed, paused = self.closed, self.paused
            if works or any(row[1] in _HOLDING for row in rows):
                closed, paused = reads.closed_keys(connection), reads.paused(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._seq, self.waiting, self.closed, self.paused = seq, waiting, closed, paused

    def _fail(self, group: list[_Write], error: Exception) -> None:
        for write in group:
            write.error = in_words(error, self._path)

    def _files(self) -> tuple[int, ...]:
        """Which files the two paths name now. A database that was removed would take commits that nobody finds again."""
        main, wal = self._path.stat(), self._wal.stat()
        return main.st_dev, main.st_ino, wal.st_dev, wal.st_ino


def _only_repeats(group: Sequence[_Write], rows: Sequence[tables.Row]) -> bool:
    """Whether they change no table but that of the entries, and one statement takes them all."""
    few = 0 < len(rows) <= tables.AT_ONCE
    return few and all(row[5] is None for row in rows) and all(write.work is None for write in group)


def _last_seq(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return int(row[0]) if row else 0


def _count_waiting(connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM waiting_alerts) + "
        "(SELECT count(*) FROM incidents WHERE state IN ('open', 'acting', 'waiting'))"
    ).fetchone()
    return int(row[0])

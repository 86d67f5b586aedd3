"""Questions to the SQLite journal, each a function of a connection. They read only, and run in the reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from uici.journal.entry import Entry
from uici.journal.interface import Attempt, Escalation, Unsettled, WaitingAlert
from uici.model import Alert, Command, Incident, Result

_ENTRY = "e.seq, e.at, e.kind, e.incident, e.request, e.data"


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, at, kind, incident, request, data = row
    return Entry(seq=seq, at=at, kind=kind, incident=incident, request=request, data=orjson.loads(data))


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def entries(
    connection: sqlite3.Connection,
    after: int,
    limit: int,
    kinds: Sequence[str],
    incident: str | None,
    request: str | None,
) -> list[Entry]:
    where, values = ["e.seq > ?"], [after]  # type: tuple[list[str], list[Any]]
    if kinds:
        where.append(f"e.kind IN ({_marks(kinds)})")
        values.extend(kinds)
    if incident is not None and "alert" not in kinds:
        where.append("e.kind <> 'alert'")
    for column, value in (("incident", incident), ("request", request)):
        if value is not None:
            where.append(f"e.{column} = ?")
            values.append(value)
    query = f"SELECT {_ENTRY} FROM entries e WHERE {' AND '.join(where)} ORDER BY e.seq LIMIT ?"  # noqa: S608
    return [_entry(row) for row in connection.execute(query, (*values, limit))]


def incident(connection: sqlite3.Connection, id: str) -> Incident | None:
    row = connection.execute(
        "SELECT e.data FROM incidents i JOIN entries e ON e.seq = i.seq WHERE i.id = ?", (id,)
    ).fetchone()
    return Incident.from_json(orjson.loads(row[0])) if row else None


def incidents(connection: sqlite3.Connection, states: Sequence[str], limit: int, before: str | None) -> list[Incident]:
    where, values = ["1"], []  # type: tuple[list[str], list[Any]]
    if states:
        where.append(f"i.state IN ({_marks(states)})")
        values.extend(str(state) for state in states)
    if before is not None:
        where.append("i.opened < (SELECT opened FROM incidents WHERE id = ?)")
        values.append(before)
    query = (
        "SELECT e.data FROM incidents i JOIN entries e ON e.seq = i.seq "  # noqa: S608
        f"WHERE {' AND '.join(where)} ORDER BY i.opened DESC LIMIT ?"
    )
    return [Incident.from_json(orjson.loads(row[0])) for row in connection.execute(query, (*values, limit))]


def of_key(connection: sqlite3.Connection, ended: bool, key: str | None, fingerprint: str | None) -> Incident | None:
    """The newest incident that has ended, or not, of a key, of a fingerprint, or of both."""
    join, where, values = "", ["i.ended = ?"], [int(ended)]  # type: tuple[str, list[str], list[Any]]
    if fingerprint is not None:
        join = "JOIN fingerprints f ON f.incident = i.id"
        where.append("f.fingerprint = ?")
        values.append(fingerprint)
    if key is not None:
        where.append("i.key = ?")
        values.append(key)
    query = (
        f"SELECT e.data FROM incidents i {join} JOIN entries e ON e.seq = i.seq "  # noqa: S608
        f"WHERE {' AND '.join(where)} ORDER BY i.opened DESC LIMIT 1"
    )
    row = connection.execute(query, values).fetchone()
    return Incident.from_json(orjson.loads(row[0])) if row else None


def last_ended(connection: sqlite3.Connection, key: str | None, fingerprint: str | None) -> Incident | None:
    """The newest that has ended of that key or of that fingerprint."""
    found = [of_key(connection, True, key, None)] if key is not None else []
    found += [of_key(connection, True, None, fingerprint)] if fingerprint is not None else []
    return max((one for one in found if one is not None), key=lambda one: one.ended_at or "", default=None)


def waiting_alerts(
    connection: sqlite3.Connection, limit: int, without: Sequence[str | None] = ()
) -> list[WaitingAlert]:
    # No environment has an empty name: it stands for those of none here.
    where = f"WHERE ifnull(json_extract(e.data, '$.environment'), '') NOT IN ({_marks(without)})" if without else ""
    found = []
    for seq, at, text in connection.execute(
        f"SELECT e.seq, e.at, e.data FROM waiting_alerts w CROSS JOIN entries e ON e.seq = w.seq {where} ORDER BY w.seq LIMIT ?",  # noqa: S608 - marks alone
        (*(name or "" for name in without), limit),
    ):
        data = orjson.loads(text)
        found.append(
            WaitingAlert(seq=seq, at=at, alert=Alert.from_json(data["alert"]), environment=data["environment"])
        )
    return found


def _command(data: dict[str, Any]) -> Command:
    return Command.from_json(data)


def command(connection: sqlite3.Connection, request: str) -> Command | None:
    row = connection.execute(
        "SELECT e.data FROM commands c JOIN entries e ON e.seq = c.seq WHERE c.request = ?", (request,)
    ).fetchone()
    return _command(orjson.loads(row[0])) if row else None


def result(connection: sqlite3.Connection, request: str) -> Result | None:
    row = connection.execute(
        "SELECT e.data FROM results r JOIN entries e ON e.seq = r.seq WHERE r.request = ?", (request,)
    ).fetchone()
    return Result.from_json(orjson.loads(row[0])["result"]) if row else None


def results(connection: sqlite3.Connection, incident: str | None, limit: int, before: str | None) -> list[Result]:
    where, values = ["1"], []  # type: tuple[list[str], list[Any]]
    if incident is not None:
        where.append("r.incident = ?")
        values.append(incident)
    if before is not None:
        where.append("r.seq < (SELECT seq FROM results WHERE request = ?)")
        values.append(before)
    query = (
        "SELECT e.data FROM results r JOIN entries e ON e.seq = r.seq "  # noqa: S608
        f"WHERE {' AND '.join(where)} ORDER BY r.seq DESC LIMIT ?"
    )
    return [Result.from_json(orjson.loads(row[0])["result"]) for row in connection.execute(query, (*values, limit))]


def unsettled(connection: sqlite3.Connection) -> list[Unsettled]:
    found = []
    for request, text in connection.execute(
        "SELECT c.request, e.data FROM commands c JOIN entries e ON e.seq = c.seq WHERE c.ended = 0 ORDER BY c.seq"
    ).fetchall():
        data = orjson.loads(text)
        rows = connection.execute(f"SELECT {_ENTRY} FROM entries e WHERE e.request = ? ORDER BY e.seq", (request,))  # noqa: S608
        found.append(
            Unsettled(command=_command(data), engine=data["engine"], entries=tuple(_entry(row) for row in rows))
        )
    return found


def attempts(
    connection: sqlite3.Connection, since: float, key: str | None, environment: str | None, operation: str | None
) -> list[Attempt]:
    where, values = ["at >= ?"], [since]  # type: tuple[list[str], list[Any]]
    for column, value in (("key", key), ("environment", environment), ("operation", operation)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    query = (
        "SELECT request, key, environment, operation, risk, origin, at, verdict FROM attempts "  # noqa: S608
        f"WHERE {' AND '.join(where)} ORDER BY at, request"
    )
    names = ("request", "key", "environment", "operation", "risk", "origin", "at", "verdict")
    return [Attempt(**dict(zip(names, row, strict=True))) for row in connection.execute(query, values)]


def closed_keys(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, reason FROM closed ORDER BY key").fetchall())


def paused(connection: sqlite3.Connection) -> dict[str | None, str]:
    return {name or None: by for name, by in connection.execute("SELECT environment, paused_by FROM paused")}


def outbox(connection: sqlite3.Connection, now: float, limit: int) -> list[Escalation]:
    found = []
    for attempt, next_at, text in connection.execute(
        "SELECT o.attempt, o.next_at, e.data FROM outbox o JOIN entries e ON e.seq = o.seq "
        "WHERE o.next_at IS NOT NULL AND o.next_at <= ? ORDER BY o.attempt > 0, o.next_at, o.seq LIMIT ?",
        (now, limit),
    ):
        found.append(Escalation(attempt=attempt, next_at=next_at, **orjson.loads(text)))
    return found


def outbox_size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM outbox WHERE next_at IS NOT NULL").fetchone()[0])

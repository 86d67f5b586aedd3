"""The SQLite schema, and the one function that derives every table from the entries.

``project`` sees one entry at a time, in their order, and must depend on nothing else than it and the tables: that is what
makes ``rebuild`` give the same. It must not decide anything, nor read the clock.
"""

# ruff: noqa: S608 - statements are put together of names in this file alone; values are always bound.

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from uici.journal.encoding import text_of
from uici.journal.entry import Entry
from uici.model import IncidentState, Status, Verification

APPLICATION_ID = 0x55494349  # "UICI"; `file journal.db` shows it
VERSION = 1

#: A storm's repeats are not in it: each would touch a page of its own, and a commit of ten would write ten pages more.
TOLD = "CREATE INDEX entries_told ON entries (incident) WHERE incident IS NOT NULL AND kind <> 'alert'"

ENTRIES = f"""
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
    incident TEXT, request TEXT, data TEXT NOT NULL
);
{TOLD};
CREATE INDEX entries_request ON entries (request) WHERE request IS NOT NULL;
"""

# A derived row holds what is searched by, and the seq of the entry that has the rest.
DERIVED = """
CREATE TABLE incidents (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, state TEXT NOT NULL, ended INTEGER NOT NULL,
    opened INTEGER NOT NULL, seq INTEGER NOT NULL
);
CREATE INDEX incidents_key ON incidents (key, ended);
CREATE INDEX incidents_state ON incidents (state);
CREATE INDEX incidents_opened ON incidents (opened);
CREATE INDEX incidents_ended ON incidents (seq) WHERE ended = 1;
CREATE TABLE fingerprints (fingerprint TEXT, incident TEXT, PRIMARY KEY (fingerprint, incident)) WITHOUT ROWID;
CREATE INDEX fingerprints_incident ON fingerprints (incident);
CREATE TABLE waiting_alerts (seq INTEGER PRIMARY KEY);
CREATE TABLE commands (request TEXT PRIMARY KEY, seq INTEGER NOT NULL, incident TEXT, ended INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX commands_unended ON commands (seq) WHERE ended = 0;
CREATE TABLE results (request TEXT PRIMARY KEY, seq INTEGER NOT NULL, incident TEXT) WITHOUT ROWID;
CREATE INDEX results_seq ON results (seq);
CREATE INDEX results_incident ON results (incident) WHERE incident IS NOT NULL;
CREATE TABLE attempts (
    request TEXT PRIMARY KEY, key TEXT NOT NULL, environment TEXT NOT NULL, operation TEXT NOT NULL, risk TEXT NOT NULL,
    origin TEXT NOT NULL, at REAL NOT NULL, verdict TEXT NOT NULL, incident TEXT
) WITHOUT ROWID;
CREATE INDEX attempts_at ON attempts (at);
CREATE INDEX attempts_incident ON attempts (incident) WHERE incident IS NOT NULL;
CREATE TABLE closed (key TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE paused (environment TEXT PRIMARY KEY, paused_by TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, attempt INTEGER NOT NULL, next_at REAL) WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (next_at) WHERE next_at IS NOT NULL;
"""

TABLES = (
    "incidents",
    "fingerprints",
    "waiting_alerts",
    "commands",
    "results",
    "attempts",
    "closed",
    "paused",
    "outbox",
)

_ENDED = IncidentState.RESOLVED.value
_OVER = (IncidentState.WATCHING.value, IncidentState.RESOLVED.value)
_AGAIN = (IncidentState.OPEN.value, IncidentState.ACTING.value, IncidentState.ESCALATED.value)


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables of an empty database."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {ENTRIES} {DERIVED} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT;"
    )


def reindex(connection: sqlite3.Connection) -> None:
    """What a journal that has it in another form is searched by; it takes a second for each million entries."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries_incident'").fetchone():
        connection.executescript(f"BEGIN IMMEDIATE; DROP INDEX entries_incident; {TOLD}; COMMIT;")


Row = tuple[float, str, str | None, str | None, str, Mapping[str, Any] | None]
"""at, kind, incident, request, data as JSON text, data; the last is None where no derived table needs it."""

_VALUES = "(?, ?, ?, ?, ?, ?)"
#: Of each size up to that of a busy commit a statement of its own, because every statement gives the GIL away and has to
#: get it back from a busy event loop.
AT_ONCE = 32
_INSERTS = {many: "INSERT INTO entries VALUES " + ", ".join([_VALUES] * many) for many in range(1, AT_ONCE + 1)}


def row(entry: Entry, now: float) -> Row:
    """What is written of an entry, at ``now`` where it has no time. Raises TypeError or ValueError for what is no entry."""
    text, data = text_of(entry)
    # An alert that an incident knows is an entry and nothing else.
    only = entry.kind == "alert" and entry.incident is not None
    return entry.at or now, entry.kind, entry.incident, entry.request, text, None if only else data


def insert(connection: sqlite3.Connection, seq: int, rows: Sequence[Row]) -> None:
    """Writes entries; ``seq`` is that of the last one before them."""
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        values: list[Any] = []
        for number, (at, kind, incident, request, text, _) in enumerate(some, seq + start + 1):
            values += (number, at, kind, incident, request, text)
        connection.execute(_INSERTS[len(some)], values)


def project_all(connection: sqlite3.Connection, seq: int, rows: Sequence[Row]) -> int | None:
    """``project`` of each in order, with one statement where many alerts come or are joined.

    ``seq`` is that of the last entry before them. Gives by how many more alerts and incidents wait now, or None where
    that has to be counted.
    """
    more, counted = 0, True
    derived = [(number, one) for number, one in enumerate(rows, seq + 1) if one[5] is not None]
    for kind, run in groupby(derived, lambda pair: pair[1][1]):
        if kind == "alert":
            seqs = [number for number, _ in run]
            more += len(seqs)
            connection.execute("INSERT INTO waiting_alerts SELECT value FROM json_each(?)", (json.dumps(seqs),))
        elif kind == "joined":
            counted = False
            seqs = [joined for _, one in run for joined in _joined(one[5] or {})]
            connection.execute(
                "DELETE FROM waiting_alerts WHERE seq IN (SELECT value FROM json_each(?))", (json.dumps(seqs),)
            )
        else:
            counted = counted and kind != "incident"
            for number, (at, _, incident, request, _, data) in run:
                project(connection, number, at, kind, incident, request, data or {})
    return more if counted else None


def project(
    connection: sqlite3.Connection,
    seq: int,
    at: float,
    kind: str,
    incident: str | None,
    request: str | None,
    data: Mapping[str, Any],
) -> None:
    """Brings the derived tables up to this entry; raises KeyError or TypeError where its data is not as ``Entry`` says."""
    run = connection.execute
    match kind:
        case "alert":
            if incident is None:
                run("INSERT INTO waiting_alerts VALUES (?)", (seq,))
        case "joined":
            connection.executemany("DELETE FROM waiting_alerts WHERE seq = ?", [(one,) for one in _joined(data)])
        case "incident":
            _incident(connection, seq, data)
        case "request":
            run("INSERT INTO commands VALUES (?, ?, ?, 0)", (request, seq, data["incident"]))
        case "intent":
            _intent(connection, at, request, data)
        case "result":
            run(
                "INSERT INTO results VALUES (?, ?, ?) "
                "ON CONFLICT (request) DO UPDATE SET seq = excluded.seq, incident = excluded.incident",
                (request, seq, incident),
            )
            run("UPDATE commands SET ended = 1 WHERE request = ?", (request,))
            run("UPDATE attempts SET verdict = ? WHERE request = ?", (_verdict(data), request))
        case "closed":
            run(
                "INSERT INTO closed VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET reason = excluded.reason",
                (data["key"], data["message"] or data["reason"]),
            )
        case "reopened":
            run("DELETE FROM closed WHERE key = ?", (data["key"],))
        case "paused":
            # No environment is named "", so it stands for all of them.
            run(
                "INSERT INTO paused VALUES (?, ?) ON CONFLICT (environment) DO UPDATE SET paused_by = excluded.paused_by",
                (data["environment"] or "", data["by"]),
            )
        case "resumed":
            run("DELETE FROM paused WHERE environment = ?", (data["environment"] or "",))
        case "escalation":
            # The id is the same for the same matter of the same incident, so that a crash between two writes tells once.
            run("INSERT INTO outbox VALUES (?, ?, 0, ?) ON CONFLICT (id) DO NOTHING", (data["id"], seq, at))
        case "delivery":
            run(
                "UPDATE outbox SET attempt = ?, next_at = ? WHERE id = ?",
                (data["attempt"], data["next_at"], data["id"]),
            )


def _joined(data: Mapping[str, Any]) -> list[int]:
    return [data["alert"], *data.get("more", ())]


def _incident(connection: sqlite3.Connection, seq: int, data: Mapping[str, Any]) -> None:
    state = data["state"]
    before = connection.execute("SELECT state FROM incidents WHERE id = ?", (data["id"],)).fetchone()
    # A success that did not last is none: brakes and history count it as an attempt that did not help.
    failed = data["id"] if before and before[0] in _OVER and state in _AGAIN else None
    if before is None and data["reopened"]:
        failed = data["previous"]
    if failed is not None:
        connection.execute(
            "UPDATE attempts SET verdict = 'not_recovered' WHERE incident = ? AND verdict IN ('recovered', 'done')",
            (failed,),
        )
    connection.execute(
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "key = excluded.key, state = excluded.state, ended = excluded.ended, seq = excluded.seq",
        (data["id"], data["key"], state, state == _ENDED, seq, seq),
    )
    connection.executemany(
        "INSERT INTO fingerprints VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(alert["fingerprint"], data["id"]) for alert in data["alerts"]],
    )


def _intent(connection: sqlite3.Connection, at: float, request: str | None, data: Mapping[str, Any]) -> None:
    """The first intent makes the command an attempt; an undo is none (nothing may brake it)."""
    connection.execute(
        "INSERT INTO attempts SELECT ?, ?, ?, ?, ?, json_extract(e.data, '$.origin'), ?, 'running', c.incident "
        "FROM commands c JOIN entries e ON e.seq = c.seq "
        "WHERE c.request = ? AND json_extract(e.data, '$.parent') IS NULL ON CONFLICT (request) DO NOTHING",
        (request, data["key"] or "", data["environment"], data["operation"], data["risk"], at, request),
    )


def _verdict(data: Mapping[str, Any]) -> str:
    result = data["result"]
    status, verification = result["status"], result["verification"]
    if status == Status.DONE:
        return "recovered" if verification == Verification.RECOVERED and data.get("seen") else "done"
    if status == Status.UNVERIFIED:
        return "not_recovered" if verification == Verification.NOT_RECOVERED else "inconclusive"
    return "in_doubt" if status == Status.IN_DOUBT else "failed"


def rebuild(connection: sqlite3.Connection, decode: Any) -> None:
    """Derived tables anew, within the caller's transaction. ``decode``: JSON text -> data."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")
    for seq, at, kind, incident, request, data in connection.execute(
        "SELECT seq, at, kind, incident, request, data FROM entries ORDER BY seq"
    ):
        project(connection, seq, at, kind, incident, request, decode(data))


def prune(connection: sqlite3.Connection, older_than: float) -> int:
    """Deletes ended matters and their entries, within the caller's transaction; gives how many entries went.

    What still decides something stays whatever its age: unended incidents, unsettled commands, closed keys, pauses,
    waiting alerts and undelivered escalations, each with the entries that a rebuild needs.
    """
    run = connection.execute
    last = _last_before(connection, older_than)
    run("CREATE TEMP TABLE IF NOT EXISTS gone (seq INTEGER PRIMARY KEY)")
    run("DELETE FROM temp.gone")
    run("CREATE TEMP TABLE IF NOT EXISTS gone_incidents (id TEXT PRIMARY KEY)")
    run("DELETE FROM temp.gone_incidents")
    run(
        "INSERT INTO temp.gone_incidents SELECT i.id FROM incidents i JOIN entries e ON e.seq = i.seq "
        "WHERE i.ended = 1 AND i.seq <= ? AND e.at < ? "
        "AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.incident = i.id AND c.ended = 0) "
        "AND NOT EXISTS (SELECT 1 FROM entries x WHERE x.incident = i.id AND x.kind <> 'alert' AND x.at >= ?)",
        (last, older_than, older_than),
    )
    # CROSS JOIN makes SQLite begin with the few that go, not with all entries.
    # Whole incidents: their entries, their requests' entries, the alerts that joined them.
    run(
        "INSERT OR IGNORE INTO gone SELECT seq FROM entries "
        "WHERE incident IN (SELECT id FROM gone_incidents) AND kind <> 'alert'"
    )
    run(
        "INSERT OR IGNORE INTO gone SELECT seq FROM entries "
        "WHERE seq <= ? AND at < ? AND kind = 'alert' AND incident IS NOT NULL "
        "AND (incident IN (SELECT id FROM gone_incidents) OR incident NOT IN (SELECT id FROM incidents))",
        (last, older_than),
    )
    run(
        "INSERT OR IGNORE INTO gone SELECT e.seq FROM entries e JOIN results r ON r.request = e.request "
        "JOIN entries x ON x.seq = r.seq LEFT JOIN commands c ON c.request = e.request "
        "WHERE r.seq <= ? AND x.at < ? AND (c.ended IS NULL OR c.ended = 1) "
        "AND (coalesce(r.incident, c.incident) IS NULL OR coalesce(r.incident, c.incident) IN (SELECT id FROM gone_incidents) "
        "OR coalesce(r.incident, c.incident) NOT IN (SELECT id FROM incidents))",
        (last, older_than),
    )
    run(
        "INSERT OR IGNORE INTO gone SELECT seq FROM entries WHERE seq <= ? AND at < ? AND incident IS NULL AND request IS NULL "
        "AND kind IN ('started', 'stopped', 'catalog', 'alert_refused', 'joined', 'paused', 'resumed', 'closed', "
        "'reopened', 'escalation', 'delivery')",
        (last, older_than),
    )
    run(
        "INSERT OR IGNORE INTO gone SELECT seq FROM entries WHERE kind = 'alert' AND seq IN ("
        "SELECT json_extract(e.data, '$.alert') FROM gone g CROSS JOIN entries e ON e.seq = g.seq WHERE e.kind = 'joined' "
        "UNION ALL SELECT m.value FROM gone g CROSS JOIN entries e ON e.seq = g.seq, json_each(e.data, '$.more') m "
        "WHERE e.kind = 'joined')"
    )
    # What still holds stays, with what was said of it.
    held = "DELETE FROM gone WHERE seq IN (SELECT g.seq FROM gone g CROSS JOIN entries e ON e.seq = g.seq JOIN {} WHERE e.kind IN {})"
    run(held.format("closed c ON c.key = json_extract(e.data, '$.key')", "('closed', 'reopened')"))
    paused = "paused p ON p.environment = coalesce(json_extract(e.data, '$.environment'), '')"
    run(held.format(paused, "('paused', 'resumed')"))
    stays = "(o.next_at IS NOT NULL OR o.seq NOT IN (SELECT seq FROM gone))"
    outbox = f"outbox o ON o.id = json_extract(e.data, '$.id') AND {stays}"
    run(held.format(outbox, "('escalation', 'delivery')"))
    run("DELETE FROM gone WHERE seq IN (SELECT seq FROM waiting_alerts)")
    # Derived rows whose entry goes.
    run("DELETE FROM fingerprints WHERE incident IN (SELECT id FROM gone_incidents)")
    run("DELETE FROM incidents WHERE id IN (SELECT id FROM gone_incidents)")
    run("DELETE FROM attempts WHERE request IN (SELECT request FROM commands WHERE seq IN (SELECT seq FROM gone))")
    run("DELETE FROM commands WHERE seq IN (SELECT seq FROM gone)")
    run("DELETE FROM results WHERE seq IN (SELECT seq FROM gone)")
    run("DELETE FROM outbox WHERE seq IN (SELECT seq FROM gone)")
    return run("DELETE FROM entries WHERE seq IN (SELECT seq FROM gone)").rowcount


def _last_before(connection: sqlite3.Connection, at: float) -> int:
    """About the last seq that was written before then, found without reading all; the clock may have been set back."""
    low, high = 0, int(connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute("SELECT at FROM entries WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)).fetchone()
        low, high = (middle, high) if row is not None and row[0] < at else (low, middle - 1)
    return low

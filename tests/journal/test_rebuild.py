"""Whatever the history, a rebuild gives the tables that were there; so does one after a prune."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal import samples
from uici.journal import Entry, tables
from uici.model import IncidentState

IDS = st.sampled_from(["a", "b", "c"])
INCIDENTS = st.sampled_from(["i1", "i2", None])
#: A request, and an escalation's id, belong to one incident or to none.
OF = {"a": "i1", "b": "i2", "c": None}
ENVIRONMENTS = st.sampled_from(["local", "prod", None])


def _incident(id: str, key: str, state: IncidentState, fingerprints: list[str]) -> Entry:
    return samples.entry(dataclasses.replace(samples.incident(id, key, *fingerprints), state=state))


HISTORY = st.lists(
    st.one_of(
        st.builds(samples.alert, IDS),
        st.builds(samples.joined, st.integers(1, 30), INCIDENTS),
        st.builds(samples.joined, st.integers(1, 30), INCIDENTS, st.integers(1, 30), st.integers(1, 30)),
        st.builds(
            _incident,
            st.sampled_from(["i1", "i2"]),
            st.sampled_from(["k", "l"]),
            st.sampled_from(IncidentState),
            st.lists(IDS, max_size=2),
        ),
        st.builds(lambda id, parent: samples.request(id, OF[id], parent), IDS, st.sampled_from([None, "a"])),
        st.builds(lambda id: samples.intent(id, OF[id]), IDS),
        st.builds(
            lambda id, **more: samples.result(id, incident=OF[id], **more),
            IDS,
            status=st.sampled_from(["done", "failed", "unverified", "in_doubt"]),
            verification=st.sampled_from([None, "recovered", "not_recovered", "inconclusive"]),
            seen=st.booleans(),
        ),
        st.builds(lambda key: Entry(kind="closed", data={"key": key, "reason": "in_doubt", "message": ""}), IDS),
        st.builds(lambda key: Entry(kind="reopened", data={"key": key, "by": "human:x"}), IDS),
        st.builds(lambda where: Entry(kind="paused", data={"environment": where, "by": "human:x"}), ENVIRONMENTS),
        st.builds(lambda where: Entry(kind="resumed", data={"environment": where, "by": "human:x"}), ENVIRONMENTS),
        st.builds(lambda id: samples.escalation(id, OF[id]), IDS),
        st.builds(
            lambda id, next_at, attempt: Entry(
                kind="delivery", data={"id": id, "ok": True, "message": "", "attempt": attempt, "next_at": next_at}
            ),
            IDS,
            st.sampled_from([None, 5.0]),
            st.integers(0, 3),
        ),
        st.just(Entry(kind="started", data={})),
    ),
    max_size=60,
)


def _written(history: list[Entry], group: int = 1) -> sqlite3.Connection:
    """A journal of that history, written in groups of so many entries."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables.create(connection)
    requests: set[str] = set()
    rows: list[tables.Row] = []
    for entry in history:
        # Each request has another id, and so has an escalation of no incident.
        once = entry.request if entry.kind == "request" else None
        if entry.kind == "escalation" and entry.incident is None:
            once = f"escalation {entry.data['id']}"
        if once is not None and once in requests:
            continue
        requests.add(once or "")
        rows.append(tables.row(entry, float(len(rows) + 1)))
    for start in range(0, len(rows), group):
        some = rows[start : start + group]
        tables.insert(connection, start, some)
        tables.project_all(connection, start, some)
    return connection


def _derived(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    return {
        table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608
        for table in tables.TABLES
    }


@settings(max_examples=200, deadline=None)
@given(HISTORY, st.integers(1, 40))
def test_a_rebuild_gives_the_same_tables(history: list[Entry], group: int) -> None:
    connection = _written(history, group)
    before = _derived(connection)
    tables.rebuild(connection, orjson.loads)
    assert _derived(connection) == before
    connection.close()


@settings(max_examples=200, deadline=None)
@given(HISTORY, st.integers(0, 32))
def test_a_prune_takes_nothing_that_still_decides(history: list[Entry], older_than: int) -> None:
    connection = _written(history)
    before = _derived(connection)
    entries = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    gone = tables.prune(connection, float(older_than))
    after = _derived(connection)
    assert connection.execute("SELECT count(*) FROM entries").fetchone()[0] == entries - gone
    for table in ("closed", "paused", "waiting_alerts"):
        assert after[table] == before[table], table
    for table, column in (("incidents", 3), ("commands", 3)):
        assert [row for row in after[table] if not row[column]] == [row for row in before[table] if not row[column]], (
            table
        )
    assert [row for row in after["outbox"] if row[3] is not None] == [
        row for row in before["outbox"] if row[3] is not None
    ]
    kept = {row[0] for row in after["attempts"]}
    assert {row[0] for row in before["attempts"] if row[6] >= older_than} <= kept
    tables.rebuild(connection, orjson.loads)
    assert _derived(connection) == after
    connection.close()


def test_a_prune_takes_an_old_incident_whole_and_leaves_a_young_one() -> None:
    resolved = IncidentState.RESOLVED
    history = [
        samples.alert("f"),
        samples.joined(1, "i1"),
        _incident("i1", "k", IncidentState.OPEN, ["f"]),
        samples.repeat("i1"),
        samples.request("a", "i1"),
        samples.intent("a", "i1"),
        samples.result("a", incident="i1"),
        _incident("i1", "k", resolved, ["f"]),
        samples.alert("g"),
        samples.joined(9, "i2"),
        _incident("i2", "l", resolved, ["g"]),
        samples.repeat("i2"),
    ]
    connection = _written(history)
    assert tables.prune(connection, 9.0) == 8
    assert [row[0] for row in connection.execute("SELECT seq FROM entries ORDER BY seq")] == [9, 10, 11, 12]
    assert [row[0] for row in connection.execute("SELECT id FROM incidents")] == ["i2"]
    connection.close()

"""The journal from outside: what was appended is there, after another open, and is told as what it means."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.journal import samples
from tests.journal.opened import opened
from uici.journal import Entry
from uici.model import IncidentState, JournalError


async def test_an_entry_comes_back_as_it_was_after_another_open(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db", clock=lambda: 12.5) as journal:
        assert await journal.append(samples.alert("one")) == 1
        assert await journal.append(samples.alert("two"), samples.alert("three")) == 3
    async with opened(tmp_path / "j.db") as journal:
        entries = await journal.entries()
        assert [entry.seq for entry in entries] == [1, 2, 3]
        assert {entry.at for entry in entries} == {12.5}
        assert [one.alert.fingerprint for one in await journal.waiting_alerts()] == ["one", "two", "three"]
        assert await journal.waiting_count() == 3
        assert await journal.append(samples.alert("four")) == 4


async def test_a_seq_is_never_given_twice_even_when_the_last_entries_were_pruned(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db", clock=lambda: 10.0) as journal:
        await journal.append(Entry(kind="started", data={}))
        assert await journal.prune(older_than=20.0) == 1
    async with opened(tmp_path / "j.db") as journal:
        assert await journal.append(Entry(kind="stopped", data={})) == 2


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "state" / "j.db") as journal:
        await journal.append(Entry(kind="started", data={}))
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        for name in ("j.db", "j.db-wal", "j.db-shm", "j.db.lock"):
            assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o600, name


async def test_many_appends_at_once_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        seqs = await asyncio.gather(
            *(journal.append(samples.alert(str(n)), samples.alert(f"{n}b")) for n in range(500))
        )
        assert seqs == list(range(2, 1001, 2))
        names = [one.alert.fingerprint for one in await journal.waiting_alerts(2000)]
        assert names == [text for n in range(500) for text in (str(n), f"{n}b")]


async def test_one_bad_entry_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        answers = await asyncio.gather(
            journal.append(samples.alert("good")),
            journal.append(Entry(kind="nonsense", data={})),
            journal.append(Entry(kind="closed", data={})),
            journal.append(samples.alert("x"), Entry(kind="started", data={"what": object()})),
            journal.append(samples.alert("good too")),
            return_exceptions=True,
        )
        assert [isinstance(one, JournalError) for one in answers] == [False, True, True, True, False]
        assert [one.alert.fingerprint for one in await journal.waiting_alerts()] == ["good", "good too"]
        assert [entry.kind for entry in await journal.entries()] == ["alert", "alert"]


async def test_what_json_cannot_say_does_not_keep_an_outcome_from_being_written(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(
            Entry(kind="started", data={"text": "a\ud800b", "number": 2**80, "set": frozenset({"b", "a"})})
        )
        (entry,) = await journal.entries()
        assert entry.data == {"text": "a?b", "number": str(2**80), "set": ["a", "b"]}


async def test_follow_gives_what_was_and_what_comes_and_ends_with_the_journal(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(samples.alert("1"), samples.alert("2"))
        seen: list[int] = []
        arrived = asyncio.Event()

        async def follow() -> None:
            async for entry in journal.follow(after=1):
                seen.append(entry.seq)
                arrived.set()

        task = asyncio.create_task(follow())
        await arrived.wait()
        arrived.clear()
        await journal.append(samples.alert("3"))
        await arrived.wait()
    await task
    assert seen == [2, 3]


async def test_a_cancelled_append_is_written_or_not_but_breaks_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        task = asyncio.create_task(journal.append(samples.alert("1")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await journal.append(samples.alert("2")) in (1, 2)


async def test_incidents_are_found_by_key_and_fingerprint_and_listed_newest_first(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        first, second = samples.incident("i1", "k", "f1"), samples.incident("i2", "k2", "f2", "f3")
        await journal.append(samples.entry(first), samples.entry(second))
        assert await journal.unended(key="k") == first
        assert await journal.unended(fingerprint="f3") == second
        assert await journal.last_ended(key="k") is None
        over = dataclasses.replace(first, state=IncidentState.RESOLVED, ended_at=samples.NOW)
        await journal.append(samples.entry(over))
        assert await journal.unended(key="k") is None
        assert await journal.last_ended(fingerprint="f1") == over
        assert await journal.incident("i1") == over
        assert [one.id for one in await journal.incidents()] == ["i2", "i1"]
        assert [one.id for one in await journal.incidents(before="i2")] == ["i1"]
        assert [one.id for one in await journal.incidents(states=[IncidentState.RESOLVED])] == ["i1"]
        assert await journal.waiting_count() == 1


async def test_a_command_is_unsettled_until_its_result(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(samples.request("r1", "i1"), samples.request("r2", None))
        await journal.append(samples.intent("r1"))
        await journal.append(samples.result("r2"))
        (one,) = await journal.unsettled()
        assert (one.command.id, one.engine, [entry.kind for entry in one.entries]) == ("r1", "e", ["request", "intent"])
        await journal.append(samples.result("r1", incident="i1", verification="recovered", seen=True))
        assert await journal.unsettled() == []
        assert [one.id for one in await journal.results()] == ["r1", "r2"]
        assert [one.id for one in await journal.results(incident="i1")] == ["r1"]
        assert [one.id for one in await journal.results(before="r1")] == ["r2"]
        command, result = await journal.command("r1"), await journal.result("r1")
        assert command is not None
        assert command.operation.name == "restart_service"
        assert result is not None
        assert result.verification == "recovered"


VERDICTS = [
    ({"status": "done", "verification": "recovered", "seen": True}, "recovered"),
    ({"status": "done", "verification": "recovered", "seen": False}, "done"),
    ({"status": "done", "verification": None, "seen": True}, "done"),
    ({"status": "unverified", "verification": "not_recovered", "seen": True}, "not_recovered"),
    ({"status": "unverified", "verification": "inconclusive", "seen": True}, "inconclusive"),
    ({"status": "failed", "verification": None, "seen": True}, "failed"),
    ({"status": "in_doubt", "verification": None, "seen": True}, "in_doubt"),
]


@pytest.mark.parametrize(("result", "verdict"), VERDICTS)
async def test_an_attempt_is_what_its_result_says(tmp_path: Path, result: dict[str, Any], verdict: str) -> None:
    async with opened(tmp_path / "j.db", clock=lambda: 50.0) as journal:
        await journal.append(samples.request("r", None), samples.intent("r"))
        (running,) = await journal.attempts(since=50.0)
        assert (running.verdict, running.key, running.origin, running.at) == ("running", "k", "runbook:x", 50.0)
        await journal.append(samples.result("r", **result))
        assert [one.verdict for one in await journal.attempts(since=0, key="k", environment="local")] == [verdict]
        assert await journal.attempts(since=51.0) == []
        assert await journal.attempts(since=0, operation="other") == []


async def test_a_success_that_did_not_last_counts_as_one_that_did_not_help(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        incident = samples.incident("i1", "k", "f1")
        watching = dataclasses.replace(incident, state=IncidentState.WATCHING)
        await journal.append(samples.entry(incident), samples.request("r", "i1"), samples.intent("r", incident="i1"))
        await journal.append(samples.result("r", incident="i1", verification="recovered", seen=True))
        await journal.append(samples.entry(watching))
        assert [one.verdict for one in await journal.attempts(since=0)] == ["recovered"]
        await journal.append(samples.entry(incident))
        assert [one.verdict for one in await journal.attempts(since=0)] == ["not_recovered"]


async def test_a_success_that_a_new_incident_follows_too_soon_did_not_help_either(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        incident = samples.incident("i1", "k", "f1")
        await journal.append(samples.entry(incident), samples.request("r", "i1"), samples.intent("r", incident="i1"))
        await journal.append(samples.result("r", incident="i1", verification="recovered", seen=True))
        await journal.append(samples.entry(dataclasses.replace(incident, state=IncidentState.RESOLVED)))
        await journal.append(samples.entry(dataclasses.replace(incident, id="i2", previous="i1")))
        assert [one.verdict for one in await journal.attempts(since=0)] == ["recovered"]
        await journal.append(samples.entry(dataclasses.replace(incident, id="i3", previous="i1", reopened=1)))
        assert [one.verdict for one in await journal.attempts(since=0)] == ["not_recovered"]


async def test_an_undo_is_no_attempt(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(samples.request("undo", None, parent="r"), samples.intent("undo"))
        assert await journal.attempts(since=0) == []


async def test_closed_keys_and_pauses_hold_until_they_are_lifted(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(
            Entry(kind="closed", data={"key": "k", "reason": "in_doubt", "message": "nobody knows"}),
            Entry(kind="paused", data={"environment": None, "by": "human:anna"}),
            Entry(kind="paused", data={"environment": "local", "by": "human:ben"}),
        )
        assert await journal.closed("k") == "nobody knows"
        assert await journal.closed("other") is None
        assert await journal.paused() == {None: "human:anna", "local": "human:ben"}
        await journal.append(
            Entry(kind="reopened", data={"key": "k", "by": "human:anna"}),
            Entry(kind="resumed", data={"environment": None, "by": "human:anna"}),
        )
        assert await journal.closed_keys() == {}
        assert await journal.paused() == {"local": "human:ben"}


async def test_the_outbox_tells_once_and_until_it_is_delivered(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db", clock=lambda: 100.0) as journal:
        await journal.append(samples.escalation("e1"), samples.escalation("e2"))
        await journal.append(samples.escalation("e1"))
        assert [one.id for one in await journal.outbox(100.0)] == ["e1", "e2"]
        later = {"id": "e1", "ok": False, "message": "down", "attempt": 1, "next_at": 200.0}
        await journal.append(Entry(kind="delivery", data=later))
        assert [one.id for one in await journal.outbox(100.0)] == ["e2"]
        assert [(one.id, one.attempt) for one in await journal.outbox(200.0)] == [("e2", 0), ("e1", 1)]
        await journal.append(Entry(kind="delivery", data={**later, "ok": True, "attempt": 2, "next_at": None}))
        assert await journal.outbox_size() == 1


async def test_an_incident_is_told_without_its_repeats(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(
            samples.alert("f1"), samples.joined(1, "i1"), samples.entry(samples.incident("i1", "k", "f1"))
        )
        assert await journal.append(samples.repeat("i1")) == 4
        assert await journal.append(samples.repeat("i1"), samples.repeat("i1")) == 6
        assert await journal.waiting_count() == 1
        assert [entry.kind for entry in await journal.entries(incident="i1")] == ["joined", "incident"]
        assert [entry.seq for entry in await journal.entries(incident="i1", kinds=["alert", "joined"])] == [2, 4, 5, 6]
        assert len(await journal.entries()) == 6


async def test_a_journal_that_is_searched_by_an_older_index_is_given_the_one_of_now(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with opened(path) as journal:
        await journal.append(samples.entry(samples.incident("i1", "k", "f1")), samples.repeat("i1"))

    def indexes() -> set[str]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
            plan = connection.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM entries e WHERE e.seq > 0 AND e.kind <> 'alert' AND e.incident = 'i1'"
            ).fetchone()
            assert "USING INDEX entries_" in plan[3]
        return {name for name in found if name.startswith("entries_")}

    now = indexes()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX entries_told; CREATE INDEX entries_incident ON entries (incident) WHERE incident IS NOT NULL;"
        )
    assert indexes() != now
    async with opened(path) as journal:
        assert [entry.kind for entry in await journal.entries(incident="i1")] == ["incident"]
    assert indexes() == now

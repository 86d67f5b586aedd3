"""The journal from outside: what was appended is there, after a close, a crash and a rebuild; and hostile files."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journal import samples
from uici.journal import Entry, SQLiteJournal, open_journal
from uici.journal.location import file_system, is_network, path_of
from uici.model import ConfigurationError, IncidentState, JournalError, JournalInUseError


@contextlib.asynccontextmanager
async def opened(path: Path, **named: Any) -> AsyncIterator[SQLiteJournal]:
    journal = await open_journal(f"sqlite:///{path}", **named)
    try:
        yield journal
    finally:
        await journal.close()


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


# Hostile files and neighbours


async def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db"):
        with pytest.raises(JournalInUseError, match=rf"held by process {os.getpid()} .*; use that daemon"):
            await open_journal(f"sqlite:///{tmp_path}/j.db")
        (tmp_path / "link.db").symlink_to(tmp_path / "j.db")
        with pytest.raises(JournalInUseError):
            await open_journal(f"sqlite:///{tmp_path}/link.db")
    async with opened(tmp_path / "j.db"):
        pass


def _killed_after(number: int, program: str, path: Path) -> int:
    """Runs it until it has printed more than ``number``, kills it; gives the last number that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = 0
    with process, process.stdout:
        for line in process.stdout:
            last = int(line)
            if last > number:
                process.send_signal(signal.SIGKILL)
    return last


async def test_what_kill_9_leaves_holds_all_that_was_accepted(tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from tests.journal import samples
        from uici.journal import open_journal

        async def main():
            journal = await open_journal(f"sqlite:///{sys.argv[1]}")
            n = 0
            while True:
                seqs = await asyncio.gather(*(journal.append(samples.alert(str(n + i))) for i in range(8)))
                n += 8
                print(max(seqs), flush=True)

        asyncio.run(main())
    """
    accepted = _killed_after(200, program, tmp_path / "j.db")
    async with opened(tmp_path / "j.db") as journal:
        assert [entry.seq for entry in await journal.entries(limit=accepted)] == list(range(1, accepted + 1))


async def test_a_corrupted_file_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "j.db").write_bytes(b"hello" * 5000)
    with pytest.raises(JournalError, match="damaged or no journal: move it away"):
        await open_journal(f"sqlite:///{tmp_path}/j.db")


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(JournalError, match="another program"):
        await open_journal(f"sqlite:///{tmp_path}/j.db")


async def test_a_later_format_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db"):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="another version of UICI"):
        await open_journal(f"sqlite:///{tmp_path}/j.db")


@pytest.mark.parametrize("gone", ["j.db", "j.db-wal"])
async def test_a_journal_that_was_removed_accepts_nothing(tmp_path: Path, gone: str) -> None:
    async with opened(tmp_path / "j.db") as journal:
        await journal.append(samples.alert("1"))
        (tmp_path / gone).rename(tmp_path / "away")
        answers = await asyncio.gather(
            *(journal.append(samples.alert(str(n))) for n in range(3)), return_exceptions=True
        )
        assert all(isinstance(one, JournalError) and "nothing acts until then" in str(one) for one in answers)
        (tmp_path / "away").rename(tmp_path / gone)
        await journal.append(samples.alert("2"))
        assert [one.alert.fingerprint for one in await journal.waiting_alerts()] == ["1", "2"]


async def test_a_lock_of_another_program_is_an_error_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uici.journal.sqlite._PATIENCE", 0.05)
    async with opened(tmp_path / "j.db") as journal:
        with contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="another program has it open and locked"):
                await journal.append(samples.alert("1"))
            other.execute("ROLLBACK")
        await journal.append(samples.alert("2"))
        assert [one.alert.fingerprint for one in await journal.waiting_alerts()] == ["2"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_fails_every_append_and_nothing_half_is_left(small_disk: Path) -> None:
    async with opened(small_disk / "j.db") as journal:
        big = dataclasses.replace(samples.alert("big"), data={**samples.alert("big").data, "source": "x" * 30_000})
        written, refused = 0, None
        while refused is None and written < 200:
            try:
                await journal.append(big, big)
                written += 2
            except JournalError as error:
                refused = str(error)
        assert refused is not None
        assert "make room" in refused
        assert len(await journal.entries()) == written == await journal.waiting_count()


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_without_rights_is_named(closed_folder: Path) -> None:
    with pytest.raises(JournalError, match="give this user the folder"):
        await open_journal(f"sqlite:///{closed_folder}/j.db")


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="give this user the folder"):
        await open_journal(f"sqlite:///{tmp_path}/file/j.db")
    with pytest.raises(JournalError, match="is a folder"):
        await open_journal(f"sqlite:///{tmp_path}")


async def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db") as journal:
        pass
    with pytest.raises(JournalError, match="is closed"):
        await journal.append(samples.alert("1"))
    with pytest.raises(JournalError, match="is closed"):
        await journal.entries()


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /srv/with\\040space rw - nfs4 server:/export rw
31 22 0:41 / /home rw - fuse.sshfs host:/home rw
32 31 0:42 / /home/local rw - xfs /dev/sdb rw
33 22 0:43 / /mnt rw - tmpfs tmpfs rw
34 33 0:44 / /mnt rw - cifs //nas/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/var/lib/uici", "ext4", False),
        ("/srv/with space/uici", "nfs4", True),
        ("/home/anna", "fuse.sshfs", True),
        ("/home/local/anna", "xfs", False),
        ("/homelander", "ext4", False),
        ("/mnt", "cifs", True),
    ],
)
def test_the_file_system_of_a_folder(folder: str, kind: str, network: bool) -> None:
    assert file_system(Path(folder), MOUNTS) == kind
    assert is_network(kind) is network


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:40 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr("uici.journal.location._MOUNTS", table)
    with pytest.raises(JournalError, match=r"network file system \(nfs4\).*local disk"):
        await open_journal(f"sqlite:///{tmp_path}/j.db")


@pytest.mark.parametrize(
    ("url", "environ", "path"),
    [
        ("sqlite:////var/lib/uici/j.db", {}, "/var/lib/uici/j.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/uici:/other"}, "/var/lib/uici/journal.db"),
        ("", {"XDG_STATE_HOME": "/x"}, "/x/uici/journal.db"),
        ("", {"HOME": "/home/anna"}, "/home/anna/.local/state/uici/journal.db"),
    ],
)
def test_where_a_journal_lies(url: str, environ: dict[str, str], path: str) -> None:
    assert path_of(url, environ) == Path(path)


@pytest.mark.parametrize("url", ["/var/lib/j.db", "postgresql://x/y", "sqlite://x", "sqlite:///", "mysql:///x"])
def test_a_url_of_no_journal(url: str) -> None:
    with pytest.raises(ConfigurationError):
        path_of(url, {})

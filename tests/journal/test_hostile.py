"""The journal from outside: other holders, kill -9, files that are none, full disks and closed folders."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal import samples
from tests.journal.opened import opened
from uici.journal import open_journal
from uici.model import JournalError, JournalInUseError


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

"""The library's door: ``uici.connect`` with ``async with`` and with a plain ``with``."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

import uici
from tests.engine.rehearsal import CATALOG
from uici.model import ConfigurationError, JournalInUseError, Origin, Request, Status


async def test_async(folder: Path) -> None:
    async with uici.connect(CATALOG, journal=f"sqlite:///{folder}/journal.db") as infrastructure:
        result = await infrastructure.run("restart_service", service="web")
        assert result.ok
        assert result.origin.startswith("library:")
        asked = await infrastructure.run("stop_everything")
        assert asked.status is Status.REFUSED
    async with uici.connect(CATALOG, journal=f"sqlite:///{folder}/journal.db") as again:
        assert await again.journal.result(result.id) == result


async def test_where_the_journal_lies_may_be_a_reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CATALOG, folder / "catalog")
    (folder / "catalog" / "platform.yml").write_text('version: 1\njournal: {url: "${env:OF_MINE}"}\n')
    monkeypatch.setenv("OF_MINE", f"sqlite:///{folder}/of-mine.db")
    async with uici.connect(folder / "catalog"):
        assert (folder / "of-mine.db").exists()


def test_plain_and_from_several_threads(folder: Path) -> None:
    with uici.connect(CATALOG, journal=f"sqlite:///{folder}/journal.db") as infrastructure:
        assert infrastructure.run("service_status", service="web").answer["state"] == "running"
        found: list[bool] = []

        def restart(name: str) -> None:
            request = Request(operation="restart_once", parameters={"service": name})
            found.append(infrastructure.execute(request, Origin("human", "anna")).ok)

        threads = [threading.Thread(target=restart, args=(name,)) for name in ("web", "db", "web")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True, True, True]


async def test_plain_under_a_running_loop(folder: Path) -> None:
    def asked() -> bool:
        with uici.connect(CATALOG, journal=f"sqlite:///{folder}/journal.db") as infrastructure:
            return infrastructure.run("service_status", service="web").ok

    assert asked(), "as in a notebook"


def test_an_error_inside_lets_everything_go(folder: Path) -> None:
    url = f"sqlite:///{folder}/journal.db"
    with pytest.raises(ZeroDivisionError), uici.connect(CATALOG, journal=url):
        raise ZeroDivisionError
    with uici.connect(CATALOG, journal=url) as infrastructure:
        assert infrastructure.run("service_status", service="web").ok


async def test_a_journal_in_use_names_its_holder(folder: Path) -> None:
    url = f"sqlite:///{folder}/journal.db"
    async with uici.connect(CATALOG, journal=url):
        with pytest.raises(JournalInUseError, match="held by process"):
            async with uici.connect(CATALOG, journal=url):
                raise AssertionError("it was entered")
        with pytest.raises(JournalInUseError), uici.connect(CATALOG, journal=url):
            raise AssertionError("it was entered")
    assert not [one for one in threading.enumerate() if one.name == "uici"], "no loop is left running"


def test_a_catalog_that_does_not_hold_never_opens_the_journal(folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "operations.yml").write_text("version: 1\noperations: {x: 1}\n")
    with (
        pytest.raises(ConfigurationError),
        uici.connect(folder / "broken", journal=f"sqlite:///{folder}/journal.db"),
    ):
        raise AssertionError("it was entered")
    assert not (folder / "journal.db").exists()


async def test_a_task_that_still_runs_at_the_end_leaves_nothing_behind(folder: Path) -> None:
    url = f"sqlite:///{folder}/journal.db"
    async with uici.connect(CATALOG, journal=url) as infrastructure:
        task = asyncio.create_task(infrastructure.run("restart_service", service="web"))
        while not infrastructure.running():  # noqa: ASYNC110 - it begins when it begins
            await asyncio.sleep(0)
    result = await task
    assert result.ok, "a close waits for what runs"

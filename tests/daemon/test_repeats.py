"""Repeated alerts, from the journal's side: what says nothing new waits for nobody, and nothing is lost to that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.working import Working, working
from uici.model import Alert, IncidentState, JournalError


async def accept(work: Working, *alerts: Alert) -> list[str | None]:
    """As the webhook does; gives the incidents that knew them."""
    repeats = work.worker.repeats
    known = repeats.known(alerts)
    entries = [work.accepted(alert, incident=id) for alert, id in zip(alerts, known, strict=True)]
    names = [alert.fingerprint if id is None else None for alert, id in zip(alerts, known, strict=True)]
    await repeats.append(work.journal, names, entries)
    work.worker.wake()
    return known


async def escalated(work: Working) -> tuple[Alert, str]:
    """An alert that no runbook matches, and its open incident."""
    alert = work.alert("Nobody", service="web")
    await accept(work, alert)
    incident = await work.one(IncidentState.ESCALATED)
    await work.joined(1)
    return alert, incident.id


async def test_a_repeat_is_an_entry_of_its_incident_and_waits_for_nobody(folder: Path) -> None:
    async with working(folder) as work:
        alert, id = await escalated(work)
        assert await accept(work, alert, alert) == [id, id]
        assert len(await work.journal.waiting_alerts()) == 0
        entries = await work.journal.entries(kinds=["alert"])
        assert [entry.incident for entry in entries] == [None, id, id]
        await work.journal.rebuild()
        assert await work.journal.waiting_alerts() == []


@pytest.mark.parametrize(
    "other",
    [
        lambda work: work.alert("Nobody", service="web", resolved=True),
        lambda work: work.alert("Nobody", service="web", ago=60),
        lambda work: work.alert("Nobody", service="other"),
    ],
    ids=["resolved", "earlier", "another"],
)
async def test_what_says_something_new_is_none(folder: Path, other: Callable[[Working], Alert]) -> None:
    async with working(folder) as work:
        await escalated(work)
        assert await accept(work, other(work)) == [None]


async def test_a_firing_does_not_overtake_the_end_that_was_posted_before_it(folder: Path) -> None:
    async with working(folder) as work:
        alert, id = await escalated(work)
        end = work.alert("Nobody", service="web", resolved=True)
        assert await accept(work, end, alert) == [None, None]
        assert await accept(work, alert) == [None]
        work.sleeper.flow()
        (incident,) = await work.until(lambda found: found[0].reopened == 1)
        assert incident.id == id


async def test_what_an_earlier_process_accepted_is_not_overtaken_either(folder: Path) -> None:
    async with working(folder) as work:
        alert, _ = await escalated(work)
        end = work.alert("Nobody", service="web", resolved=True)
    async with working(folder, run=False) as work:
        await work.journal.append(work.accepted(end))
    async with working(folder) as work:
        assert await accept(work, alert) == [None]
        work.sleeper.flow()
        await work.until(lambda found: found[0].reopened == 1)


async def test_nothing_is_a_repeat_while_the_journal_may_say_something_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(folder) as work:
        alert, id = await escalated(work)

        async def fails(*_: object) -> int:
            raise JournalError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(work.journal, "append", fails)
            with pytest.raises(JournalError):
                await accept(work, work.alert("Nobody", service="other"))
        # Not written, so nothing of it waits.
        assert await accept(work, alert) == [id]
        assert await accept(work, work.alert("Nobody", service="other")) == [None]

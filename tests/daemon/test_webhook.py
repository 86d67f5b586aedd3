"""``POST /webhooks/alertmanager``: one bad alert costs the others nothing, and 2xx means durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.daemon.place import Door, alert, payload, serving
from uici.journal import open_journal

HOOK = "/webhooks/alertmanager"
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "daemon" / "webhook.yml").read_text())


def _body(case: dict[str, Any]) -> Any:
    if "body" in case:
        return case["body"]
    alerts = []
    for change in case["alerts"]:
        if isinstance(change, dict):
            merged = alert() | change
            alerts.append({key: value for key, value in merged.items() if value is not None})
        else:
            alerts.append(change)
    return payload(*alerts)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_payloads(door: Door, case: dict[str, Any]) -> None:
    status, said = await door.post(HOOK, _body(case))
    assert status == case["status"], said
    kinds = [entry.kind for entry in await door.daemon.journal.entries(kinds=["alert", "alert_refused"])]
    assert kinds.count("alert") == case.get("accepted", 0)
    if "path" in case:
        refused = said["errors"] if status == 422 else said["refused"]
        assert [one["path"] for one in refused] == [case["path"]]
        whole = "body" in case
        assert kinds.count("alert_refused") == (0 if whole else 1)
    if status == 200:
        assert said["accepted"] == case["accepted"]


async def test_accepted_alerts_are_in_the_journal_of_the_next_process(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    async with serving(folder) as door:
        status, said = await door.post(HOOK, payload(*[alert(fingerprint=f"f{n}") for n in range(10)]))
        assert (status, said["accepted"]) == (200, 10)
        url = door.daemon.catalog.platform.journal_url
    journal = await open_journal(url)
    try:
        alerts = await journal.entries(kinds=["alert"])
        assert {entry.data["alert"]["fingerprint"] for entry in alerts} == {f"f{n}" for n in range(10)}
        assert {entry.data["environment"] for entry in alerts} == {"local"}
    finally:
        await journal.close()


async def test_a_repeat_is_an_entry_of_the_incident_that_knows_it(door: Door) -> None:
    journal, one = door.daemon.journal, payload(alert(labels={"alertname": "Odd", "service": "nobody"}))
    await door.post(HOOK, one)
    async with asyncio.timeout(30):
        async for entry in journal.follow():
            if entry.kind == "joined":
                break
    assert (await door.post(HOOK, one))[1]["accepted"] == 1
    first, second = await journal.entries(kinds=["alert"])
    assert (first.incident, second.incident) == (None, entry.incident)
    assert await journal.waiting_alerts() == []
    shown = (await door.get(f"/api/v1/incidents/{entry.incident}"))[1]["entries"]
    assert "alert" not in [one["kind"] for one in shown]


async def test_an_alert_of_no_environment_is_recorded_without_one(catalog: Callable[..., Path]) -> None:
    async with serving(catalog(environment={"alerts": ['cluster="prod"']})) as door:
        status, _ = await door.post(HOOK, payload(alert()))
        assert status == 200
        entries = await door.daemon.journal.entries(kinds=["alert"])
        assert entries[0].data["environment"] is None


async def test_alerts_that_were_left_out_open_one_storm_and_escalate(door: Door) -> None:
    for _ in range(3):
        status, _ = await door.post(HOOK, payload(alert(), truncatedAlerts=7))
        assert status == 200
    storms = [one for one in await door.daemon.journal.incidents() if one.key == "storm"]
    assert len(storms) == 1
    assert storms[0].state == "escalated"
    assert "7 alerts" in storms[0].message
    escalations = await door.daemon.journal.entries(kinds=["escalation"], incident=storms[0].id)
    assert len(escalations) == 1


async def test_too_many_alerts_in_one_post_are_a_storm_too(catalog: Callable[..., Path]) -> None:
    async with serving(catalog(platform={"server": {"limits": {"alerts_per_post": 2}}})) as door:
        status, said = await door.post(HOOK, payload(*[alert(fingerprint=f"f{n}") for n in range(3)]))
        assert (status, said["code"]) == (413, "too_many_alerts")
        assert await door.daemon.journal.entries(kinds=["alert"]) == []
        assert [one.key for one in await door.daemon.journal.incidents()] == ["storm"]


async def test_many_posters_at_once_lose_nothing(door: Door) -> None:
    async def post(number: int) -> int:
        status, _ = await door.post(HOOK, payload(alert(service=f"nobody{number}", fingerprint=f"f{number}")))
        return status

    assert set(await asyncio.gather(*(post(number) for number in range(200)))) == {200}
    alerts = await door.daemon.journal.entries(kinds=["alert"])
    assert len({entry.data["alert"]["fingerprint"] for entry in alerts}) == 200


async def test_a_refused_alert_that_is_huge_is_kept_cut(door: Door) -> None:
    bad = alert(labels={"alertname": 5, "long": "x" * 100_000})
    status, _ = await door.post(HOOK, payload(alert(), bad))
    assert status == 200
    kept = (await door.daemon.journal.entries(kinds=["alert_refused"]))[0].data["alert"]
    assert kept["bytes"] > 100_000
    assert len(kept["cut"]) <= 16 * 1024

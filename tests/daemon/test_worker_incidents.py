"""Every transition of an incident, as timelines (tests/cases/incidents), and which environment an alert is about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.daemon import incidents
from uici.daemon.escalation import escalation
from uici.model import Alert, Environment, Incident, IncidentState, Operation, Reason, Resource, Result, epoch, rfc3339
from uici.planners import Conclusion, Verdict

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "incidents" / "timelines.yml").read_text())["cases"]
BEGIN = 1_800_000_000.0
SETTLE = 900.0
CHANGE = Operation.parse("restart_service", {"summary": "", "risk": "change", "parameters": {}})


def _alert(said: dict[str, Any]) -> Alert:
    until = said.get("until")
    return Alert(
        labels={"alertname": "Down"},
        fingerprint=said["f"],
        starts_at=rfc3339(BEGIN + said["since"]),
        status="firing" if until is None else "resolved",
        ends_at=None if until is None else rfc3339(BEGIN + until),
    )


def _result(said: dict[str, Any], now: str) -> Result:
    return Result.from_json(
        {
            "id": "r",
            "operation": "restart_service",
            "environment": "local",
            "origin": "runbook:x",
            "target": None,
            "risk": "change",
            "dry_run": False,
            "reason": None,
            "message": "",
            "answer": None,
            "verification": None,
            "undo": None,
            "approval": None,
            "started_at": now,
            "ended_at": now,
            "evidence": [],
            **{key: value for key, value in said.items() if key != "changed"},
        }
    )


def _moved(incident: Incident | None, step: dict[str, Any], confirm: bool) -> Incident:
    now = BEGIN + step["at"]
    if "alert" in step:
        alert = _alert(step["alert"])
        if incident is None or (incident.ended and not incidents.reopens(incident, alert)):
            return incidents.opened("i", alert, now, environment="local", target=None, previous=incident, settle=SETTLE)
        if incident.ended:
            return incidents.reopened(incident, alert, now)
        return incidents.joined(incident, alert, now, confirm=confirm)
    assert incident is not None
    if "tried" in step:
        incident = incidents.tried(incident, _result(step["tried"], rfc3339(now)), 0, step["tried"]["changed"])
    if "said" in step:
        said = Conclusion(verdict=Verdict(step["said"]["verdict"]), reason=step["said"].get("reason"), message="m")
        return incidents.concluded(incident, said, now, SETTLE, confirm=confirm)
    if "acting" in step:
        return incidents.acting(incident, "book", now)
    return incidents.due(incident, now) if "due" in step else incidents.given_back(incident, now)


@pytest.mark.parametrize(
    ("state", "waits_for", "then"),
    [
        ("watching", None, "open"),
        ("watching", "third", "watching"),  # it waits itself
        ("resolved", None, "open"),
        ("acting", None, "watching"),
        ("open", None, "watching"),
        ("escalated", None, "escalated"),
    ],
)
def test_what_waits_for_a_dependency(state: str, waits_for: str | None, then: str) -> None:
    opened = incidents.opened("i", _alert({"f": "a", "since": 0}), BEGIN, environment="local", target=None)
    said = Conclusion(verdict=Verdict.BLOCKED, reason="dependency", message="m", dependency=("db", None))
    waiting = incidents.blocked(opened, said, replace(opened, id="d"), BEGIN, SETTLE)
    dependency = replace(opened, id="d", state=IncidentState(state), waits_for=waits_for)
    assert incidents.dependency_moved(waiting, dependency, BEGIN + 1).state == then
    assert incidents.dependency_moved(waiting, None, BEGIN + 1).state == "open"


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_timeline(case: dict[str, Any]) -> None:
    incident: Incident | None = None
    for step in case["steps"]:
        before, incident = incident, _moved(incident, step, case.get("confirm", False))
        seen: dict[str, Any] = {
            "state": incident.state.value,
            "outcome": incident.outcome,
            "reason": incident.reason,
            "firing": len(incident.firing),
            "started": epoch(incident.started_at) - BEGIN,
            "same": incident is before,
            "reopened": incident.reopened,
            "reopens": incident.previous is None,
            "next": incidents.next_step(incident, {"restart_service": CHANGE}),
        }
        assert {key: seen[key] for key in step["is"]} == step["is"], step
        assert incident == Incident.from_json(incident.to_json())


def _environment(name: str, *alerts: str) -> Environment:
    return Environment.parse(name, {"executor": "docker", "settings": {}, "alerts": list(alerts)})


PLACES = {
    "prod": _environment("prod", 'cluster="prod"'),
    "stage": _environment("stage", 'cluster=~"stage|test"'),
    "odd": _environment("odd", 'cluster="test"'),
}


@pytest.mark.parametrize(
    ("cluster", "found"),
    [
        ("prod", "prod"),
        ("stage", "stage"),
        ("test", Reason.AMBIGUOUS_ENVIRONMENT),
        ("", Reason.UNKNOWN_ENVIRONMENT),
        ("prod\n", Reason.UNKNOWN_ENVIRONMENT),
        ("рrod", Reason.UNKNOWN_ENVIRONMENT),  # noqa: RUF001  Cyrillic, that is the point
    ],
)
def test_exactly_one_environment_is_meant(cluster: str, found: str | Reason) -> None:
    alert = Alert(labels={"cluster": cluster}, starts_at=rfc3339(BEGIN), fingerprint="f")
    answer = incidents.environment_of(alert, PLACES)
    assert (answer.name if isinstance(answer, Environment) else answer) == found


@pytest.mark.parametrize(
    ("labels", "own"),
    [
        ({"alertname": "UiciDown"}, True),
        ({"alertname": "UICIJournalFails"}, True),
        ({"alertname": "TargetDown", "job": "uici"}, True),
        ({"alertname": "ServiceDown", "job": "shop"}, False),
        ({}, False),
    ],
)
def test_which_alerts_are_about_uici_itself(labels: dict[str, str], own: bool) -> None:
    assert incidents.about_uici(Alert(labels=labels, starts_at=rfc3339(BEGIN), fingerprint="f")) is own


def test_two_names_of_one_thing_have_one_key() -> None:
    alert = Alert(labels={}, starts_at=rfc3339(BEGIN), fingerprint="f")
    one = Resource(engine="e", kind="container", id="1", name="web", owner="name/web")
    two = Resource(engine="e", kind="container", id="2", name="web", owner="name/web")
    assert incidents.key_of(alert, "a", one) == incidents.key_of(alert, "b", two)
    assert incidents.key_of(alert, "a", None) != incidents.key_of(alert, "b", None)


def test_an_escalation_is_bounded_whatever_an_alert_says() -> None:
    alert = Alert(
        labels={"alertname": "x" * 100_000},
        annotations={"summary": "y" * 100_000},
        starts_at=rfc3339(BEGIN),
        fingerprint="f",
    )
    incident = incidents.opened("i", alert, BEGIN, environment="local", target=None)
    data = escalation(incidents.escalated(incident, "brake", "m", BEGIN)).data
    assert len(data["title"]) <= 250
    assert len(data["message"]) <= 8000


def test_an_incident_carries_a_bounded_number_of_alerts() -> None:
    def one(number: int, resolved: bool = False) -> Alert:
        return _alert({"f": str(number), "since": number, **({"until": number + 1} if resolved else {})})

    incident = incidents.opened("i", one(0), BEGIN, environment="local", target=None)
    for number in range(500):
        incident = incidents.joined(incident, one(number), BEGIN)
    assert len(incident.alerts) == incidents.ALERTS
    incident = incidents.joined(incident, one(7, resolved=True), BEGIN)
    incident = incidents.joined(incident, one(600), BEGIN)
    assert len(incident.alerts) == incidents.ALERTS
    assert incident.alerts[-1].fingerprint == "600"

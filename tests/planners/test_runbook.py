"""The runbook planner: which Requests it makes after which Results, and what it concludes (cases as data)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.model import (
    Alert,
    Environment,
    Incident,
    IncidentState,
    Operation,
    Resource,
    Result,
    Runbook,
    Status,
)
from uici.planners import Conclusion, Proposal, choose, plan

NOW = "2026-11-25T18:00:00.000000000Z"
DATA = yaml.safe_load((Path(__file__).parents[1] / "cases" / "planners" / "cases.yml").read_text())
RISKS = {
    "service_status": "observe",
    "service_logs": "observe",
    "environment_health": "observe",
    "restart_service": "change",
    "rollback_service": "change",
}


def _operation(name: str, risk: str) -> Operation:
    target = {} if name == "environment_health" else {"target": {"parameter": "service", "namespace": "namespace"}}
    return Operation.parse(name, {"summary": "", "risk": risk, "parameters": {}, **target})


OPERATIONS = {name: _operation(name, risk) for name, risk in RISKS.items()}


def _result(request: Any, said: dict[str, Any]) -> Result:
    return Result.from_json(
        {
            "id": "r",
            "operation": request.operation,
            "environment": "local",
            "origin": "runbook:x",
            "target": None,
            "risk": None,
            "dry_run": False,
            "status": "done",
            "reason": None,
            "message": "as the case says",
            "answer": None,
            "verification": None,
            "undo": None,
            "approval": None,
            "started_at": NOW,
            "ended_at": NOW,
            "evidence": [],
            **said,
        }
    )


@pytest.mark.parametrize("case", DATA["cases"], ids=[case["name"] for case in DATA["cases"]])
async def test_a_plan(case: dict[str, Any]) -> None:
    runbook = case["runbook"] if isinstance(case["runbook"], dict) else DATA["runbooks"][case["runbook"]]
    labels = case.get("labels", {})
    target = None
    if "target" not in case:
        target = Resource(engine="e", kind="container", id="1", name="web", namespace="shop", labels=labels)
    definition = {"executor": "docker", "settings": {}, "dry_run": case.get("dry_run", False)}
    environment = Environment.parse("local", {**definition, "inventory": {"services": case.get("inventory", {})}})
    alert = Alert(labels={"alertname": "Down", "service": "web"}, starts_at=NOW, fingerprint="f")
    incident = Incident(
        id="i",
        key="k",
        environment="local",
        target=target,
        state=IncidentState.ACTING,
        alerts=(alert,),
        started_at=NOW,
        opened_at=NOW,
        changed_at=NOW,
    )
    planning = plan(
        incident, alert, Runbook.parse(runbook), environment, operations=OPERATIONS, start=case.get("start", 0)
    )
    said = await anext(planning)
    for operation, parameters, result in case["asks"]:
        assert isinstance(said, Proposal), said
        assert said.request.operation == operation
        assert parameters.items() <= said.request.parameters.items()
        changing = OPERATIONS[operation].risk != "observe"
        assert said.changing == changing
        assert (said.only_if is not None) == changing, "what must be seen goes with whatever changes something"
        if said.only_if is not None:
            assert target is not None
            assert said.only_if.operation == "service_status"
            assert said.only_if.parameters == {"service": target.name, "namespace": target.namespace}
            assert said.only_if.roots["alert"] == alert.to_json()
        assert said.request.dry_run == (environment.dry_run and changing)
        said = await planning.asend(_result(said.request, result))
    assert isinstance(said, Conclusion), said
    assert [said.verdict.value, said.reason] == case["concludes"]
    assert case.get("message", "") in said.message
    with pytest.raises(StopAsyncIteration):
        await anext(planning)


def _runbook(name: str, **more: Any) -> Runbook:
    return Runbook.parse({"name": name, **more})


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        ({"alertname": "HostDown"}, "first"),
        ({"alertname": "HostDown", "severity": "info"}, "rest"),
        ({"alertname": "hostdown"}, "rest"),
        ({"alertname": "off"}, "rest"),
    ],
)
def test_the_first_enabled_runbook_that_matches_is_chosen(labels: dict[str, str], chosen: str) -> None:
    runbooks = [
        _runbook("switched-off", enabled=False),
        _runbook("first", match=['alertname=~".+Down"', 'severity!="info"']),
        _runbook("second", match=['alertname="HostDown"', 'severity!="info"']),
        _runbook("rest"),
    ]
    found = choose(Alert(labels=labels, starts_at=NOW, fingerprint="f"), runbooks)
    assert found is not None
    assert found.name == chosen
    assert choose(Alert(labels=labels, starts_at=NOW, fingerprint="f"), runbooks[:1]) is None


async def test_a_label_is_data_and_never_an_expression() -> None:
    hostile = "${target.id}'; rm -rf / #{{ 7*7 }}\n"
    alert = Alert(labels={"alertname": "Down", "note": hostile}, starts_at=NOW, fingerprint="f")
    incident = Incident(
        id="i",
        key="k",
        environment="local",
        target=None,
        state=IncidentState.ACTING,
        alerts=(alert,),
        started_at=NOW,
        opened_at=NOW,
        changed_at=NOW,
    )
    runbook = _runbook("x", steps=[{"operation": "service_logs", "parameters": {"service": "${alert.labels.note}"}}])
    environment = Environment.parse("local", {"executor": "docker", "settings": {}})
    planning = plan(incident, alert, runbook, environment, operations=OPERATIONS)
    said = await anext(planning)
    assert isinstance(said, Proposal)
    assert said.request.parameters == {"service": hostile}
    await planning.aclose()


def test_every_status_has_a_case() -> None:
    told = {one[2].get("status", "done") for case in DATA["cases"] for one in case["asks"]}
    assert told == {status.value for status in Status}

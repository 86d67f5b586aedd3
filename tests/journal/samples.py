"""Entries as the engine, the webhook and the worker write them, short."""

from __future__ import annotations

import dataclasses
from typing import Any

from uici.journal import Entry
from uici.model import Alert, Incident, IncidentState

NOW = "2026-11-25T18:00:00.000000000Z"

OPERATION = {"summary": "Restart.", "risk": "change", "parameters": {"type": "object"}}
ENVIRONMENT = {"executor": "docker", "settings": {}}


def an_alert(fingerprint: str, **named: Any) -> Alert:
    return Alert(**{"labels": {"alertname": "Down"}, "starts_at": NOW, "fingerprint": fingerprint, **named})


def alert(fingerprint: str, environment: str | None = "local") -> Entry:
    return Entry(
        kind="alert",
        data={"alert": an_alert(fingerprint).to_json(), "environment": environment, "source": "alertmanager"},
    )


def repeat(incident: str) -> Entry:
    """An alert that says nothing new to that incident."""
    return dataclasses.replace(alert("f"), incident=incident)


def joined(seq: int, incident: str | None, *more: int) -> Entry:
    return Entry(kind="joined", data={"alert": seq, "fingerprint": "f", "more": list(more)}, incident=incident)


def incident(id: str, key: str, *fingerprints: str) -> Incident:
    return Incident(
        id=id,
        key=key,
        environment="local",
        target=None,
        state=IncidentState.OPEN,
        alerts=tuple(an_alert(one) for one in fingerprints),
        started_at=NOW,
        opened_at=NOW,
        changed_at=NOW,
    )


def entry(incident: Incident) -> Entry:
    return Entry(kind="incident", data=incident.to_json(), incident=incident.id)


def request(id: str, incident: str | None, parent: str | None = None) -> Entry:
    data = {
        "id": id,
        "now": NOW,
        "request": {
            "operation": "restart_service",
            "parameters": {},
            "environment": "local",
            "reason": "",
            "dry_run": False,
            "confirm": False,
        },
        "origin": "runbook:x",
        "may": ["operate"],
        "parameters": {},
        "operation": {"name": "restart_service", "definition": OPERATION},
        "translation": {"dialect": "docker", "definition": {"steps": []}},
        "environment": {"name": "local", "definition": ENVIRONMENT},
        "target": None,
        "incident": incident,
        "parent": parent,
        "engine": "e",
        "risk": "change",
    }
    return Entry(kind="request", data=data, request=id, incident=incident)


def intent(request: str, incident: str | None = None, key: str = "k") -> Entry:
    data = {
        "call": {"on": None, "path": "x.y", "arguments": {}, "risk": "change", "timeout": 1.0},
        "index": 0,
        "item": None,
        "touches": [],
        "deadline": 1.0,
        "engine": "e",
        "part": "steps",
        "key": key,
        "environment": "local",
        "operation": "restart_service",
        "risk": "change",
        "redo": False,
    }
    return Entry(kind="intent", data=data, request=request, incident=incident)


def result(
    request: str,
    *,
    incident: str | None = None,
    status: str = "done",
    verification: str | None = None,
    seen: bool = False,
) -> Entry:
    answer: dict[str, Any] = {
        "id": request,
        "operation": "restart_service",
        "environment": "local",
        "origin": "runbook:x",
        "target": None,
        "risk": "change",
        "dry_run": False,
        "status": status,
        "reason": None,
        "message": "",
        "answer": None,
        "verification": verification,
        "undo": None,
        "approval": None,
        "started_at": NOW,
        "ended_at": NOW,
        "evidence": [],
    }
    data = {"result": answer, "key": "k", "changed": True, "seen": seen, "started": NOW}
    return Entry(kind="result", data=data, request=request, incident=incident)


def escalation(id: str, incident: str | None = None) -> Entry:
    data = {
        "id": id,
        "reason": "unknown_target",
        "title": "t",
        "message": "m",
        "environment": "local",
        "incident": incident,
        "request": None,
    }
    return Entry(kind="escalation", data=data, incident=incident)

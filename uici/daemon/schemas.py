"""JSON Schemas of what the API takes and gives: the project's words as JSON. Data only; ``openapi`` publishes them."""

from __future__ import annotations

from typing import Any

from uici.journal import KINDS
from uici.model import Autonomy, IncidentState, Reason, Risk, Status, Verification

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
ANY_OBJECT: Schema = {"type": "object"}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def whole(properties: Schema, *, required: list[str] | None = None, more: bool = True) -> Schema:
    """An object; by default every property is always there."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        **({} if more else {"additionalProperties": False}),
    }


def page(name: str, item: Schema) -> Schema:
    """A list under its name; ``next`` is the ``before`` of the following page, null at the end."""
    return whole({name: listed(item), "next": MAYBE_TEXT})


EVIDENCE = whole(
    {"kind": TEXT, "name": TEXT, "verdict": TEXT, "at": TIME, "data": ANY_OBJECT},
    required=["kind", "name", "verdict", "at"],
)
RESULT = whole(
    {
        "id": TEXT,
        "operation": TEXT,
        "environment": MAYBE_TEXT,
        "origin": TEXT,
        "target": {"type": ["object", "null"]},
        "risk": {"enum": [*Risk, None]},
        "dry_run": FLAG,
        "status": {"enum": list(Status)},
        "reason": {"enum": [*Reason, None]},
        "message": TEXT,
        "answer": {},
        "verification": {"enum": [*Verification, None]},
        "undo": {"type": ["object", "null"]},
        "approval": {"type": ["object", "null"]},
        "started_at": TIME,
        "ended_at": TIME,
        "evidence": listed(named("Evidence")),
    }
)
RUNNING = whole(
    {
        "id": TEXT,
        "operation": TEXT,
        "environment": MAYBE_TEXT,
        "origin": TEXT,
        "dry_run": FLAG,
        "status": {"const": "running"},
        "started_at": TIME,
        "evidence": listed(named("Evidence")),
    }
)
REQUEST = whole(
    {
        "operation": {"type": "string", "minLength": 1, "maxLength": 128},
        "parameters": ANY_OBJECT,
        "environment": {"type": ["string", "null"], "maxLength": 128},
        "reason": {"type": "string", "maxLength": 4096},
        "dry_run": FLAG,
        "confirm": FLAG,
    },
    required=["operation"],
    more=False,
)
ALERT = whole(
    {
        "labels": {"type": "object", "additionalProperties": TEXT},
        "annotations": {"type": "object", "additionalProperties": TEXT},
        "status": {"enum": ["firing", "resolved"]},
        "starts_at": TIME,
        "ends_at": MAYBE_TIME,
        "fingerprint": TEXT,
        "generator_url": TEXT,
    }
)
RESOURCE = whole(
    {
        "engine": TEXT,
        "kind": TEXT,
        "id": TEXT,
        "name": TEXT,
        "namespace": MAYBE_TEXT,
        "names": listed(TEXT),
        "labels": {"type": "object", "additionalProperties": TEXT},
        "owner": TEXT,
    }
)
TRY = whole(
    {
        "request": TEXT,
        "operation": TEXT,
        "status": {"enum": list(Status)},
        "reason": {"enum": [*Reason, None]},
        "verification": {"enum": [*Verification, None]},
        "changed": FLAG,
        "step": {"type": ["integer", "null"]},
    }
)
INCIDENT = whole(
    {
        "id": TEXT,
        "key": TEXT,
        "environment": MAYBE_TEXT,
        "target": maybe(named("Resource")),
        "state": {"enum": list(IncidentState)},
        "alerts": listed(named("Alert")),
        "runbook": MAYBE_TEXT,
        "tried": listed(named("Try")),
        "reason": MAYBE_TEXT,
        "message": TEXT,
        "outcome": MAYBE_TEXT,
        "started_at": TIME,
        "opened_at": TIME,
        "changed_at": TIME,
        "ended_at": MAYBE_TIME,
        "watch_until": MAYBE_TIME,
        "previous": MAYBE_TEXT,
        "waits_for": MAYBE_TEXT,
        "reopened": COUNT,
    }
)
ENTRY = whole(
    {
        "seq": COUNT,
        "at": TIME,
        "kind": {"enum": sorted(KINDS)},
        "incident": MAYBE_TEXT,
        "request": MAYBE_TEXT,
        "data": ANY_OBJECT,
    }
)
OPERATION = whole(
    {
        "name": TEXT,
        "summary": TEXT,
        "risk": {"enum": list(Risk)},
        "target": {"type": ["object", "null"]},
        "idempotent": FLAG,
        "timeout_seconds": {"type": "number"},
        "parameters": ANY_OBJECT,
        "returns": ANY_OBJECT,
        "verified": FLAG,
        "undone": FLAG,
        "environments": listed(TEXT),
        "logs": listed(TEXT),
    }
)
HEALTH = whole({"ok": FLAG, "message": TEXT})
ENVIRONMENT = whole(
    {
        "name": TEXT,
        "default": FLAG,
        "executor": TEXT,
        "dialect": TEXT,
        "stage": TEXT,
        "autonomy": {"enum": list(Autonomy)},
        "dry_run": FLAG,
        "alerts": listed(TEXT),
        "operations": listed(TEXT),
        "paused": MAYBE_TEXT,
        "unchangeable": MAYBE_TEXT,
        "health": named("Health"),
    }
)
PROBLEM = whole(
    {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": TEXT,
        "errors": listed(whole({"path": TEXT, "message": TEXT})),
    },
    required=["type", "title", "status", "detail", "code"],
)
ALERTMANAGER = whole(
    {
        "version": {"const": "4"},
        "receiver": TEXT,
        "truncatedAlerts": COUNT,
        "alerts": listed(
            whole(
                {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": {"type": "object", "additionalProperties": TEXT, "minProperties": 1},
                    "annotations": {"type": "object", "additionalProperties": TEXT},
                    "startsAt": TIME,
                    "endsAt": TIME,
                    "generatorURL": TEXT,
                    "fingerprint": TEXT,
                },
                required=["labels", "startsAt"],
            )
        ),
    },
    required=["alerts"],
)
READY = whole(
    {
        "ready": FLAG,
        "not_ready": {"type": "object", "additionalProperties": TEXT},
        "warnings": {"type": "object", "additionalProperties": TEXT},
    },
    required=["ready"],
)

COMPONENTS: dict[str, Schema] = {
    "Alert": ALERT,
    "Entry": ENTRY,
    "Environment": ENVIRONMENT,
    "Evidence": EVIDENCE,
    "Health": HEALTH,
    "Incident": INCIDENT,
    "Operation": OPERATION,
    "Problem": PROBLEM,
    "Request": REQUEST,
    "Resource": RESOURCE,
    "Result": RESULT,
    "Running": RUNNING,
    "Try": TRY,
}

"""Every door of the daemon, one line each. OpenAPI, rights and metrics' labels all come from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uici.daemon import api, events, following, schemas, status, webhooks
from uici.daemon.routes import Route
from uici.daemon.schemas import FLAG, TEXT, listed, named, page, whole
from uici.journal import KINDS
from uici.model import IncidentState

_ALERTS, _OBSERVE, _OPERATE = frozenset({"alerts"}), frozenset({"observe"}), frozenset({"operate"})


def _some_of(words: Iterable[str]) -> str:
    one = "|".join(sorted(words))
    return f"^({one})(,({one}))*$"


_PAGED: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    "before": {"type": "string", "description": "The last id of the page before."},
}
_WAIT = {
    "wait": {
        "type": "string",
        "pattern": f"^{api.WAIT}$",
        "description": "How long to wait for the Result, such as 60s; at most 5m.",
    }
}
_ONE_ENVIRONMENT = {
    "type": "object",
    "properties": {"environment": {"type": ["string", "null"], "description": "null or missing: everywhere"}},
    "additionalProperties": False,
}
_NOTHING = {"type": "object"}

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/webhooks/alertmanager",
        handler=webhooks.post_alertmanager,
        summary="Alertmanager's webhook, version 4. 2xx only once the alerts are durable.",
        may=_ALERTS,
        body=schemas.ALERTMANAGER,
        answers={200: whole({"accepted": schemas.COUNT, "refused": listed(whole({"path": TEXT, "message": TEXT}))})},
        tag="alerts",
    ),
    Route(
        method="GET",
        path="/healthz",
        handler=status.get_healthz,
        summary="Alive.",
        answers={200: whole({"alive": FLAG})},
        tag="status",
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=status.get_readyz,
        summary="Able to work; names what is not to a token that may observe.",
        answers={200: schemas.READY, 503: schemas.READY},
        tag="status",
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=status.get_metrics,
        summary="Prometheus metrics.",
        may=frozenset({"metrics"}),
        answers={200: None},
        media="text/plain",
        tag="status",
    ),
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        handler=api.get_openapi,
        summary="This description.",
        may=_OBSERVE | _OPERATE,
        answers={200: _NOTHING},
    ),
    Route(
        method="GET",
        path="/api/v1/status",
        handler=status.get_status,
        summary="The daemon itself: version, catalog, what is not ready, who you are.",
        may=_OBSERVE,
        answers={200: _NOTHING},
        tag="status",
    ),
    Route(
        method="GET",
        path="/api/v1/operations",
        handler=api.list_operations,
        summary="What may be asked.",
        may=_OBSERVE,
        answers={200: whole({"operations": listed(named("Operation"))})},
    ),
    Route(
        method="GET",
        path="/api/v1/operations/{name}",
        handler=api.get_operation,
        summary="One operation.",
        may=_OBSERVE,
        answers={200: named("Operation")},
    ),
    Route(
        method="GET",
        path="/api/v1/environments",
        handler=api.list_environments,
        summary="Where operations run, and how each place does.",
        may=_OBSERVE,
        answers={200: whole({"environments": listed(named("Environment"))})},
    ),
    Route(
        method="GET",
        path="/api/v1/environments/{name}",
        handler=api.get_environment,
        summary="One environment.",
        may=_OBSERVE,
        answers={200: named("Environment")},
    ),
    Route(
        method="GET",
        path="/api/v1/environments/{name}/permissions",
        handler=api.get_permissions,
        summary="The rights that an environment's operations need at its engine, and which of them its login lacks.",
        may=_OBSERVE,
        answers={200: whole({"needed": listed(TEXT), "missing": listed(TEXT)})},
    ),
    Route(
        method="GET",
        path="/api/v1/requests",
        handler=api.list_requests,
        summary="Requests: those that run, then their Results, newest first.",
        may=_OBSERVE,
        query={**_PAGED, "incident": TEXT},
        answers={200: page("requests", {"anyOf": [named("Result"), named("Running")]})},
    ),
    Route(
        method="POST",
        path="/api/v1/requests",
        handler=api.post_request,
        summary="Ask for an operation.",
        may=_OBSERVE | _OPERATE,
        query=_WAIT,
        body=named("Request"),
        answers={200: named("Result"), 202: named("Running")},
    ),
    Route(
        method="GET",
        path="/api/v1/requests/{id}",
        handler=api.get_request,
        summary="One request: its Result, or that it runs.",
        may=_OBSERVE,
        query=_WAIT,
        answers={200: {"anyOf": [named("Result"), named("Running")]}},
    ),
    Route(
        method="GET",
        path="/api/v1/requests/{id}/logs",
        handler=following.get_logs,
        summary="What a request logs, as server-sent events; Last-Event-ID goes on from there, the event `end` is the last.",
        may=_OBSERVE,
        query={
            "after": {"type": "string", "pattern": following.AFTER, "description": "Id of the last event that is had."},
            "follow": {"enum": ["true", "false"], "default": "true", "description": "false: what there is now."},
        },
        answers={200: None},
        media="text/event-stream",
        tag="events",
    ),
    Route(
        method="POST",
        path="/api/v1/requests/{id}/cancel",
        handler=api.cancel_request,
        summary="Stop a request; what has begun is ended without leaving a doubt unrecorded.",
        may=_OPERATE,
        body=_NOTHING,
        answers={200: whole({"cancelled": FLAG})},
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/api/v1/plan",
        handler=api.post_plan,
        summary="What an alert (or Alertmanager's payload) would lead to; nothing is changed.",
        may=_OBSERVE,
        body={"type": ["object", "array"], "description": "Alertmanager's payload, a list of alerts, or one alert"},
        answers={200: whole({"plans": listed(_NOTHING)})},
    ),
    Route(
        method="GET",
        path="/api/v1/incidents",
        handler=api.list_incidents,
        summary="Incidents, newest first.",
        may=_OBSERVE,
        query={
            **_PAGED,
            "state": {"type": "string", "pattern": _some_of(IncidentState), "description": "States, with commas."},
        },
        answers={200: page("incidents", named("Incident"))},
    ),
    Route(
        method="GET",
        path="/api/v1/incidents/{id}",
        handler=api.get_incident,
        summary="One incident with its Results and entries: what happened and why.",
        may=_OBSERVE,
        answers={
            200: {
                "allOf": [
                    named("Incident"),
                    whole({"results": listed(named("Result")), "entries": listed(named("Entry"))}),
                ]
            }
        },
    ),
    Route(
        method="POST",
        path="/api/v1/incidents/{id}/reopen",
        handler=api.reopen_incident,
        summary="Give its target back to automation.",
        may=_OPERATE,
        person=True,
        body=_NOTHING,
        answers={200: whole({"reopened": TEXT})},
    ),
    Route(
        method="GET",
        path="/api/v1/approvals",
        handler=api.list_approvals,
        summary="What waits for approval: nothing yet; such a request ends as needs_approval.",
        may=_OBSERVE,
        answers={200: whole({"approvals": listed(_NOTHING)})},
    ),
    Route(
        method="POST",
        path="/api/v1/pause",
        handler=api.pause,
        summary="Stop all automation, in one environment or everywhere.",
        may=_OPERATE,
        body=_ONE_ENVIRONMENT,
        answers={200: whole({"paused": TEXT})},
    ),
    Route(
        method="POST",
        path="/api/v1/resume",
        handler=api.resume,
        summary="Let automation go on.",
        may=_OPERATE,
        person=True,
        body=_ONE_ENVIRONMENT,
        answers={200: whole({"resumed": TEXT})},
    ),
    Route(
        method="GET",
        path="/api/v1/events",
        handler=events.get_events,
        summary="The journal as server-sent events; the id is seq, Last-Event-ID goes on from there.",
        may=_OBSERVE,
        query={
            "after": {"type": "string", "pattern": "^[0-9]{1,18}$", "description": "seq after which to begin"},
            "kinds": {"type": "string", "pattern": _some_of(KINDS), "description": "Kinds of entries, with commas."},
            "incident": TEXT,
            "request": TEXT,
        },
        answers={200: None},
        media="text/event-stream",
        tag="events",
    ),
)

__all__ = ["ROUTES"]

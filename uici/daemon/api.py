"""``/api/v1``: the project's words as JSON, and requests in. What a Request may do is the engine's to decide."""

from __future__ import annotations

import re
import time
from typing import Any

from aiohttp import web

from uici.daemon import planning
from uici.daemon.alertmanager import PayloadError
from uici.daemon.problem import ProblemError, unavailable, wrong_shape
from uici.daemon.server import API_BODY, Daemon, answer, document, loads, read
from uici.daemon.status import healths
from uici.daemon.tokens import Caller
from uici.daemon.words import entry_json, environment_json, operation_json, unchangeable
from uici.engine.reopening import keys_of
from uici.journal import KINDS
from uici.model import (
    Environment,
    IncidentState,
    Request,
    duration,
)

#: Seconds that ``?wait=`` may ask for.
LONGEST_WAIT = 300.0
WAIT = "([0-9]{1,4}s|[0-9]{1,2}m)"
#: Alerts that one question may plan.
PLANS = 20
_PAGE = 1000
#: An alert that is an entry of an incident repeats what that knew.
_TELLING = sorted(KINDS - {"alert"})
_FIELDS = {"operation", "parameters", "environment", "reason", "dry_run", "confirm"}


# Reads


async def list_operations(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    catalog = daemon.catalog
    return answer({"operations": [operation_json(catalog, catalog.operations[name]) for name in catalog.operations]})


async def get_operation(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    name = request.match_info["name"]
    operation = daemon.catalog.operations.get(name)
    if operation is None:
        raise _missing("operation", name)
    return answer(operation_json(daemon.catalog, operation))


async def list_environments(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    return answer({"environments": [await _environment(daemon, one) for one in daemon.catalog.environments.values()]})


async def get_environment(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    name = request.match_info["name"]
    environment = daemon.catalog.environments.get(name)
    if environment is None:
        raise _missing("environment", name)
    return answer(await _environment(daemon, environment))


async def get_permissions(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    name = request.match_info["name"]
    if name not in daemon.catalog.environments:
        raise _missing("environment", name)
    needed, missing = await daemon.infrastructure.permissions(name)
    return answer({"needed": needed, "missing": missing})


async def _environment(daemon: Daemon, environment: Environment) -> dict[str, Any]:
    health = (await healths(daemon)).get(environment.name) if daemon.started else None
    paused = await daemon.journal.paused()
    return environment_json(daemon.catalog, environment) | {
        "paused": paused.get(environment.name) or paused.get(None),
        "unchangeable": await unchangeable(daemon.infrastructure, environment.name, health),
        "health": {"ok": health.ok, "message": health.message}
        if health
        else {"ok": False, "message": "not opened yet"},
    }


async def list_incidents(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    known = {state.value for state in IncidentState}
    states = request.query["state"].split(",") if "state" in request.query else []
    for state in states:
        if state not in known:
            raise wrong_shape("state", f"{state[:64]!r} is none of: {', '.join(sorted(known))}")
    limit = _limit(request)
    found = await daemon.journal.incidents(
        states=[IncidentState(state) for state in states], limit=limit, before=request.query.get("before")
    )
    return answer(
        {
            "incidents": [incident.to_json() for incident in found],
            "next": found[-1].id if len(found) == limit else None,
        }
    )


async def get_incident(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """The incident with every Result and every entry of it but repeated alerts, oldest first: what happened and why."""
    id = request.match_info["id"]
    incident = await daemon.journal.incident(id)
    if incident is None:
        raise _missing("incident", id)
    entries = await daemon.journal.entries(incident=id, limit=10_000, kinds=_TELLING)
    results = await daemon.journal.results(incident=id, limit=_PAGE)
    return answer(
        incident.to_json()
        | {
            "results": [result.to_json() for result in reversed(results)],
            "entries": [entry_json(entry) for entry in entries],
        }
    )


async def list_requests(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """Those that run here first, then those that ended; both newest first."""
    limit, before, incident = _limit(request), request.query.get("before"), request.query.get("incident")
    found = await daemon.journal.results(limit=limit, before=before, incident=incident)
    running = [one.to_json() for one in daemon.running.all()] if before is None and incident is None else []
    return answer(
        {
            "requests": [*running, *(result.to_json() for result in found)],
            "next": found[-1].id if len(found) == limit else None,
        }
    )


async def get_request(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    id = request.match_info["id"]
    one = daemon.running.get(id)
    wait = _wait(request)
    if one is not None:
        result = await daemon.running.wait(one, wait) if wait else None
        return answer(result.to_json() if result else one.to_json())
    ended = await daemon.journal.result(id)
    if ended is not None:
        return answer(ended.to_json())
    command = await daemon.journal.command(id)
    if command is None:
        raise _missing("request", id)
    return answer(
        {
            "id": command.id,
            "operation": command.operation.name,
            "environment": command.environment.name,
            "origin": str(command.origin),
            "dry_run": command.request.dry_run,
            "status": "running",
            "started_at": command.now,
            "evidence": [],
        }
    )


async def list_approvals(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """None: in this version nothing waits; what needs approval ends as `needs_approval`."""
    return answer({"approvals": []})


async def get_openapi(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    return web.Response(body=daemon.openapi, content_type="application/json")


# Changes


async def post_request(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """202 and where the Result will be; with ``?wait=`` the Result, if it ends in that time."""
    wait = _wait(request)
    asked = _request(await document(request))
    if not daemon.started or daemon.stopping:
        raise unavailable("stopping" if daemon.stopping else "starting", "the daemon takes no requests now; try again")
    one = daemon.running.submit(asked, caller.origin())
    where = {"Location": f"/api/v1/requests/{one.id}"}
    if wait:
        result = await daemon.running.wait(one, wait)
        if result is not None:
            return answer(result.to_json(), 200, where)
    else:
        await daemon.running.durable(one)
    return answer(one.to_json(), 202, where)


def _request(data: dict[str, Any]) -> Request:
    if unknown := sorted(set(data) - _FIELDS):
        raise wrong_shape(unknown[0][:64], f"not known here; a request has {', '.join(sorted(_FIELDS))}")
    operation, environment = data.get("operation"), data.get("environment")
    if not isinstance(operation, str) or not 0 < len(operation) <= 128:
        raise wrong_shape("operation", "the name of an operation is wanted; GET /api/v1/operations lists them")
    if environment is not None and (not isinstance(environment, str) or len(environment) > 128):
        raise wrong_shape("environment", "the name of an environment, or null for the default, is wanted")
    parameters, reason = data.get("parameters", {}), data.get("reason", "")
    if not isinstance(parameters, dict):
        raise wrong_shape("parameters", "an object is wanted")
    if not isinstance(reason, str) or len(reason) > 4096:
        raise wrong_shape("reason", "text of at most 4096 characters is wanted")
    for name in ("dry_run", "confirm"):
        if not isinstance(data.get(name, False), bool):
            raise wrong_shape(name, "true or false is wanted")
    return Request(
        operation=operation,
        parameters=parameters,
        environment=environment,
        reason=reason,
        dry_run=data.get("dry_run", False),
        confirm=data.get("confirm", False),
    )


async def post_plan(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """For each alert: what it would lead to. Nothing is changed."""
    if not daemon.started or daemon.stopping:
        raise unavailable("stopping" if daemon.stopping else "starting", "the daemon takes no requests now; try again")
    payload = loads(await read(request, API_BODY))
    now = time.time()
    try:
        post = planning.alerts_of(payload, now)
    except PayloadError as error:
        raise wrong_shape(error.path, error.message) from None
    if len(post.alerts) > PLANS:
        raise wrong_shape("alerts", f"at most {PLANS} at a time are planned")
    return answer({"plans": [await planning.planned(daemon.infrastructure, alert, now) for alert in post.alerts]})


async def cancel_request(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    id = request.match_info["id"]
    await document(request)
    if await daemon.infrastructure.cancel(id, str(caller.origin())):
        return answer({"cancelled": True})
    if await daemon.journal.result(id) is not None:
        raise ProblemError(409, "ended", f"the request {id} has ended; there is nothing to cancel")
    raise _missing("request", id)


async def pause(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    environment = await _named_environment(daemon, request)
    await daemon.infrastructure.pause(environment, str(caller.origin()))
    return answer({"paused": environment or "everywhere"})


async def resume(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    environment = await _named_environment(daemon, request)
    await daemon.infrastructure.resume(environment, str(caller.origin()))
    daemon.wake()
    return answer({"resumed": environment or "everywhere"})


async def _named_environment(daemon: Daemon, request: web.Request) -> str | None:
    data = await document(request)
    if unknown := sorted(set(data) - {"environment"}):
        raise wrong_shape(unknown[0][:64], "not known here; only `environment` is")
    name = data.get("environment")
    if name is not None and (not isinstance(name, str) or name not in daemon.catalog.environments):
        known = ", ".join(daemon.catalog.environments)
        raise wrong_shape("environment", f"there is no environment {str(name)[:128]!r}; there are: {known}")
    return name


async def reopen_incident(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    id = request.match_info["id"]
    await document(request)
    keys = await keys_of(daemon.journal, id)
    if not keys:
        raise _missing("incident", id)
    for key in keys:
        await daemon.infrastructure.reopen(key, str(caller.origin()))
    daemon.wake()
    return answer({"reopened": ", ".join(keys)})


# Bounds


def _missing(what: str, name: str) -> ProblemError:
    return ProblemError(404, "not_found", f"there is no {what} {name[:128]!r}; GET /api/v1/{what}s lists them")


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _PAGE):
        raise wrong_shape("limit", f"a whole number from 1 to {_PAGE} is wanted")
    return int(text)


def _wait(request: web.Request) -> float:
    text = request.query.get("wait")
    if text is None:
        return 0.0
    if not re.fullmatch(WAIT, text, re.ASCII):
        raise wrong_shape("wait", "a duration such as 60s or 2m is wanted")
    return min(duration(text), LONGEST_WAIT)

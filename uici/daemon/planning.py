"""What an alert would lead to: environment, target, runbook, and the first dry run. It looks; it never changes anything.

The same planner and the same engine as in earnest; only the first changing step is asked for as a dry run, and there it ends.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from uici.daemon import alertmanager
from uici.daemon.alertmanager import PayloadError, Post
from uici.daemon.incidents import about_uici, environment_of, opened
from uici.model import Alert, Environment, Incident, Origin, Resource, Runbook, UnreachableError, rfc3339
from uici.planners import Conclusion, choose, plan

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface


def alerts_of(payload: Any, now: float) -> Post:
    """Of Alertmanager's payload, a list of alerts, or one alert; a missing startsAt is ``now``. Raises PayloadError."""
    if isinstance(payload, dict) and "alerts" not in payload and "labels" in payload:
        payload = [payload]
    if isinstance(payload, list):
        payload = {"alerts": payload}
    if isinstance(payload, dict) and isinstance(payload.get("alerts"), list):
        payload = payload | {
            "alerts": [{"startsAt": rfc3339(now)} | one if isinstance(one, dict) else one for one in payload["alerts"]]
        }
    post = alertmanager.parse(payload)
    if post.refused:
        raise PayloadError(post.refused[0].path, post.refused[0].message)
    return post


async def planned(infrastructure: UniversalInfrastructureInterface, alert: Alert, now: float) -> dict[str, Any]:
    """The plan as JSON; ``conclusion.verdict`` is ``dry_run`` where a change would be made. Raises JournalError."""
    catalog = infrastructure.catalog
    environment = environment_of(alert, catalog.environments)
    runbook = choose(alert, catalog.runbooks)
    said: dict[str, Any] = {
        "alert": alert.to_json(),
        "environment": environment.name if isinstance(environment, Environment) else None,
        "target": None,
        "runbook": runbook.name if runbook else None,
        "steps": [],
    }

    def concluded(verdict: str, reason: str | None, message: str) -> dict[str, Any]:
        return said | {"conclusion": {"verdict": verdict, "reason": reason, "message": message}}

    if about_uici(alert):
        return concluded("escalate", "self", "an alert about UICI itself is recorded and escalated, never acted on")
    if not isinstance(environment, Environment):
        matching = "none" if environment.value.startswith("unknown") else "several"
        return concluded(
            "escalate",
            environment.value,
            f"{matching} of the environments match; see their `alerts` in environments.yml",
        )
    if runbook is None:
        return concluded("escalate", None, "no runbook matches; see `match` in runbooks.yml")
    try:
        target = await _target(infrastructure, environment, runbook, alert)
    except UnreachableError as error:
        return concluded("escalate", "unreachable", str(error))
    if target is None and runbook.target:
        present = [label for label in runbook.target if alert.labels.get(label)]
        return concluded(
            "escalate",
            "unknown_target",
            f"none of the labels {', '.join(present)} names exactly one service here"
            if present
            else f"the alert has none of the labels {', '.join(runbook.target)}",
        )
    said["target"] = target.to_json() if target else None
    incident = opened("plan", alert, now, environment=environment.name, target=target, runbook=runbook.name)
    return await _driven(infrastructure, said, incident, alert, runbook, environment)


async def _driven(
    infrastructure: UniversalInfrastructureInterface,
    said: dict[str, Any],
    incident: Incident,
    alert: Alert,
    runbook: Runbook,
    environment: Environment,
) -> dict[str, Any]:
    origin = Origin("runbook", runbook.name)
    planning = plan(incident, alert, runbook, environment, operations=infrastructure.catalog.operations)
    try:
        word = await anext(planning)
        while not isinstance(word, Conclusion):
            request = dataclasses.replace(word.request, dry_run=True) if word.changing else word.request
            result = await infrastructure.execute(request, origin, seen=word.seen)
            said["steps"].append({"changing": word.changing, "result": result.to_json()})
            if word.changing:
                message = f"{request.operation} would be tried first; what follows depends on how it ends"
                return said | {"conclusion": {"verdict": "dry_run", "reason": None, "message": message}}
            word = await planning.asend(result)
        return said | {"conclusion": {"verdict": word.verdict.value, "reason": word.reason, "message": word.message}}
    finally:
        await planning.aclose()


async def _target(
    infrastructure: UniversalInfrastructureInterface, environment: Environment, runbook: Runbook, alert: Alert
) -> Resource | None:
    """The first label that is present and locates exactly one thing."""
    for label in runbook.target:
        name = alert.labels.get(label)
        if not name:
            continue
        found = await infrastructure.locate(environment.name, "service", name)
        if len(found) == 1:
            return found[0]
    return None

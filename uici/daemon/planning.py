"""What an alert would lead to: environment, target, runbook, and the first dry run. It looks; it never changes anything.

The same planner and the same engine as in earnest; only the first changing step is asked for as a dry run, and there it ends.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from uici.daemon import alertmanager
from uici.daemon.alertmanager import PayloadError, Post
from uici.daemon.incidents import opened
from uici.daemon.placement import Placed, place_of
from uici.model import (
    Alert,
    ConfigurationError,
    Environment,
    Incident,
    Origin,
    Reason,
    Runbook,
    UnreachableError,
    rfc3339,
)
from uici.planners import Conclusion, plan

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
    said: dict[str, Any] = {"alert": alert.to_json(), "environment": None, "target": None, "runbook": None, "steps": []}
    try:
        place = await place_of(infrastructure, alert)
    except (UnreachableError, ConfigurationError) as error:
        place = Placed(reason=Reason.UNREACHABLE.value, message=str(error))
    said |= {
        "environment": place.environment,
        "target": place.target.to_json() if place.target else None,
        "runbook": place.runbook,
    }
    runbook = next((one for one in infrastructure.catalog.runbooks if one.name == place.runbook), None)
    if place.reason is not None or place.environment is None or runbook is None:
        return said | {"conclusion": {"verdict": "escalate", "reason": place.reason, "message": place.message}}
    environment = infrastructure.catalog.environments[place.environment]
    incident = opened("plan", alert, now, environment=environment.name, target=place.target, runbook=runbook.name)
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
            result = await infrastructure.execute(request, origin, only_if=word.only_if)
            said["steps"].append({"changing": word.changing, "result": result.to_json()})
            if word.changing:
                message = f"{request.operation} would be tried first; what follows depends on how it ends"
                return said | {"conclusion": {"verdict": "dry_run", "reason": None, "message": message}}
            word = await planning.asend(result)
        return said | {"conclusion": {"verdict": word.verdict.value, "reason": word.reason, "message": word.message}}
    finally:
        await planning.aclose()

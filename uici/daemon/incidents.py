"""What becomes of an incident: every transition as a pure function of it, a message and the time.

States and joins are those of SAFETY.md, "Alerts and incidents". Nothing here reads a clock, writes or waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from uici.journal import Entry
from uici.model import (
    Alert,
    Environment,
    Incident,
    IncidentState,
    Operation,
    Reason,
    Resource,
    Result,
    Risk,
    Status,
    Try,
    Verification,
    epoch,
    match_all,
    rfc3339,
)
from uici.planners import Conclusion, Verdict

#: Alerts that one incident carries; each change of it writes them all.
ALERTS = 100
#: Seconds in which the incident of a dependency may still appear, before a person is told that it is down.
DEPENDENCY_GRACE = 10.0
_NOT_TRIED = frozenset({Status.REFUSED.value, Status.NEEDS_APPROVAL.value})


def environment_of(alert: Alert, environments: Mapping[str, Environment]) -> Environment | Reason:
    """The one environment whose ``alerts`` all match; none or several is a reason, never a guess."""
    found = [one for one in environments.values() if match_all(one.alerts, alert.labels)]
    if len(found) == 1:
        return found[0]
    return Reason.AMBIGUOUS_ENVIRONMENT if found else Reason.UNKNOWN_ENVIRONMENT


def about_uici(alert: Alert) -> bool:
    """Alerts about UICI itself are recorded and escalated, never acted on."""
    return alert.name.lower().startswith("uici") or alert.labels.get("job", "").lower() == "uici"


def key_of(alert: Alert, environment: str | None, target: Resource | None) -> str:
    """Two names for one thing are one thing: the engine's id and the owner's, whatever the environment is called."""
    return target.key if target is not None else f"alert/{environment or '-'}/{alert.fingerprint}"


def opened(
    id: str,
    alert: Alert,
    now: float,
    *,
    environment: str | None,
    target: Resource | None,
    runbook: str | None = None,
    previous: Incident | None = None,
    settle: float = 0.0,
) -> Incident:
    """A new matter. ``previous``: the last incident of the same key, which has ended.

    One that begins within ``settle`` seconds of a recovery shows that this did not last, and brakes count it so.
    """
    lasted = previous is None or previous.outcome != "recovered" or previous.ended_at is None
    if previous is not None and previous.ended_at is not None and not lasted:
        lasted = epoch(alert.starts_at) - epoch(previous.ended_at) > settle
    return Incident(
        id=id,
        key=key_of(alert, environment, target),
        environment=environment,
        target=target,
        state=IncidentState.OPEN,
        alerts=(alert,),
        runbook=runbook,
        started_at=alert.starts_at,
        opened_at=rfc3339(now),
        changed_at=rfc3339(now),
        previous=previous.id if previous else None,
        reopened=previous.reopened + 1 if previous and not lasted else 0,
    )


def reopens(last: Incident, alert: Alert) -> bool:
    """A firing that began before that end: what ended had not lasted."""
    return alert.firing and last.ended_at is not None and alert.starts_at <= last.ended_at


def reopened(
    last: Incident,
    alert: Alert,
    now: float,
    *,
    environment: str | None = None,
    target: Resource | None = None,
    runbook: str | None = None,
) -> Incident:
    """The same matter again. Its place is the one found now where none had been found before."""
    again = _with(last, alert)
    if last.target is None:
        again = replace(
            again,
            key=key_of(alert, environment, target),
            environment=environment or last.environment,
            target=target,
            runbook=runbook or last.runbook,
        )
    return replace(
        again,
        state=IncidentState.OPEN,
        reason=None,
        message="it fired again: the end before this did not last",
        outcome=None,
        ended_at=None,
        watch_until=None,
        waits_for=None,
        reopened=last.reopened + 1,
        changed_at=rfc3339(now),
    )


def joined(incident: Incident, alert: Alert, now: float, *, confirm: bool = False) -> Incident:
    """The incident with this post; the very same where it says nothing new.

    ``confirm``: a Prometheus has to confirm a recovery first, so the incident stays ``watching``.
    """
    new = _with(incident, alert)
    if new is incident:
        return incident
    new = replace(new, changed_at=rfc3339(now))
    nothing_seen = new.state is IncidentState.WATCHING and new.reason == Reason.NOTHING_TO_DO.value
    if nothing_seen and alert.firing and not any(one.fingerprint == alert.fingerprint for one in incident.firing):
        return again(new, "another alert fires; looked at again", now)
    if new.firing or new.state in (IncidentState.ACTING, IncidentState.RESOLVED):
        return new
    if new.state is IncidentState.WATCHING and proved(new) and confirm:
        return new
    return gone(new, now)


def knows(incident: Incident, alert: Alert) -> bool:
    """Whether the alert says nothing new to it."""
    for one in incident.alerts:
        if one.fingerprint == alert.fingerprint and one == alert:
            return True  # the same post again, as nearly all of a storm's are
    return _with(incident, alert) is incident


def _with(incident: Incident, alert: Alert) -> Incident:
    """The newest post of each fingerprint; the earliest startsAt of one firing."""
    known = next((one for one in incident.alerts if one.fingerprint == alert.fingerprint), None)
    if alert.firing:
        if known is not None and known.firing and known.starts_at < alert.starts_at:
            alert = replace(alert, starts_at=known.starts_at)
    else:
        # It ends only a firing that began before its endsAt; a late one says nothing of a newer firing.
        if known is None or not known.firing or (alert.ends_at is not None and known.starts_at > alert.ends_at):
            return incident
        alert = replace(alert, starts_at=min(known.starts_at, alert.starts_at))
    if alert == known:
        return incident
    others = tuple(one for one in incident.alerts if one.fingerprint != alert.fingerprint)
    if len(others) >= ALERTS:
        over = next((one for one in others if not one.firing), None)
        if over is None:
            return incident  # its entry in the journal is enough; what this is about is known
        others = tuple(one for one in others if one is not over)
    return replace(incident, alerts=(*others, alert), started_at=min(incident.started_at, alert.starts_at))


def proved(incident: Incident) -> bool:
    """Whether the last change was verified: only then may an end count as a success."""
    last = next((one for one in reversed(incident.tried) if one.changed), None)
    return last is not None and last.status == Status.DONE.value and last.verification == Verification.RECOVERED.value


def gone(incident: Incident, now: float) -> Incident:
    """Its alerts are gone. Without a verified change that is no recovery: nobody knows why they went."""
    watched = incident.state in (IncidentState.WATCHING, IncidentState.ACTING)
    return ended(incident, "recovered" if watched and proved(incident) else "inconclusive", now)


def ended(incident: Incident, outcome: str, now: float, message: str | None = None) -> Incident:
    return replace(
        incident,
        state=IncidentState.RESOLVED,
        outcome=outcome,
        message=incident.message if message is None else message,
        ended_at=rfc3339(now),
        changed_at=rfc3339(now),
        watch_until=None,
        waits_for=None,
    )


def escalated(incident: Incident, reason: str, message: str, now: float) -> Incident:
    return replace(
        incident,
        state=IncidentState.ESCALATED,
        reason=str(reason),
        message=message,
        changed_at=rfc3339(now),
        watch_until=None,
        waits_for=None,
    )


def acting(incident: Incident, runbook: str, now: float) -> Incident:
    return replace(
        incident, state=IncidentState.ACTING, runbook=runbook, changed_at=rfc3339(now), watch_until=None, waits_for=None
    )


def waiting(incident: Incident, message: str, now: float) -> Incident:
    """Back to ``open``: its environment is paused."""
    return replace(
        incident, state=IncidentState.OPEN, reason=Reason.PAUSED.value, message=message, changed_at=rfc3339(now)
    )


def tried(incident: Incident, result: Result, step: int | None, changed: bool) -> Incident:
    one = Try(
        request=result.id,
        operation=result.operation,
        status=result.status.value,
        reason=result.reason.value if result.reason else None,
        verification=result.verification.value if result.verification else None,
        changed=changed,
        step=step,
    )
    return replace(incident, tried=(*incident.tried, one))


def next_step(incident: Incident, operations: Mapping[str, Operation]) -> int:
    """Index of the first changing step that was not tried in this incident."""
    done = [
        one.step
        for one in incident.tried
        if one.step is not None
        and one.status not in _NOT_TRIED
        and (one.changed or one.operation not in operations or operations[one.operation].risk > Risk.OBSERVE)
    ]
    return max(done, default=-1) + 1


def concluded(
    incident: Incident, conclusion: Conclusion, now: float, watch: float, *, confirm: bool = False
) -> Incident:
    """After a planner's last word. ``watch``: seconds that a verified change may wait for its alerts to go.

    ``confirm``: a Prometheus has to confirm a recovery first.
    """
    if conclusion.verdict is Verdict.ESCALATE:
        return escalated(incident, conclusion.reason or Reason.INCONCLUSIVE.value, conclusion.message, now)
    if not incident.firing and not (confirm and proved(incident)):
        return gone(replace(incident, message=conclusion.message), now)
    return replace(
        incident,
        state=IncidentState.WATCHING,
        reason=conclusion.reason,
        message=conclusion.message,
        changed_at=rfc3339(now),
        watch_until=rfc3339(now + watch),
        waits_for=None,
    )


def blocked(
    incident: Incident, conclusion: Conclusion, dependency: Incident | None, now: float, watch: float
) -> Incident:
    """Its cause lies in a dependency, whose own incident is waited for; without one, a person is told."""
    if not incident.firing:
        return gone(incident, now)
    if dependency is None or dependency.state is IncidentState.ESCALATED:
        return escalated(incident, "dependency", conclusion.message, now)
    return replace(
        incident,
        state=IncidentState.WATCHING,
        reason="dependency",
        message=f"{conclusion.message} (incident {dependency.id})",
        changed_at=rfc3339(now),
        watch_until=rfc3339(now + watch),
        waits_for=dependency.id,
    )


def dependency_moved(incident: Incident, dependency: Incident | None, now: float) -> Incident:
    """What follows for a waiting incident from the state of what it waits for; the same: wait on.

    A dependency that waits for one of its own has not recovered, though it is watched, too.
    """
    watched = dependency is not None and dependency.state is IncidentState.WATCHING and dependency.waits_for is None
    if dependency is None or watched or dependency.state is IncidentState.RESOLVED:
        return again(incident, "what it depends on has recovered; looked at again", now)
    if dependency.state is IncidentState.ESCALATED:
        return escalated(incident, "dependency", incident.message, now)
    return incident


def again(incident: Incident, message: str, now: float, reason: str | None = None) -> Incident:
    """To be planned again, from the first step that was not tried."""
    return replace(
        incident,
        state=IncidentState.OPEN,
        reason=reason,
        message=message,
        changed_at=rfc3339(now),
        watch_until=None,
        waits_for=None,
    )


def given_back(incident: Incident, now: float) -> Incident:
    """A person gave the target back to automation: an escalated incident begins anew, or ends where nothing fires."""
    if incident.state is not IncidentState.ESCALATED:
        return incident
    if not incident.firing:
        return ended(incident, "inconclusive", now)
    return replace(again(incident, "given back to automation by a person", now), tried=())


def due(incident: Incident, now: float) -> Incident:
    """A watched incident whose time is up; the same where it is not."""
    if (
        incident.state is not IncidentState.WATCHING
        or incident.watch_until is None
        or rfc3339(now) < incident.watch_until
    ):
        return incident
    if not incident.firing:
        return incident  # a Prometheus is being asked whether that is a recovery
    if incident.reason == Reason.NOTHING_TO_DO.value:
        message = f"still firing, though the trouble is not seen: {incident.message}"
        return escalated(incident, Reason.NOTHING_TO_DO.value, message, now)
    if incident.reason == "dependency":
        return escalated(incident, "dependency", f"still firing: {incident.message}", now)
    # Verified, but its alert still fires: it did not help. What was confirmed is not undone; the next step is tried.
    return again(incident, "verified, but still firing: it did not help", now, Reason.VERIFICATION.value)


def entry(incident: Incident) -> Entry:
    return Entry(kind="incident", data=incident.to_json(), incident=incident.id)


__all__ = [
    "DEPENDENCY_GRACE",
    "about_uici",
    "acting",
    "again",
    "blocked",
    "concluded",
    "dependency_moved",
    "due",
    "ended",
    "entry",
    "environment_of",
    "escalated",
    "given_back",
    "gone",
    "joined",
    "key_of",
    "knows",
    "next_step",
    "opened",
    "proved",
    "reopened",
    "reopens",
    "tried",
    "waiting",
]

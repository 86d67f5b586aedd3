"""What a person is told of an incident that needs one: the outbox's row. It must not send, nor decide who is told."""

from __future__ import annotations

from uici.journal import Entry
from uici.model import Incident, Try


def escalation(incident: Incident) -> Entry:
    """The outbox row of an escalated incident: one for each reason, until it is reopened."""
    about = incident.target.name if incident.target else "no known target"
    first = incident.alerts[0] if incident.alerts else None
    name = first.name if first else "storm"
    lines = [incident.message]
    if first is not None:
        lines += [f"{key}: {first.annotations[key]}" for key in ("summary", "description") if key in first.annotations]
    lines += [f"tried: {_said(one)}" for one in incident.tried if one.step is not None]
    lines.append(
        f"incident {incident.id}, firing since {incident.started_at}; `uici incidents {incident.id}` shows all"
    )
    return Entry(
        kind="escalation",
        data={
            "id": f"{incident.id}-{incident.reason}-{incident.reopened}-{len(incident.tried)}",
            "reason": incident.reason,
            "title": f"{name}: {about} in {incident.environment or 'no environment'} needs a person ({incident.reason})"[
                :250
            ],
            "message": "\n".join(lines)[:8000],
            "environment": incident.environment,
            "incident": incident.id,
            "request": incident.tried[-1].request if incident.tried else None,
        },
        incident=incident.id,
    )


def _said(one: Try) -> str:
    why = f" ({one.reason})" if one.reason else ""
    return f"{one.operation}: {one.status}{why}{', ' + one.verification if one.verification else ''}"

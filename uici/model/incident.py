"""Incident: the open matter of one environment and target. Immutable; a change is a new value (``dataclasses.replace``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.model.alert import Alert
from uici.model.record import dataclass
from uici.model.resource import Resource
from uici.model.words import UNENDED, IncidentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One Request that the incident's planner made, and how it ended (short; the Result is in the journal).

    ``step``: index of the runbook's step; None for what was only asked (``only_if``, a dependency's state).
    """

    request: str
    operation: str
    status: str
    reason: str | None
    verification: str | None
    changed: bool
    step: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request,
            "operation": self.operation,
            "status": self.status,
            "reason": self.reason,
            "verification": self.verification,
            "changed": self.changed,
            "step": self.step,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """``key``: the target's ``Resource.key`` (engine and topmost owner), or the alert's fingerprint where no target was found.

    ``alerts``: the newest post of each fingerprint. ``started_at``: the earliest startsAt of its alerts.
    ``watch_until``: RFC 3339; a ``watching`` incident that still fires then did not recover.
    ``previous``: id of the incident that this one follows, on the same key.
    ``reopened``: how often a success did not last, those of ``previous`` included where it was followed too soon.
    ``waits_for``: id of the incident of what this target depends on.
    """

    id: str
    key: str
    environment: str | None
    target: Resource | None
    state: IncidentState
    alerts: tuple[Alert, ...]
    runbook: str | None = None
    tried: tuple[Try, ...] = ()
    reason: str | None = None
    message: str = ""
    outcome: str | None = None
    started_at: str
    opened_at: str
    changed_at: str
    ended_at: str | None = None
    watch_until: str | None = None
    previous: str | None = None
    reopened: int = 0
    waits_for: str | None = None

    @property
    def ended(self) -> bool:
        return self.state not in UNENDED

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.alerts if alert.firing)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "key": self.key,
            "environment": self.environment,
            "target": self.target.to_json() if self.target else None,
            "state": self.state.value,
            "alerts": [alert.to_json() for alert in self.alerts],
            "runbook": self.runbook,
            "tried": [one.to_json() for one in self.tried],
            "reason": self.reason,
            "message": self.message,
            "outcome": self.outcome,
            "started_at": self.started_at,
            "opened_at": self.opened_at,
            "changed_at": self.changed_at,
            "ended_at": self.ended_at,
            "watch_until": self.watch_until,
            "previous": self.previous,
            "reopened": self.reopened,
            "waits_for": self.waits_for,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Incident:
        return cls(
            **{
                **data,
                "target": Resource.from_json(data["target"]) if data["target"] else None,
                "state": IncidentState(data["state"]),
                "alerts": tuple(Alert.from_json(alert) for alert in data["alerts"]),
                "tried": tuple(Try(**one) for one in data["tried"]),
            }
        )

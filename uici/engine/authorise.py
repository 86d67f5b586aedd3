"""Authorise: may this origin do this, here, now? Pure; asked twice, with the Request and with each pinned Call.

The formula is DESIGN.md's "Who may do what". The answer is the list of gates in order, the first that does not pass
last. It must not look anything up: everything it needs is in the Question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uici.catalog.expressions import condition, reads
from uici.journal import Attempt
from uici.model import (
    Environment,
    ExpressionError,
    Operation,
    Origin,
    Policies,
    Reason,
    Request,
    Resource,
    Risk,
    Status,
    rfc3339,
)
from uici.model.record import dataclass

#: Verdicts of an attempt that helped nobody, whoever asked for it.
UNHELPFUL = frozenset({"running", "not_recovered", "inconclusive", "failed", "in_doubt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``attempts``: what the journal has of this key (and environment), the asking request left out.

    ``key``: of the target, or of the whole engine where there is none; None: the target's.
    ``touched``: what a pinned Call touches. ``undo``: a change is taken back; brakes, pause and autonomy were the change's.
    ``at``: seconds since the epoch; ``now``: RFC 3339.
    """

    request: Request
    origin: Origin
    environment: Environment
    operation: Operation
    risk: Risk
    target: Resource | None
    policies: Policies
    key: str | None = None
    touched: Sequence[Resource] = ()
    attempts: Sequence[Attempt] = ()
    paused_by: str | None = None
    closed_because: str | None = None
    undo: bool = False
    at: float
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """``status`` None: passed."""

    name: str
    status: Status | None = None
    reason: Reason | None = None
    message: str = ""


def authorise(question: Question) -> list[Gate]:
    """Every gate up to the first that does not pass; only the last may be one that does not."""
    gates: list[Gate] = []
    for gate in (_permission, _paused, _closed, _autonomy, _policy, _brakes):
        verdict = gate(question)
        gates.append(verdict)
        if verdict.status is not None:
            break
    return gates


def _permission(question: Question) -> Gate:
    needed = "observe" if question.risk is Risk.OBSERVE else "operate"
    if needed in question.origin.may:
        return Gate(name="permission")
    return Gate(
        name="permission",
        status=Status.REFUSED,
        reason=Reason.PERMISSION,
        message=f"{question.origin} may not {needed}; give its token `may: [{needed}]` in platform.yml, or ask somebody who may",
    )


def _paused(question: Question) -> Gate:
    if question.paused_by is None or question.risk is Risk.OBSERVE or question.origin.person or question.undo:
        return Gate(name="paused")
    return Gate(
        name="paused",
        status=Status.REFUSED,
        reason=Reason.PAUSED,
        message=f"automation in {question.environment.name} was paused by {question.paused_by}; `uici resume` lets it go on",
    )


def _closed(question: Question) -> Gate:
    if question.closed_because is None or question.risk is Risk.OBSERVE or question.origin.person or question.undo:
        return Gate(name="closed")
    return Gate(
        name="closed",
        status=Status.REFUSED,
        reason=Reason.CLOSED,
        message=f"closed to automation: {question.closed_because}; look at it, then `uici reopen` gives it back",
    )


def _autonomy(question: Question) -> Gate:
    if question.undo:
        return Gate(name="autonomy")
    if question.origin.person:
        if question.risk is not Risk.DESTROY or question.request.confirm:
            return Gate(name="autonomy")
        return Gate(
            name="autonomy",
            status=Status.REFUSED,
            reason=Reason.AUTONOMY,
            message=f"{question.operation.name} may destroy something; confirm it with --yes, or "
            '"confirm": true in the API',
        )
    if question.environment.autonomy.covers(question.risk):
        return Gate(name="autonomy")
    return Gate(
        name="autonomy",
        status=Status.NEEDS_APPROVAL,
        reason=Reason.AUTONOMY,
        message=f"{question.risk.value} in {question.environment.name} is above its autonomy "
        f"({question.environment.autonomy.value}) for {question.origin}: a person has to ask for it, or raise `autonomy`",
    )


def _policy(question: Question) -> Gate:
    resources: list[Resource | None] = [question.target] if question.target else []
    resources += [one for one in question.touched if one not in resources]
    effects = [_first_match(question, resource) for resource in resources or [None]]
    for effect, status in (("deny", Status.REFUSED), ("require_approval", Status.NEEDS_APPROVAL)):
        for found, rule, why in effects:
            if found == effect:
                return Gate(
                    name="policy", status=status, reason=Reason.POLICY, message=why or f"rule {rule!r}: {effect}"
                )
    return Gate(name="policy")


def _first_match(question: Question, target: Resource | None) -> tuple[str, str, str]:
    """Effect, name and message of the first rule that matches for this target; an error in ``when`` refuses."""
    roots = _roots(question, target) if question.policies.rules else {}
    for rule in question.policies.rules:
        try:
            if target is None and "target" in reads(rule.when):
                continue
            if condition(rule.when, roots):
                return rule.effect, rule.name, ""
        except ExpressionError as error:
            return (
                "deny",
                rule.name,
                f"rule {rule.name!r} could not be decided: {error}; nothing is done while it cannot",
            )
    return "allow", "", ""


def _roots(question: Question, target: Resource | None) -> Mapping[str, Any]:
    key = _key(question)
    roots: dict[str, Any] = {
        "request": {**question.request.to_json(), "environment": question.environment.name},
        "operation": {
            "name": question.operation.name,
            "risk": question.risk.value,
            "summary": question.operation.summary,
        },
        "environment": {
            "name": question.environment.name,
            "stage": question.environment.stage,
            "executor": question.environment.executor,
            "dialect": question.environment.dialect,
            "autonomy": question.environment.autonomy.value,
            "variables": dict(question.environment.variables),
        },
        "origin": {
            "kind": question.origin.kind,
            "name": question.origin.name,
            "person": question.origin.person,
        },
        "history": history([one for one in question.attempts if key is None or one.key == key]),
        "now": question.now,
    }
    if target is not None:
        service = question.environment.services.get(target.name)
        labels = {**target.labels, **(service.labels if service else {})}
        roots["target"] = {**target.to_json(), "labels": labels}
    return roots


def _there(question: Question, attempt: Attempt) -> bool:
    """Whether it was tried on the same engine, by whatever environment's name."""
    engine = question.target.engine if question.target else (question.key or "").removesuffix("|")
    same = engine != "" and attempt.key.startswith(f"{engine}|")
    return same or attempt.environment == question.environment.name


def _key(question: Question) -> str | None:
    return question.key or (question.target.key if question.target else None)


def history(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The root ``history`` of policy rules."""
    counted = [attempt.verdict for attempt in attempts]
    return {
        "attempts": len(counted),
        "recovered": counted.count("recovered"),
        "not_recovered": counted.count("not_recovered") + counted.count("failed"),
        "inconclusive": counted.count("inconclusive") + counted.count("in_doubt"),
        "last_at": rfc3339(max(attempt.at for attempt in attempts)) if attempts else "",
    }


def _brakes(question: Question) -> Gate:
    if question.undo:
        return Gate(name="brake")
    key = _key(question)
    for brake in question.policies.brakes:
        if question.risk < brake.min_risk:
            continue
        counted = [
            attempt
            for attempt in question.attempts
            if attempt.at > question.at - brake.within
            and Risk(attempt.risk) >= brake.min_risk
            and ("target" not in brake.per or (key is not None and attempt.key == key))
            and ("environment" not in brake.per or _there(question, attempt))
            and ("operation" not in brake.per or attempt.operation == question.operation.name)
            # A person's change that worked is no sign of flapping; automation's, where no trouble had been seen, is.
            and (
                attempt.verdict in UNHELPFUL or (attempt.verdict == "done" and not attempt.origin.startswith("human:"))
            )
        ]
        if len(counted) >= brake.at_most:
            return Gate(
                name="brake",
                status=Status.REFUSED,
                reason=Reason.BRAKE,
                message=f"brake {brake.name!r}: {len(counted)} attempts within {brake.within:.0f} s did not help "
                f"(at most {brake.at_most}); find the cause first",
            )
    return Gate(name="brake")

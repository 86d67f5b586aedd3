"""The runbook planner: an alert's runbook as a sequence of Requests, each decided with the Results before it.

Trouble must have been *seen*: ``only_if`` is asked first, and goes with each change, right before which the engine asks it
again. A service whose cause lies in another is not restarted in vain. It must not execute anything, nor decide what may
run: ``engine.execute`` does both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uici.catalog.expressions import condition, render
from uici.model import (
    Alert,
    Environment,
    ExpressionError,
    Incident,
    OnlyIf,
    Operation,
    Reason,
    Request,
    Resource,
    Result,
    Risk,
    Runbook,
    Status,
    Verification,
    in_short,
    match_all,
)
from uici.planners.proposal import Conclusion, Planning, Proposal, Verdict

#: The operation by which a dependency is looked at; where an environment does not offer it, nothing is asked.
STATUS = "service_status"
_DOWN = ("stopped", "failed", "paused")
_COMPOSE = "com.docker.compose.depends_on"


def choose(alert: Alert, runbooks: Iterable[Runbook]) -> Runbook | None:
    """The first enabled runbook that matches, in the catalog's order."""
    return next((one for one in runbooks if one.enabled and match_all(one.match, alert.labels)), None)


def after(result: Result) -> Conclusion | None:
    """What follows from a changing step's Result; None: the next step."""
    reason = result.reason.value if result.reason else result.status.value
    undo_failed = result.undo is not None and result.undo.get("status") != Status.DONE
    match result.status:
        case Status.REFUSED if result.reason is Reason.NOTHING_TO_DO:
            return Conclusion(verdict=Verdict.NOTHING_TO_DO, reason=reason, message=result.message)
        case Status.DONE if result.dry_run:
            return Conclusion(verdict=Verdict.ESCALATE, reason="dry_run", message=_shadow(result))
        case Status.DONE:
            return Conclusion(verdict=Verdict.CHANGED, message=result.message)
        case Status.UNVERIFIED if result.verification is Verification.NOT_RECOVERED and not undo_failed:
            return None
        case Status.FAILED if result.reason is not Reason.CANCELLED and not undo_failed:
            return None
    return Conclusion(verdict=Verdict.ESCALATE, reason=reason, message=f"{result.operation}: {result.message}")


async def plan(
    incident: Incident,
    alert: Alert,
    runbook: Runbook,
    environment: Environment,
    *,
    operations: Mapping[str, Operation],
    start: int = 0,
) -> Planning:
    """Proposals in order, then one Conclusion. ``start``: changing steps before this index were tried already."""
    plan = _Plan(incident, alert, runbook, environment, operations)
    changes = any(plan.changing(step.operation) for step in runbook.steps[start:])
    try:
        if runbook.only_if is not None:
            plan.result = yield plan.only_if()
            if (said := plan.seen()) is not None:
                yield said
                return
        for name, namespace in plan.dependencies() if changes and STATUS in operations else ():
            plan.result = yield plan.status_of(name, namespace)
            if (said := plan.blocked_by(name, namespace)) is not None:
                yield said
                return
        for index, step in enumerate(runbook.steps):
            changing = plan.changing(step.operation)
            if changing and index < start:
                continue
            if step.when is not None and not condition(step.when, plan.roots):
                if step.as_ is not None:  # null, so that a later `when` may ask first whether it was taken at all
                    plan.roots.setdefault(step.as_, None)
                continue
            if changing and (said := plan.forbidden(step.operation)) is not None:
                yield said
                return
            plan.result = yield plan.propose(step.operation, step.parameters, index, changing)
            plan.learn(step.as_)
            if changing and plan.result is not None:
                if (said := after(plan.result)) is not None:
                    yield plan.told(said)
                    return
                plan.last_change = plan.result
        yield plan.exhausted(start)
    except ExpressionError as error:
        if plan.target is None and runbook.target:
            yield plan.no_target()
            return
        yield plan.escalate(Reason.SCHEMA, f"runbook {runbook.name!r} could not be decided: {error}")


class _Plan:
    """What is known on the way: roots of the expressions, findings for people, the last Result."""

    def __init__(
        self,
        incident: Incident,
        alert: Alert,
        runbook: Runbook,
        environment: Environment,
        operations: Mapping[str, Operation],
    ) -> None:
        self.incident, self.alert, self.runbook, self.environment = incident, alert, runbook, environment
        self.operations = operations
        self.target = incident.target
        self.result: Result | None = None
        self.last_change: Result | None = None
        self.found: list[str] = []
        self.roots: dict[str, Any] = {
            "alert": alert.to_json(),
            "environment": {"name": environment.name, "variables": dict(environment.variables)},
        }
        if self.target is not None:
            self.roots["target"] = _target_root(self.target, environment)

    # Proposing

    def changing(self, operation: str) -> bool:
        known = self.operations.get(operation)
        return known is None or known.risk > Risk.OBSERVE

    def propose(
        self, operation: str, template: Mapping[str, Any], step: int | None = None, changing: bool = False
    ) -> Proposal:
        parameters = dict(render(template, self.roots))
        known = self.operations.get(operation)
        place = known.target.namespace if known is not None and known.target is not None else None
        if place is not None and place not in parameters and self.target is not None and self.target.namespace:
            parameters[place] = self.target.namespace
        request = Request(
            operation=operation,
            parameters=parameters,
            environment=self.environment.name,
            reason=f"{self.alert.name}, runbook {self.runbook.name}",
            dry_run=self.environment.dry_run and changing,
        )
        return Proposal(
            request=request, step=step, changing=changing, only_if=self._must_be_seen() if changing else None
        )

    def _must_be_seen(self) -> OnlyIf | None:
        """``only_if`` as the engine asks it again right before the change, whatever was asked since."""
        asked = self.runbook.only_if
        if asked is None or asked.expect is None:
            return None
        parameters = self.only_if().request.parameters
        return OnlyIf(operation=asked.operation, parameters=parameters, expect=asked.expect, roots=self.roots)

    def only_if(self) -> Proposal:
        asked = self.runbook.only_if
        if asked is None:
            raise ExpressionError("only_if is missing")
        return self.propose(asked.operation, asked.parameters)

    def status_of(self, name: str, namespace: str | None) -> Proposal:
        known = self.operations[STATUS].target
        parameters: dict[str, Any] = {known.parameter if known else "service": name}
        if namespace and known and known.namespace:
            parameters[known.namespace] = namespace
        request = Request(
            operation=STATUS,
            parameters=parameters,
            environment=self.environment.name,
            reason=f"{self._name()} depends on it",
        )
        return Proposal(request=request)

    def dependencies(self) -> list[tuple[str, str | None]]:
        """Names and namespaces of what the target needs: the inventory's word, the engine's, and the Compose label's."""
        if self.target is None:
            return []
        service = self.environment.services.get(self.target.name)
        found: dict[str, str | None] = dict.fromkeys(service.depends_on if service else ())
        once = set()
        for one in filter(None, self.target.labels.get(_COMPOSE, "").split(",")):
            name, _, how = one.partition(":")
            # One that runs once and ends well is stopped, and nothing is wrong with that.
            if how.startswith("service_completed_successfully"):
                once.add(name.strip())
            else:
                found.setdefault(name.strip(), self.target.namespace)
        answer = self.result.answer if self.result is not None else None
        told = answer.get("depends_on") if isinstance(answer, Mapping) else None
        for name in told if isinstance(told, list) else ():
            if isinstance(name, str) and name not in once:
                found.setdefault(name, self.target.namespace)
        return [(name, namespace) for name, namespace in found.items() if name and name != self.target.name]

    # Judging

    def seen(self) -> Conclusion | None:
        """Of ``only_if``'s Result: None when the trouble was seen."""
        result, asked = self.result, self.runbook.only_if
        if result is None or asked is None or asked.expect is None:
            return self.escalate(Reason.INCONCLUSIVE, "only_if cannot be asked")
        if result.status is not Status.DONE:
            return self.escalate(
                result.reason or Reason.INCONCLUSIVE, f"{asked.operation} gave no answer: {result.message}"
            )
        if condition(asked.expect, {**self.roots, "answer": result.answer}):
            return None
        return self.told(
            Conclusion(
                verdict=Verdict.NOTHING_TO_DO,
                reason=Reason.NOTHING_TO_DO.value,
                message=f"the trouble is not there: {asked.operation} says {in_short(result.answer)}",
            )
        )

    def blocked_by(self, name: str, namespace: str | None) -> Conclusion | None:
        """Of a dependency's status: None when it is up, or when nobody can tell."""
        result = self.result
        answer = result.answer if result is not None and result.status is Status.DONE else None
        if not isinstance(answer, Mapping):
            if result is not None:
                self.found.append(f"dependency {name}: {result.message}")
            return None
        state, health = answer.get("state"), answer.get("health")
        if state not in _DOWN and health != "unhealthy":
            return None
        how = state if state in _DOWN else health
        return self.told(
            Conclusion(
                verdict=Verdict.BLOCKED,
                reason="dependency",
                message=f"{self._name()} depends on {name}, which is {how}; {name} is what has to recover first",
                dependency=(name, namespace),
            )
        )

    def forbidden(self, operation: str) -> Conclusion | None:
        if self.runbook.only_if is None:
            return self.escalate(Reason.POLICY, f"{operation} changes something and the runbook has no only_if")
        return self.no_target() if self.target is None and self.runbook.target else None

    def no_target(self) -> Conclusion:
        labels = ", ".join(
            f"{name}={self.alert.labels[name]!r:.80}" for name in self.runbook.target if name in self.alert.labels
        )
        return self.escalate(
            Reason.UNKNOWN_TARGET,
            f"nothing in {self.environment.name} has one of the names {labels}"
            if labels
            else f"the alert has none of the labels {', '.join(self.runbook.target)}",
        )

    def learn(self, name: str | None) -> None:
        result = self.result
        if result is None:
            return
        if name is not None:
            self.roots[name] = result.to_json()
        told = in_short(result.answer) if result.status is Status.DONE and result.answer else result.message
        self.found.append(f"{result.operation}: {told}")

    def exhausted(self, start: int) -> Conclusion:
        last = self.last_change
        if last is not None:
            reason = last.reason.value if last.reason else Reason.VERIFICATION.value
            return self.escalate(reason, f"no step of runbook {self.runbook.name!r} is left; the last: {last.message}")
        if start:
            return self.escalate(
                Reason.VERIFICATION, f"it did not last, and no step of runbook {self.runbook.name!r} is left"
            )
        return self.escalate(Reason.INCONCLUSIVE, f"runbook {self.runbook.name!r} only looks; a person has to act")

    def escalate(self, reason: Reason | str, message: str) -> Conclusion:
        return self.told(Conclusion(verdict=Verdict.ESCALATE, reason=str(reason), message=message))

    def told(self, conclusion: Conclusion) -> Conclusion:
        """With what was found on the way, for whoever reads it."""
        if not self.found:
            return conclusion
        return Conclusion(
            verdict=conclusion.verdict,
            reason=conclusion.reason,
            message="\n".join([conclusion.message, "Found:", *(f"- {one}" for one in self.found[-12:])]),
            dependency=conclusion.dependency,
        )

    def _name(self) -> str:
        return self.target.name if self.target is not None else self.alert.name


def _target_root(target: Resource, environment: Environment) -> dict[str, Any]:
    """A Resource as expressions see it; the inventory's labels add to the engine's."""
    data = target.to_json()
    service = environment.services.get(target.name)
    return {**data, "labels": {**data["labels"], **service.labels}} if service else data


def _shadow(result: Result) -> str:
    calls = [f"{seen.name} ({seen.verdict})" for seen in result.evidence if seen.kind == "call"]
    would = f": {', '.join(calls[:10])}" if calls else ""
    return f"shadow mode, nothing was touched; {result.operation} would have been run{would}"

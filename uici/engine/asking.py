"""Asking: another operation that only observes, on behalf of a command (``before``, ``verify``, ``took_effect``).

It takes no locks and leaves no entries of its own; what it saw is the asking command's evidence. It must not run a call
that is more than ``observe``, whatever the operation was declared to be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from uici.catalog.expressions import condition, render
from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment
from uici.engine.execution import Execution
from uici.engine.roots import inventory_root, listed_service, operation_roots
from uici.engine.steps import Steps, accepted, done_or_ended
from uici.engine.validate import operation_of, parameters_of, target_of
from uici.engine.verdict import EndedError, failed, refused
from uici.executor import Rejected
from uici.model import Operation, Origin, Reason, Request, Resource, Status, Step

#: Seconds that a listing may be old.
LISTING_AGE = 30.0


async def ask(
    core: Core,
    execution: Execution,
    operation_name: str,
    template: Mapping[str, Any],
    roots: Mapping[str, Any],
    *,
    known_target: Resource | None = None,
    inventory: Mapping[str, Any] | None = None,
) -> Any:
    """What ``ask_exactly`` gives, of parameters that are a template."""
    parameters = render(template, roots)
    return await ask_exactly(
        core, execution, operation_name, parameters, known_target=known_target, inventory=inventory
    )


async def ask_exactly(
    core: Core,
    execution: Execution,
    operation_name: str,
    values: Mapping[str, Any],
    *,
    known_target: Resource | None = None,
    inventory: Mapping[str, Any] | None = None,
) -> Any:
    """The operation's answer, redacted.

    ``known_target``: used where the asked operation would locate the very same thing. Raises EndedError, ExpressionError
    and UnreachableError; each means: no answer.
    """
    place = execution.place
    if place is None:
        raise failed(Reason.EXECUTOR, "no environment is open")
    request = Request(operation=operation_name, parameters=values, environment=place.name)
    operation = operation_of(execution.catalog, request)
    namespace = execution.target.namespace if execution.target else None
    request = with_namespace(request, operation, namespace)
    parameters = parameters_of(execution.catalog, operation, request)
    translation = execution.catalog.translator.translation(operation.name, place.environment)
    if translation is None:
        raise refused(Reason.NOT_OFFERED, f"{operation.name} is not offered in {place.name}")
    if known_target is not None and _names_it(operation, parameters, known_target):
        target: Resource | None = known_target
    else:
        listed = inventory if inventory is not None else await inventory_of(core, place, execution)
        target = await target_of(place, operation, parameters, default_namespace=namespace, listed=listed)
    if inventory is None:
        inventory = await inventory_of(core, place, execution)
    now = execution.command.now if execution.command else ""
    steps = Steps(
        place=place,
        translator=execution.catalog.translator,
        dialect=translation.dialect,
        roots=operation_roots(
            parameters=parameters,
            target=target,
            environment=place.environment,
            command_id=execution.id,
            now=now,
            inventory=inventory,
        ),
    )
    for step in translation.steps:
        if steps.wanted(step):
            await observe_step(core, steps, step, timeout=operation.timeout)
    answer = await steps.built(translation)
    problems = execution.catalog.operations.answer_problems(operation, answer)
    if problems:
        raise failed(
            Reason.EXECUTOR,
            f"{operation.name}: its answer breaks its contract: {'; '.join(problems[:3])}; mend `returns` of its "
            f"{translation.dialect} translation",
        )
    return core.redact(execution, answer)


def with_namespace(request: Request, operation: Operation, namespace: str | None) -> Request:
    """Where a Request about the same place gives no namespace, its target's is used (CATALOG.md)."""
    if namespace is None or operation.target is None or operation.target.namespace is None:
        return request
    if operation.target.namespace in request.parameters:
        return request
    return Request(
        operation=request.operation,
        parameters={**request.parameters, operation.target.namespace: namespace},
        environment=request.environment,
        reason=request.reason,
    )


def _names_it(operation: Operation, parameters: Mapping[str, Any], target: Resource) -> bool:
    if operation.target is None:
        return False
    namespace = parameters.get(operation.target.namespace) if operation.target.namespace else None
    named = parameters.get(operation.target.parameter)
    return named in (target.name, target.id) and namespace in (None, target.namespace)


async def observe_step(core: Core, steps: Steps, step: Step, *, timeout: float) -> None:
    """Runs one observing step, its ``each``, ``unless``, ``until`` and ``retry`` included."""
    items = steps.items(step)
    answers: list[Any] = []
    for item in items:
        if step.unless is not None and condition(step.unless, steps.seeing(step, item)):
            answers.append(None)
            continue
        try:
            answers.append(await _observe(core, steps, step, item, timeout))
        except EndedError as ended:
            if not step.continue_ or ended.status is not Status.FAILED:
                raise
            answers.append(None)
    if step.each is not None and step.as_ is not None:
        steps.roots[step.as_] = answers


async def look_again(core: Core, steps: Steps, *, timeout: float) -> Steps:
    """What the steps see now, beside what they saw: their looks since the last change are made once more, in a copy.

    ``timeout``: seconds for each. Raises what the looks raise.
    """
    seen = dataclasses.replace(steps, roots=dict(steps.roots), receivers=dict(steps.receivers))
    for step in steps.looks:
        await observe_step(core, seen, step, timeout=timeout)
    return seen


async def _observe(core: Core, steps: Steps, step: Step, item: Any, timeout: float) -> Any:
    give_up = core.clock() + (step.within if step.within is not None else timeout)
    while True:
        call = steps.call(step, item, max(0.05, min(timeout, give_up - core.clock())))
        outcome = await steps.stream(call) if step.stream else await steps.observe(call)
        if isinstance(outcome, Rejected) and accepted(step, outcome):
            steps.answer(step, call, None)
            return None
        again = isinstance(outcome, Rejected) and any(error in step.retry for error in outcome.errors)
        if not again:
            done = done_or_ended(call, outcome)
            steps.answer(step, call, done)
            if step.until is None or condition(step.until, steps.seeing(step, item)):
                return done.answer
        if core.clock() >= give_up:
            raise failed(Reason.TIMEOUT, f"{call.path}: `until` did not hold within {step.within or timeout:.0f} s")
        await core.sleep(step.every)


async def inventory_of(core: Core, place: OpenEnvironment, execution: Execution | None = None) -> Mapping[str, Any]:
    """The environment's inventory: what environments.yml lists, and what its ``from`` operation answers, added to it.

    Name -> ``{id, labels, depends_on, probe}``, what is known of them. ``from`` names an observing operation whose answer
    has ``services``: a list with ``service`` and those four where it knows them; own entries win. Raises what asking
    raises: a place that must be listed to be a target is none while the listing cannot be had.
    """
    environment = place.environment
    own = inventory_root(environment)
    if environment.inventory_from is None:
        return own
    if place.listing is None or not 0 <= core.clock() - place.listed_at < LISTING_AGE:
        asker = core.execution(
            id=execution.id if execution else core.new_id(),
            request=Request(operation=environment.inventory_from),
            origin=execution.origin if execution else Origin("library", "uici"),
            catalog=execution.catalog if execution else core.catalog,
            place=place,
        )
        asker.progress = None
        asked_at = core.clock()
        answer = await ask(core, asker, environment.inventory_from, {}, {}, inventory=own)
        listed = answer.get("services", ()) if isinstance(answer, Mapping) else ()
        place.listing = {
            str(one["service"]): listed_service(
                one.get("id"), one.get("labels") or {}, one.get("depends_on") or (), one.get("probe")
            )
            for one in listed
            if isinstance(one, Mapping) and "service" in one
        }
        place.listed_at = asked_at
    return {**place.listing, **own}

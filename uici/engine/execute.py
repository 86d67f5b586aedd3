"""Execute: the only door to the world, for every origin alike. ``_walk`` is the whole order, in one function.

Nothing that a Request can cause raises out of here; a journal that cannot be written does (``JournalError``), because
then nothing may act. It must not know which door a Request came through.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from uici.catalog.expressions import render
from uici.engine import execution as execution_bounds
from uici.engine.admit import authorise_now
from uici.engine.asking import ask_exactly, inventory_of
from uici.engine.changes import run_part, steps_of
from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment
from uici.engine.execution import Execution, size_of
from uici.engine.frozen import copies_of
from uici.engine.left import remember
from uici.engine.only_if import see
from uici.engine.result import cancelled, ended_by, not_recovered, record, undo_message, unread
from uici.engine.roots import command_roots
from uici.engine.steps import Steps
from uici.engine.undo import undo
from uici.engine.uninterrupted import uninterrupted
from uici.engine.validate import FRESH, environment_of, operation_of, parameters_of, target_of, translation_of
from uici.engine.verdict import EndedError, StaleError, failed, refused
from uici.engine.verify import verify
from uici.engine.write_only import values, without
from uici.journal import Entry
from uici.model import (
    Command,
    ExpressionError,
    JournalError,
    Reason,
    Request,
    Resource,
    Result,
    Risk,
    Status,
    UnreachableError,
    Verification,
    rfc3339,
)


async def execute(core: Core, execution: Execution) -> Result:
    """Walks one Request to its Result and journals it. Cancelled, it records what came of it, then raises.

    Its lock is held until that is written: whoever waits for it finds a doubt, a closed target, an attempt more.
    """
    core.begin(execution)
    try:
        async with AsyncExitStack() as held:
            try:
                result = await _walk(core, execution, held)
            except asyncio.CancelledError:
                # A daemon that stops leaves the Request without a result: its next start settles it by evidence.
                if not core.closing:
                    await uninterrupted(record(core, execution, cancelled(execution)))
                raise
            except JournalError:
                raise
            except Exception as error:  # noqa: BLE001 - nothing that a Request can cause raises out of here
                result = ended_by(execution, error)
            return await uninterrupted(record(core, execution, result))
    except JournalError:
        core.owe(execution)
        raise
    finally:
        core.end(execution)


async def _walk(core: Core, execution: Execution, held: AsyncExitStack) -> Result:
    """Validate -> locate -> authorise -> translate -> run -> verify -> undo if it did not help."""
    request, catalog, parent = execution.request, execution.catalog, execution.parent

    # Validate: what is named exists, the parameters satisfy the schema, the environment offers it.
    operation = operation_of(catalog, request)
    execution.risk = operation.risk
    # An undo runs where its parent ran, whatever a reload has made of that environment.
    environment = parent.command.environment if parent and parent.command else environment_of(catalog, request)
    execution.environment = environment.name
    parameters = parameters_of(catalog, operation, request)
    execution.hidden = frozenset(values(operation.parameters, parameters)) | (parent.hidden if parent else frozenset())
    translation = translation_of(catalog, operation, environment)
    execution.dry_run = request.dry_run or (environment.dry_run and operation.risk is not Risk.OBSERVE)
    execution.note("gate", "schema", "pass")

    # Locate: exactly one real thing, or nothing is done.
    place = execution.place = await core.environments.opened(environment)
    namespace = parent.target.namespace if parent and parent.target else None
    listed = await inventory_of(core, place, execution)

    async def located() -> Resource | None:
        within = FRESH if operation.risk is Risk.OBSERVE else 0.0
        return await target_of(place, operation, parameters, listed=listed, default_namespace=namespace, within=within)

    execution.target = await located()
    if execution.target is not None and execution.target.engine != place.engine:
        core.environments.forget(place)
        place = execution.place = await core.environments.opened(environment)
        execution.target = await located()
    command = execution.command = Command(
        id=execution.id,
        now=rfc3339(core.clock()),
        request=request,
        origin=execution.origin,
        parameters=parameters,
        operation=operation,
        translation=translation,
        environment=environment,
        target=execution.target,
        incident=execution.incident,
        parent=parent.id if parent else None,
    )
    execution.formed.set()
    await _lock(core, execution, place, held)
    if execution.hold is not None and execution.hold.waited and parent is None:
        # Whoever held it before may have put another one in its place (a deployment does).
        execution.target = await _same_owner(located, command)
        command = execution.command = dataclasses.replace(command, target=execution.target)

    # Authorise: token, pause, autonomy, policy, brakes. Asked again with each pinned call.
    await authorise_now(core, execution, place, operation.risk, None)
    return await run_accepted(core, execution, command, place)


async def _same_owner(located: Callable[[], Awaitable[Resource | None]], command: Command) -> Resource | None:
    now = await located()
    if (now.key if now else None) != (command.target.key if command.target else None):
        raise refused(Reason.MOVED_ON, f"{command.operation.name}: its target became another one while this waited")
    return now


async def run_accepted(core: Core, execution: Execution, command: Command, place: OpenEnvironment) -> Result:
    """The second half of the walk: a command that may run, under its lock. A restart continues here."""
    operation = command.operation
    if operation.risk is not Risk.OBSERVE and not execution.dry_run and not execution.accepted:
        # Durable before the first intent; what is looked at until then need not wait.
        await core.write_behind(execution, _stored(core, execution, command, place))
        execution.accepted = True
    execution.calls_until = core.clock() + operation.timeout

    # Run: each changing call is pinned, guarded, and journaled before and after.
    while True:
        await _look_before(core, execution, command)
        steps = steps_of(execution, command, place, await inventory_of(core, place, execution))
        try:
            await run_part(core, execution, steps, "steps", command.translation.steps)
            _nothing_offered(execution, command)
            _nothing_done(execution)
            break
        except StaleError:
            execution.start_over()
        except (EndedError, UnreachableError) as error:
            return await _failed(core, execution, command, steps, error)
    if execution.blocked is not None:
        raise execution.blocked
    if execution.dry_run and operation.risk is not Risk.OBSERVE:
        return execution.result(Status.DONE, None, f"{operation.name}: dry run, nothing was changed")
    execution.answer = await _answer(core, execution, command, steps)
    if operation.risk is Risk.OBSERVE:
        return execution.result(Status.DONE, None, f"{operation.name}: done")
    nothing = execution.applied == 0
    if not nothing:
        await remember(core, execution, command, steps)

    # Verify: recovered, not recovered, or nobody can tell. Undo only what is known not to have helped.
    verification = await _verify(core, execution, command, steps)
    if execution.cancelled.is_set() and verification is Verification.INCONCLUSIVE:
        ended = failed(Reason.CANCELLED, f"cancelled by {execution.cancelled_by}")
        return await _failed(core, execution, command, steps, ended)
    if verification is Verification.NOT_RECOVERED:
        undone = None if nothing or execution.undoing else await undo(core, execution, command, steps, execute)
        return not_recovered(execution, undone, nothing=nothing and execution.undoing)
    if verification is Verification.INCONCLUSIVE:
        message = f"{operation.name}: whether it helped cannot be told; nothing was undone, a person has to look"
        return execution.result(Status.UNVERIFIED, Reason.INCONCLUSIVE, message, verification=verification)
    cleaned = await _confirm(core, execution, command, steps)
    verified = " and verified" if verification is Verification.RECOVERED else ""
    message = f"{operation.name}: {'there was nothing to do' if nothing else 'done'}{verified}{cleaned}"
    if execution.failures:
        message += f"; {len(execution.failures)} of {execution.offered} failed, the first: {execution.failures[0]}"
    return execution.result(Status.DONE, Reason.NOTHING_TO_DO if nothing else None, message, verification=verification)


def _stored(core: Core, execution: Execution, command: Command, place: OpenEnvironment) -> Entry:
    """The accepted command as it is journaled, without what may never be stored.

    Its copies of the catalog are written as they are: secrets are references there, and a reference that was hidden
    could not be filled in after a restart.
    """
    data, schema = command.to_json(), command.operation.parameters
    asked = {
        "request": {**data["request"], "parameters": without(schema, data["request"]["parameters"])},
        "parameters": without(schema, data["parameters"]),
        "target": data["target"],
    }
    more = {
        "engine": place.engine,
        "risk": command.operation.risk.value,
        "copies": copies_of(execution.catalog, command),
    }
    return Entry(
        kind="request",
        data={**data, **core.redact(execution, asked), **more},
        incident=execution.incident,
        request=execution.id,
        at=core.clock(),
    )


async def _lock(core: Core, execution: Execution, place: OpenEnvironment, held: AsyncExitStack) -> None:
    """One command at a time for one target; a change without a target excludes all others of its engine. What only
    observes, a dry run, and an undo under its parent's lock, take none."""
    if execution.risk is Risk.OBSERVE or execution.parent is not None or execution.dry_run:
        return
    keys = frozenset({execution.target.key}) if execution.target else None
    wait = execution.command.operation.timeout if execution.command else 60.0
    try:
        execution.hold = await held.enter_async_context(core.locks.hold(place.engine, keys, wait))
    except TimeoutError as error:
        raise refused(Reason.BUSY, f"another command has worked there for {wait:.0f} s; ask again later") from error


async def _look_before(core: Core, execution: Execution, command: Command) -> None:
    """Captures ``before``, which is journaled in one transaction with the first intent, and sees the trouble once more."""
    definition = command.operation.before
    if execution.has_before:
        return
    if definition is None:
        await see(core, execution, None)
        return
    try:
        values = render(definition.parameters, command_roots(command))
        execution.before = await ask_exactly(core, execution, definition.operation, values, known_target=command.target)
    except (EndedError, ExpressionError, UnreachableError) as error:
        reason = error.reason if isinstance(error, EndedError) else unread(error)
        # A runbook's next step is not for trouble that nobody can see.
        ended = failed if execution.only_if is None else refused
        raise ended(
            reason, f"{command.operation.name}: how it is before cannot be told, so nothing was done: {error}"
        ) from error
    execution.has_before = True
    execution.note("before", definition.operation, "done", {"answer": execution.before})
    await see(core, execution, Request(operation=definition.operation, parameters=values))


def _nothing_offered(execution: Execution, command: Command) -> None:
    if command.operation.risk is Risk.OBSERVE or execution.offered > 0 or execution.empty:
        return
    kind = execution.target.kind if execution.target else "such a request"
    # A condition says more than that nothing fitted: `known.rollback_to > 0`.
    wanted = dict.fromkeys(step.when for step in command.translation.steps if step.when and _about(step.when, kind))
    unmet = f", where it wants {' or '.join(' '.join(one.split()) for one in wanted)}" if wanted else ""
    raise refused(
        Reason.NOT_OFFERED,
        f"{command.operation.name}: no step of its {command.translation.dialect} translation fits {kind}{unmet}",
    )


def _about(when: str, kind: str) -> bool:
    """Whether a step's condition says more than which kind of target it is for, and is not for another one."""
    named = re.findall(r"""target\.kind == ["'](\w+)["']""", when)
    return "&&" in when and (not named or kind in named)


def _nothing_done(execution: Execution) -> None:
    """An ``each`` that goes on after a failure has failed where nothing of it succeeded."""
    if execution.failures and execution.applied == 0 and not execution.dry_run:
        first = execution.failures[0]
        raise failed(first.reason, f"none of {execution.offered} succeeded, the first: {first}")


async def _answer(core: Core, execution: Execution, command: Command, steps: Steps) -> Any:
    """The operation's answer, redacted. A change that is done does not fail for an answer that cannot be built."""
    try:
        answer = await steps.built(command.translation)
    except ExpressionError as error:
        if command.operation.risk is Risk.OBSERVE:
            raise failed(Reason.EXECUTOR, f"{command.operation.name}: its answer: {error}") from error
        execution.note("call", "returns", "failed", {"message": str(error)})
        return None
    problems = execution.catalog.operations.answer_problems(command.operation, answer)
    if problems:
        broken = f"{command.operation.name}: its answer breaks its contract: {'; '.join(problems[:3])}"
        if command.operation.risk is Risk.OBSERVE:
            raise failed(Reason.EXECUTOR, f"{broken}; mend `returns` of its {command.translation.dialect} translation")
        execution.note("call", "returns", "failed", {"message": broken})
    if (size := size_of(answer)) > execution_bounds.ANSWER:
        huge = f"{command.operation.name}: its answer has {size} bytes, more than {execution_bounds.ANSWER}; ask for less of it"
        if command.operation.risk is Risk.OBSERVE:
            raise failed(Reason.EXECUTOR, huge)
        execution.note("call", "returns", "failed", {"message": huge})
        return None
    return core.redact(execution, answer)


async def _verify(core: Core, execution: Execution, command: Command, steps: Steps) -> Verification | None:
    definition = command.operation.verify
    if definition is None:
        return None
    roots = {**command_roots(command), "answer": execution.answer}
    if execution.has_before:
        roots["before"] = execution.before
    if command.translation.verify_within is not None:
        definition = dataclasses.replace(definition, within=command.translation.verify_within)
    made = command.operation.target is None or command.operation.target.new
    found = [resource for resource, _ in steps.receivers.values()] if made else [execution.target]
    return await verify(core, execution, definition, roots, [one for one in found if one is not None])


async def _confirm(core: Core, execution: Execution, command: Command, steps: Steps) -> str:
    if not command.translation.confirm:
        return ""
    execution.calls_until = core.clock() + command.operation.timeout
    try:
        await run_part(core, execution, steps, "confirm", command.translation.confirm)
    except (EndedError, UnreachableError) as error:
        if isinstance(error, EndedError) and error.status is Status.IN_DOUBT:
            raise
        return f"; clearing up after it failed: {error}"
    return ""


async def _failed(
    core: Core, execution: Execution, command: Command, steps: Steps, error: EndedError | UnreachableError
) -> Result:
    """A call failed, was refused, or is in doubt: what was changed before it is undone, but never in doubt."""
    ended = error if isinstance(error, EndedError) else failed(unread(error), str(error))
    # A `revert` looks for itself at how far it came; an `undo` is for what certainly was changed.
    nothing = execution.applied == 0 and not (execution.begun and command.translation.revert)
    if ended.status is Status.IN_DOUBT or nothing or execution.clearing or execution.dry_run:
        raise ended
    if ended.reason in (Reason.CANCELLED, Reason.TIMEOUT) and command.translation.cancel:
        execution.calls_until = core.clock() + command.operation.timeout
        try:
            await run_part(core, execution, steps, "cancel", command.translation.cancel)
        except (EndedError, UnreachableError) as again:
            execution.note("call", "cancel", "failed", {"message": str(again)})
    undone = None if execution.undoing else await undo(core, execution, command, steps, execute)
    # A refusal after something was changed is a failure of the whole: it did not do what was asked.
    status = Status.FAILED if ended.status is Status.REFUSED else ended.status
    return execution.result(status, ended.reason, f"{ended}{undo_message(undone)}", undo=undone)

"""Admitting: what a changing call must pass right before its intent. Pinned -> authorised by its real risk -> guarded ->
locked. Both deciders, ``authorise`` and ``guard``, are pure; here they get what they decide by.

Must not run the call, nor write anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from uici.engine.asking import inventory_of
from uici.engine.authorise import Question, authorise
from uici.engine.core import Core
from uici.engine.elsewhere import not_elsewhere
from uici.engine.environments import OpenEnvironment, bounded
from uici.engine.execution import Execution
from uici.engine.guard import Surroundings, guard
from uici.engine.redact import HIDDEN, holds_hidden
from uici.engine.roots import as_listed, inventory_root
from uici.engine.taken import own, too_soon
from uici.engine.validate import locate
from uici.engine.verdict import EndedError, StaleError, failed, refused
from uici.model import Call, Pinned, Reason, Risk, Status, Touch

#: How far back the journal is asked for attempts at most, seconds; brakes look back less.
LOOK_BACK = 7 * 86400.0


async def admit(core: Core, execution: Execution, place: OpenEnvironment, call: Call, declared: Any) -> Pinned:
    """Pins, authorises, guards and locks; gives the exact call and all that it touches.

    Raises EndedError, and StaleError where it had to wait before its first change: the steps begin anew then.
    """
    if execution.risk is Risk.OBSERVE:
        raise refused(
            Reason.AUTONOMY,
            f"{call.path} does more than observe, and {execution.request.operation} is declared to observe only; "
            "declare its `risk` in operations.yml",
        )
    if not execution.dry_run and holds_hidden(call.arguments):
        raise failed(Reason.EXECUTOR, f"{call.path} would write {HIDDEN} where a secret was hidden, so it is not done")
    while True:
        # First, because what reaches all of a host is held to touch what of it is UICI's own.
        await core.environments.identity(place)
        pinned = await bounded(call.path, place.executor.resolve(call))
        _still_the_same(core, place, pinned)
        if pinned.unknown is not None and declared is not None:
            pinned = await _declared(core, execution, place, pinned, declared)
        risk = Risk.DESTROY if pinned.unknown is not None else place.executor.risk(pinned)
        pinned = dataclasses.replace(pinned, call=dataclasses.replace(pinned.call, risk=risk))
        if (wait := too_soon(execution, pinned, risk, core.clock())) > 0:
            await core.sleep(wait)
            continue
        # What the inventory says of what is touched counts as what the engine says.
        inventory = {**(place.listing or {}), **inventory_root(place.environment)}
        judged = dataclasses.replace(pinned, touches=tuple(_listed(one, inventory) for one in pinned.touches))
        target = as_listed(execution.target, inventory) if execution.target else None
        await authorise_now(core, execution, place, max(risk, execution.risk or risk), judged)
        around = Surroundings(
            environment=place.environment,
            names=await core.environments.names_of(
                place, [rule.environment for rule in execution.catalog.policies.protected]
            ),
            identity=await core.environments.identity(place, fresh=max(risk, execution.risk or risk) is Risk.DESTROY),
            policies=execution.catalog.policies,
            taken=core.taken_by_others(execution),
            own=own(execution, pinned.touches, risk),
        )
        if execution.command is None:
            raise failed(Reason.EXECUTOR, f"{call.path}: no command was accepted for it")
        refusal = guard(
            judged,
            risk,
            request=execution.request,
            origin=execution.origin,
            operation=execution.command.operation,
            target=target,
            around=around,
        )
        execution.note("gate", "guard", refusal[0].value if refusal else "pass", {"call": pinned.call.path})
        if refusal is not None:
            execution.block(refused(*refusal, gate="guard"))
        if execution.dry_run or execution.hold is None:
            return pinned
        wanted = frozenset(touch.resource.key for touch in pinned.touches)
        # In the middle of a command nobody may come between; before its first change it waits holding nothing.
        begun = execution.intents > 0 or execution.undoing
        limit = max(0.1, execution.calls_until - core.clock())
        try:
            if await core.locks.extend(execution.hold, wanted, limit, keep=begun):
                return pinned
        except TimeoutError as error:
            raise refused(Reason.BUSY, f"{call.path}: what it touches is busy with another command") from error
        if not begun:
            raise StaleError


def _listed(touch: Touch, inventory: Mapping[str, Any]) -> Touch:
    one = as_listed(touch.resource, inventory)
    return touch if one is touch.resource else dataclasses.replace(touch, resource=one)


def _still_the_same(core: Core, place: OpenEnvironment, pinned: Pinned) -> None:
    """What was located, locked and seen on one engine is not done on another."""
    other = next((one.resource.engine for one in pinned.touches if one.resource.engine != place.engine), None)
    if other is not None:
        core.environments.forget(place)
        raise refused(
            Reason.MOVED_ON,
            f"{pinned.call.path}: the engine behind {place.name} is another now ({other}, it was {place.engine}); ask again",
        )


async def _declared(core: Core, execution: Execution, place: OpenEnvironment, pinned: Pinned, declared: Any) -> Pinned:
    """What the operator declared that a call touches, where the executor cannot tell.

    ``elsewhere`` needs a person when an LLM or MCP asks; resources are located exactly and must all exist.
    """
    if declared == "elsewhere":
        if execution.origin.kind in ("llm", "mcp"):
            raise EndedError(
                Status.NEEDS_APPROVAL,
                Reason.UNRESOLVED,
                f"{pinned.call.path} acts elsewhere; a person has to ask for it",
            )
        facts = core.environments.facts()
        why = await not_elsewhere(pinned.call.arguments, (*facts.listens, *facts.needs))
        if why is not None:
            raise refused(Reason.SELF, f"{pinned.call.path} is declared to act elsewhere, but {why}")
        return dataclasses.replace(pinned, unknown=None)
    touches: list[Touch] = list(pinned.touches)
    listed = await inventory_of(core, place, execution)
    for one in declared:
        found = await locate(
            place, listed, one.get("kind", "service"), str(one.get("id") or one.get("name")), one.get("namespace")
        )
        if len(found) != 1:
            raise refused(
                Reason.UNRESOLVED, f"{pinned.call.path}: its declared `touches` {one!r} is not exactly one thing"
            )
        touches.append(Touch(resource=found[0]))
    return dataclasses.replace(pinned, unknown=None, touches=tuple(touches))


async def authorise_now(
    core: Core, execution: Execution, place: OpenEnvironment, risk: Risk, pinned: Pinned | None
) -> None:
    """Asks ``authorise`` with what the journal has now; raises EndedError where a gate does not pass."""
    operation = (
        execution.command.operation if execution.command else execution.catalog.operations[execution.request.operation]
    )
    touched = tuple(touch.resource for touch in pinned.touches) if pinned else ()
    target = execution.target
    key = target.key if target else f"{place.engine}|"
    attempts, paused_by, closed = [], None, None
    if risk is not Risk.OBSERVE:
        now = core.clock()
        keys = frozenset(one.key for one in touched) | ({target.key} if target else frozenset())
        if not execution.dry_run and (owed := core.owed_there(execution, place.engine, keys)) is not None:
            raise refused(
                Reason.BUSY,
                f"what {owed} did there is not settled yet, as UICI stopped or its journal failed meanwhile; ask again later",
            )
        # A brake that is not for each target counts what was tried on the others too.
        wide = any("target" not in brake.per for brake in execution.catalog.policies.brakes)
        attempts = [
            attempt
            for attempt in await core.journal.attempts(since=now - LOOK_BACK, key=None if wide else key)
            if attempt.request not in (execution.id, execution.parent.id if execution.parent else None)
        ]
        paused = await core.journal.paused()
        paused_by = next((paused[name] for name in (None, place.name) if name in paused), None)
        known = await core.journal.closed_keys()
        closed = next((known[one] for one in (key, *sorted(keys)) if one in known), None)
    gates = authorise(
        Question(
            request=execution.request,
            origin=execution.origin,
            environment=place.environment,
            operation=operation,
            risk=risk,
            target=target,
            key=key,
            policies=execution.catalog.policies,
            touched=touched,
            attempts=attempts,
            paused_by=paused_by,
            closed_because=closed,
            undo=execution.undoing or execution.reverting,
            at=core.clock(),
            now=execution.command.now if execution.command else "",
        )
    )
    if pinned is None:
        execution.pass_gates(gates)
    elif gates[-1].status is not None:
        execution.pass_gates(gates[-1:])

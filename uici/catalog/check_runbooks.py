"""What runbooks and policies prove: that they can be reached, act only on trouble seen, and ask what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.catalog import roots
from uici.catalog.check_places import WILD, matchers, unfilled
from uici.catalog.gather import Entry
from uici.catalog.problem import did_you_mean
from uici.catalog.scope import Scope
from uici.catalog.shapes import Schema
from uici.model import Matcher


def runbooks(scope: Scope) -> None:
    """Every runbook, and whether an earlier one takes all its alerts."""
    earlier: list[tuple[Entry, tuple[Matcher, ...]]] = []
    for entry in scope.gathered.runbooks:
        if not isinstance(entry.definition, dict) or entry.broken:
            continue
        found = matchers(entry, entry.definition.get("match"), ("match",))
        unfilled(entry, entry.definition.get("match"), ("match",))
        if entry.broken:
            continue
        if entry.definition.get("enabled", True):
            _reached(entry, found, earlier)
            earlier.append((entry, found))
        _runbook(scope, entry, entry.definition)
        if entry.definition.get("enabled", True):
            _seen(scope, entry)


def policies(scope: Scope) -> None:
    """Rules name what they can see; what is protected is named."""
    known = roots.policy(scope.gathered.operations, scope.gathered.environments)
    for entry in scope.gathered.policies["rules"]:
        if not entry.broken:
            # An included rule may speak of what is not here: it is for many catalogs.
            seen = roots.POLICY if entry.source else known
            scope.shapes.condition(entry.definition["when"], seen, entry.add, ("when",))
    for entry in scope.gathered.policies["protected"]:
        if not entry.broken:
            _protected(scope, entry, entry.definition)


def _protected(scope: Scope, entry: Entry, definition: Mapping[str, Any]) -> None:
    """It names something, for what names nothing matches everything, in a place that there is."""
    unfilled(entry, definition, ())
    if not definition.keys() & {"name", "kind", "namespace"} and not definition.get("labels"):
        entry.add("missing-key", "names nothing that is protected", "give name, kind, namespace or labels")
        return
    place = definition.get("environment", "*")
    known = scope.gathered.environments
    if not WILD & set(place) and place not in known:
        message = f"there is no environment {place!r}, so that nothing is protected"
        # An include cannot know what the environments here are called.
        severity = "warning" if entry.source else "error"
        entry.add("unknown-environment", message, did_you_mean(place, known), at=("environment",), severity=severity)


def _reached(entry: Entry, found: tuple[Matcher, ...], earlier: list[tuple[Entry, tuple[Matcher, ...]]]) -> None:
    for one in found:
        against = next(
            (
                other
                for other in found
                if one.op == "=" and other.label == one.label and not other.matches({one.label: one.value})
            ),
            None,
        )
        if against is not None:
            message = f"no alert can have both {one} and {against}"
            entry.add("unreachable-runbook", message, "remove one of them", at=("match",), severity="warning")
            return
    for first, wanted in earlier:
        if all(any(_implies(one, other) for one in found) for other in wanted):
            line = first.document.place(first.trail)[0]
            message = f"{first.name!r} ({first.document.file}:{line}) takes all its alerts before it"
            entry.add(
                "unreachable-runbook", message, "move it up, or tell them apart", at=("name",), severity="warning"
            )
            return


def _implies(one: Matcher, other: Matcher) -> bool:
    """Whether every alert that ``one`` matches is matched by ``other`` too, where it can be told."""
    if one.label != other.label:
        return False
    return one == other or (one.op == "=" and other.matches({one.label: one.value}))


def _seen(scope: Scope, entry: Entry) -> None:
    """Where it could act it can see the trouble too. One that could act nowhere is for places that are not declared here."""
    only_if = entry.definition.get("only_if")
    if entry.source or entry.broken or only_if is None:
        return
    called = {step["operation"]: scope.operation(step["operation"]) for step in entry.definition.get("steps", ())}
    changes = {name for name, one in called.items() if one is not None and one["risk"] != "observe"}
    there = {place.name: scope.offered(place) for place in scope.places() if not place.broken}
    acts = [name for name, offered in there.items() if changes and changes <= offered]
    if acts and not any(only_if["operation"] in offered for offered in there.values()):
        message = (
            f"only_if asks {only_if['operation']}, which no environment offers, though {acts[0]!r} offers the steps"
        )
        hint = "translate it there and offer it, or ask what there is: without an answer nothing is done"
        entry.add("not-offered", message, hint, at=("only_if", "operation"), severity="warning")


def _runbook(scope: Scope, entry: Entry, definition: Mapping[str, Any]) -> None:
    seen: dict[str, Schema] = {"alert": roots.ALERT, "environment": roots.ENVIRONMENT}
    if definition.get("target"):
        seen["target"] = roots.TARGET
    only_if = definition.get("only_if")
    if only_if is not None:
        scope.asks(entry, only_if, ("only_if",), seen, observe="only_if")
        answer = {**seen, "answer": scope.returns(only_if["operation"])}
        scope.judges(entry, only_if["expect"], answer, ("only_if", "expect"))
    for index, step in enumerate(definition.get("steps", ())):
        at = ("steps", index)
        scope.shapes.condition(step.get("when"), seen, entry.add, (*at, "when"))
        scope.asks(entry, step, at, seen)
        called = scope.operation(step["operation"])
        if called is not None and called["risk"] != "observe" and only_if is None:
            message = f"{step['operation']} changes something, and the runbook has no only_if"
            hint = "say with only_if what must be seen before anything is changed"
            entry.add("change-without-only-if", message, hint, at=(*at, "operation"))
        if "as" in step:
            if step["as"] in roots.RESERVED:
                message = f"{step['as']!r} is a name of expressions' own"
                entry.add("reserved-name", message, "choose another", at=(*at, "as"))
            seen[step["as"]] = roots.result(scope.returns(step["operation"]))

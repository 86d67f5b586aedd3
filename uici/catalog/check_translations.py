"""What translations prove: calls that the SDK has, arguments that it takes, answers as promised, and risk as declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

import orjson

from uici.catalog import roots
from uici.catalog.expressions import reads, template_reads
from uici.catalog.gather import Entry
from uici.catalog.literals import either
from uici.catalog.problem import did_you_mean
from uici.catalog.scope import Scope
from uici.catalog.shapes import Schema, misfits
from uici.catalog.source import Trail
from uici.executor import Executor, StepToCheck, names
from uici.model import ExpressionError, Risk
from uici.model.record import dataclass

PARTS = ("steps", "confirm", "revert", "cancel")
_ANSWER = {
    "missing": "answer-lacks-key",
    "unknown": "answer-unknown-key",
    "type": "answer-type",
    "value": "answer-value",
}


@dataclass(slots=True)
class _Walk:
    """One translation on its way through the steps. ``answers``: the SDK's type of each ``as`` (None: plain data)."""

    scope: Scope
    entry: Entry
    dialect: str
    executor: Executor
    operation: Mapping[str, Any]
    roots: dict[str, Schema]
    answers: dict[str, str | None] = field(default_factory=dict)
    changes: list[tuple[Trail, Mapping[str, Any]]] = field(default_factory=list)


def translations(scope: Scope) -> None:
    """Each translation of each dialect that somebody uses or wrote."""
    used = scope.used()
    for name, of in scope.gathered.translations.items():
        for dialect, entry in of.items():
            if name not in scope.gathered.operations:
                hint = did_you_mean(name, scope.gathered.operations)
                entry.add("unknown-operation", f"translates {name!r}, which is no operation", hint, key=True)
                continue
            if not entry.broken:
                _form(of, dialect, entry)
            operation = scope.operation(name)
            if entry.broken or operation is None or (scope.used_only and dialect not in used):
                continue
            executor = scope.speaker(dialect)
            if executor is None:
                if not entry.source and dialect not in used:
                    message = f"no executor here speaks {dialect!r}, so that this was not checked"
                    close = did_you_mean(dialect, {*names(), *used})
                    hint = close if close.startswith("did") else "install its plugin"
                    if dialect in names():  # its plugin is there, and cannot be loaded
                        hint = f"install its SDK with: pip install 'uici[{dialect}]'"
                    entry.add("unchecked-dialect", message, hint, key=True, severity="warning")
            else:
                said = saying(of, entry)
                if said is not None and not said.broken:
                    _translation(scope, said, name, dialect, executor, operation)


def saying(of: Mapping[str, Entry], entry: Entry) -> Entry | None:
    """The translation that has the steps: this one, or the one that it takes by ``same_as``."""
    seen: set[str] = set()
    while "same_as" in entry.definition:
        after = of.get(entry.definition["same_as"])
        if after is None or after.name in seen or after.broken:
            return None
        seen.add(after.name)
        entry = after
    return entry


def _form(of: Mapping[str, Entry], dialect: str, entry: Entry) -> None:
    definition = entry.definition
    if "same_as" not in definition:
        if "steps" not in definition:
            entry.add("missing-key", "the key 'steps' is missing", "write steps, or same_as another dialect")
        return
    if len(definition) > 1:
        entry.add("same-as-and-steps", "says same_as and more", "keep one of them", at=("same_as",))
    seen = {dialect}
    at: Any = definition["same_as"]
    while at in of and at not in seen and not of[at].broken:
        seen.add(at)
        at = of[at].definition.get("same_as")
        if at is None:
            return
    if at in of and of[at].broken:
        return
    message = f"same_as leads {'in a circle' if at in seen else f'to {at!r}, which is not translated'}"
    others = [one for one in of if one not in seen]
    entry.add("bad-same-as", message, did_you_mean(str(at), others), at=("same_as",))


def _translation(
    scope: Scope, entry: Entry, name: str, dialect: str, executor: Executor, operation: Mapping[str, Any]
) -> None:
    seen = roots.of_operation(operation, scope.before(operation))
    seen["inventory"] = roots.INVENTORY
    walk = _Walk(scope, entry, dialect, executor, operation, seen)
    riskiest: tuple[Risk, Trail, str] | None = None
    for part in PARTS:
        for index, step in enumerate(entry.definition.get(part, ())):
            risk = _step(walk, step, (part, index))
            if part == "steps" and risk is not Risk.OBSERVE:
                walk.changes.append(((part, index), step))
            if risk is not None and (riskiest is None or risk > riskiest[0]):
                riskiest = (risk, (part, index), step["call"])
    _risk(entry, name, operation, riskiest)
    _idempotence(walk, name)
    _earlier(walk)
    _logs(scope, entry, dialect, executor, operation)
    _answer(walk)


def _risk(entry: Entry, name: str, operation: Mapping[str, Any], riskiest: tuple[Risk, Trail, str] | None) -> None:
    declared = Risk(operation["risk"])
    if riskiest is not None and riskiest[0] > declared:
        message = f"{riskiest[2]} is {riskiest[0]}, but {name} is declared {declared}"
        hint = f"declare {name} as risk: {riskiest[0]}, or make a call that harms less"
        entry.add("risk-too-low", message, hint, at=(*riskiest[1], "call"))


def _idempotence(walk: _Walk, name: str) -> None:
    if walk.operation.get("idempotent") is not True:
        return
    only = [_only(walk, step.get("when")) for _, step in walk.changes]
    for index, (at, step) in enumerate(walk.changes):
        others = (one for other, one in enumerate(only) if other != index)
        several = "each" in step or not all(_apart(only[index], one) for one in others)
        if several and "unless" not in step:
            message = f"{name} is idempotent and makes several changes, but this one has no unless"
            hint = "say with unless when its effect is already there, tell them apart by when, or drop idempotent"
            walk.entry.add("idempotent-without-unless", message, hint, at=(*at, "call"))


_Only = Mapping[tuple[str, ...], tuple[bool, frozenset[Any]]]


def _only(walk: _Walk, when: Any) -> _Only:
    """Of paths that stay as they are while the steps are made: the constants that they must be, or (False) must not be."""
    found: dict[tuple[str, ...], tuple[bool, frozenset[Any]]] = {}
    tree = walk.scope.shapes.checker.check(when, walk.roots).tree if isinstance(when, str) else None
    waiting = [tree.root] if tree is not None else []
    while waiting:
        one = waiting.pop()
        if one.kind == "call" and one.name == "_&&_":
            waiting.extend(one.parts)
        elif one.kind == "call" and one.name in ("_==_", "_!=_", "@in"):
            path = one.parts[0].path()
            others = one.parts[1].parts if one.name == "@in" and one.parts[1].kind == "list" else one.parts[1:]
            if path and path[0] not in walk.answers and all(isinstance(other.value, str) for other in others):
                found[path] = (one.name != "_!=_", frozenset(other.value for other in others))
    return found


def _apart(one: _Only, other: _Only) -> bool:
    """Whether at most one of the two holds."""
    for path in one.keys() & other.keys():
        (is_, values), (is_too, others) = one[path], other[path]
        if (is_ and is_too and not values & others) or (
            is_ != is_too and (values <= others if is_ else others <= values)
        ):
            return True
    return False


def _earlier(walk: _Walk) -> None:
    """What a step reads of earlier ones is there when it is made: the answer of one that ``when`` left out is null."""
    steps = [(part, index, step) for part in PARTS for index, step in enumerate(walk.entry.definition.get(part, ()))]
    may = {step["as"] for _, _, step in steps if "as" in step and "when" in step}
    made: dict[str, list[_Only | None]] = {}
    for part, index, step in steps:
        for key, name in _names_read(step, made):
            only = _only(walk, step.get("when"))
            # Of several that stand for each other one may well be there; of a single one it can be told.
            there = [one for one in made[name] if one is None or not _apart(only, one)]
            if not there or (None not in made[name] and len(made[name]) == 1 and "when" not in step):
                message = f"reads {name!r}, which is null where the step that gives it was left out by its when"
                hint = "say with when that it is only for where that one is made"
                walk.entry.add("not-there", message, hint, at=(part, index, key))
        if step.get("as") in may:
            made.setdefault(step["as"], []).append(_only(walk, step["when"]) if "when" in step else None)


def _names_read(step: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The earlier answers that a step reads, each with the first key that does."""
    if not made:
        return
    written = orjson.dumps(step)
    if not any(name.encode() in written for name in made):
        return
    found: dict[str, str] = {}
    for key in _READS:
        if key not in step:
            continue
        value, names = step[key], frozenset[str]()
        try:
            if key == "call":
                head, _, method = value.partition(".")
                names = frozenset({head} if method else ())
            elif key in ("when", "unless", "until"):
                names = reads(value)
            else:
                names = template_reads(value)
        except ExpressionError:
            continue  # said where expressions are checked
        for name in names:
            if name in made and not (key == "until" and name == step.get("as")):
                found.setdefault(name, key)
    for name, key in found.items():
        yield key, name


#: The keys of a step that read, in the order in which they are told of.
_READS = ("when", "call", "each", "unless", "touches", "with", "until")


def _logs(scope: Scope, entry: Entry, dialect: str, executor: Executor, operation: Mapping[str, Any]) -> None:
    """They can be rendered at any time, so they see what the first step sees, and they change nothing."""
    steps = entry.definition.get("logs", ())
    if not steps:
        return
    seen = roots.of_operation(operation)
    seen["inventory"] = roots.INVENTORY
    walk = _Walk(scope, entry, dialect, executor, operation, seen)
    if operation["risk"] == "observe":
        hint = "give its step stream: true"
        entry.add(
            "misplaced-key", "an operation that only observes is followed by its steps", hint, at=("logs",), key=True
        )
    for index, step in enumerate(steps):
        risk = _step(walk, step, ("logs", index))
        if risk is not None and risk is not Risk.OBSERVE:
            message = f"{step['call']} is {risk}, and logs only observe"
            entry.add("not-observe", message, "leave it out", at=("logs", index, "call"))
    if not any(step.get("stream") for step in steps):
        entry.add(
            "missing-key", "none of the logs has lines", "add stream: true to the call that gives them", at=("logs",)
        )


def _step(walk: _Walk, step: Mapping[str, Any], at: Trail) -> Risk | None:
    """The risk of one step; None where its call is not known, which is said."""
    entry, shapes = walk.entry, walk.scope.shapes
    say = entry.add
    inner = dict(walk.roots)
    item: str | None = None
    if "each" in step:
        inner["item"] = shapes.elements(step["each"], walk.roots, say, (*at, "each"))
        item = _element(walk, step["each"])
    elif step.get("continue"):
        say("misplaced-key", "continue says how each goes on, and there is no each", "remove it", at=(*at, "continue"))
    for key in ("within", "every"):
        if key in step and "until" not in step and "retry" not in step:
            say("misplaced-key", f"{key} bounds until or retry, and there is neither", "remove it", at=(*at, key))
    for key in ("until", "retry"):
        if key in step and "within" not in step:
            say("missing-key", f"{key} has no bound", "add within, such as within: 30s", at=(*at, key))
    shapes.condition(step.get("when"), walk.roots, say, (*at, "when"))
    shapes.condition(step.get("unless"), inner, say, (*at, "unless"))
    if "touches" in step:
        shapes.of(step["touches"], inner, say, (*at, "touches"))
    arguments = {key: shapes.of(value, inner, say, (*at, "with", key)) for key, value in step.get("with", {}).items()}
    path = _path(walk, step["call"], item, at)
    checked = None
    if path is not None:
        checked = walk.executor.check(
            StepToCheck(
                path=path,
                arguments=arguments,
                dialect=walk.dialect,
                accept=tuple(step.get("accept", ())),
                retry=tuple(step.get("retry", ())),
                stream=step.get("stream", False),
            )
        )
        for problem in checked.problems:
            _said(walk, step, at, problem.code, problem.message, problem.hint, problem.argument)
    unknown = checked is None or any(problem.code == "unknown_call" for problem in checked.problems)
    answer: Schema = (checked.answer_schema or {}) if checked and not unknown else {}
    own = {step["as"]: answer} if "as" in step else {}
    kind = checked.answer if checked else None
    if "each" in step:
        answer, kind = {"type": "array", "items": answer}, f"list[{kind}]" if kind else None
    if "as" in step:
        _name(walk, step["as"], at)
        seen = answer
        if step["as"] in walk.answers:  # steps that stand for each other, by their `when`
            seen = either(walk.roots[step["as"]], seen)
            kind = kind if kind == walk.answers[step["as"]] else None
        walk.roots[step["as"]] = seen
        walk.answers[step["as"]] = kind
    if "until" in step:
        shapes.condition(step["until"], {**inner, **own}, say, (*at, "until"))
        if checked is not None and not unknown and checked.risk is not Risk.OBSERVE:
            message = f"{step['call']} is {checked.risk}, and until would make it again and again"
            say("until-on-change", message, "poll with a call that only observes", at=(*at, "until"))
    return checked.risk if checked is not None and not unknown else None


def _path(walk: _Walk, call: str, item: str | None, at: Trail) -> str | None:
    """The call with its receiver's type for a first name; None, and said, where that is no object."""
    head, _, method = call.partition(".")
    if not method or (head != "item" and head not in walk.answers):
        return call
    kind = item if head == "item" else walk.answers[head]
    if kind and not kind.startswith("list["):
        return f"{kind}.{method}"
    if kind:
        message = f"{head!r} is the list of an earlier step, which has no calls"
        hint = "repeat with each and call item…, or rename the as, which hides the SDK's own"
    elif head == "item":
        message, hint = "'item' is no object of the SDK here", "repeat with each over a list of the SDK's objects"
    else:
        message, hint = (
            f"{head!r} is the answer of an earlier step, which has no calls",
            "rename the as, which hides the SDK's own",
        )
    walk.entry.add("unknown-call", message, hint, at=(*at, "call"))
    return None


def _element(walk: _Walk, each: Any) -> str | None:
    text = each.strip() if isinstance(each, str) else ""
    kind = walk.answers.get(text[2:-1].strip()) if text.startswith("${") and text.endswith("}") else None
    return kind[5:-1] if kind and kind.startswith("list[") else None


def _name(walk: _Walk, name: str, at: Trail) -> None:
    if name in roots.RESERVED:
        message = f"{name!r} is a name of expressions' own"
        walk.entry.add("reserved-name", message, "choose another", at=(*at, "as"))


def _said(
    walk: _Walk, step: Mapping[str, Any], at: Trail, code: str, message: str, hint: str, argument: str | None
) -> None:
    where: Trail = (*at, "call")
    if code in ("unknown_error",):
        where = (*at, "accept" if "accept" in step else "retry")
    elif code == "not_a_stream":
        where = (*at, "stream")
    elif argument and code != "missing_argument":
        trail, value = _written(step.get("with", {}), argument)
        where = (*at, "with", *trail)
        if isinstance(value, str) and (
            found := re.search(f"[\"']{re.escape(argument.rpartition('.')[2])}[\"']", value)
        ):
            walk.entry.add(code.replace("_", "-"), message, hint, at=where, offset=found.start())
            return
    walk.entry.add(code.replace("_", "-"), message, hint, at=where, key=code == "unknown_argument")


def _written(value: Any, dotted: str) -> tuple[Trail, Any]:
    """The trail of a dotted path through what is written, and what stands there: a key may hold dots, and an element goes by
    its number. Of what an expression makes, the text with it."""
    parts, trail = dotted.split("."), []
    while parts:
        if isinstance(value, list):
            key: Any = int(parts[0]) if parts[0].isdecimal() and int(parts[0]) < len(value) else None
            length = 1
        else:
            joined = ((".".join(parts[:length]), length) for length in range(len(parts), 0, -1))
            found = ((key, length) for key, length in joined if isinstance(value, Mapping) and key in value)
            key, length = next(found, (None, 0))
        if key is None:
            break  # the deepest place that there is
        trail.append(key)
        value, parts = value[key], parts[length:]
    return tuple(trail), value


def _answer(walk: _Walk) -> None:
    if "returns" not in walk.entry.definition:
        if walk.operation.get("returns"):
            walk.entry.add("missing-key", "the key 'returns' is missing", "build the operation's answer from the steps")
        return
    given = walk.scope.shapes.of(walk.entry.definition["returns"], walk.roots, walk.entry.add, ("returns",))
    for misfit in misfits(given, walk.operation.get("returns", {})):
        at = ("returns", *misfit.at)
        key = misfit.kind == "unknown"
        walk.entry.add(_ANSWER[misfit.kind], f"the answer promised: {misfit.message}", misfit.hint, at=at, key=key)

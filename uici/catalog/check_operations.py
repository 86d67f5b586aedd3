"""What operations prove in themselves and with each other: their schemas, what they ask, and their expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from uici.catalog import keywords, roots
from uici.catalog.conformance import short, validator
from uici.catalog.gather import Entry
from uici.catalog.problem import did_you_mean
from uici.catalog.scope import Scope
from uici.catalog.shapes import misfits
from uici.catalog.typed import parts
from uici.model import duration

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")


def schemas(scope: Scope) -> None:
    """``parameters`` and ``returns`` are JSON Schema, and what names a parameter names one."""
    for entry in scope.gathered.operations.values():
        if entry.broken:
            continue
        definition = entry.definition
        judge = _schema(entry, "parameters", definition["parameters"])
        _schema(entry, "returns", definition.get("returns", {}))
        for key in ("parameters", "returns"):
            for at, message, hint in keywords.unknown(definition.get(key, {})):
                entry.add("unknown-keyword", message, hint, at=(key, *at), key=True)
        if entry.broken:
            continue
        _parameters(entry, definition, judge)


def expressions(scope: Scope) -> None:
    """``before``, ``verify`` and ``undo`` ask what there is, and every expression names what it can see."""
    for entry in list(scope.gathered.operations.values()):
        if not entry.broken:
            _asked(scope, entry, entry.definition)


def _schema(entry: Entry, key: str, schema: Any) -> Any:
    """What judges by it; None where it is no schema."""
    try:
        return validator(schema)
    except jsonschema_rs.ValidationError as error:
        said = str(error).split("\n", 1)[0]
        message, hint = f"is no JSON Schema: {short(said)}", _cure(said)
        if error.instance_path[-1:] == ["type"]:
            kind = said.split('"')[1] if '"' in said else said
            message, hint = f"{kind!r} is no type of JSON Schema", did_you_mean(kind, _TYPES)
        entry.add("bad-schema", message, hint, at=(key, *error.instance_path))
        return None


def _mapping(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def _cure(said: str) -> str:
    if "regex" in said:
        return "regular expressions are RE2-like: no look-around, no back-references"
    if "retriev" in said:
        return "write it out, or put it under $defs: references lead nowhere outside"
    return "see https://json-schema.org/understanding-json-schema"


def _parameters(entry: Entry, definition: Mapping[str, Any], judge: Any) -> None:
    parameters = definition["parameters"]
    properties = parameters.get("properties", {})
    if parameters.get("additionalProperties", True) is not False and "patternProperties" not in parameters:
        entry.add(
            "open-parameters",
            "takes any parameter, so that a misspelt one is not found",
            "add additionalProperties: false",
            at=("parameters",),
            severity="warning",
        )
    target = definition.get("target") or {}
    for key in ("parameter", "namespace"):
        if key in target and target[key] not in properties:
            message = f"target.{key} names the parameter {target[key]!r}, which there is not"
            entry.add("unknown-parameter", message, did_you_mean(target[key], properties), at=("target", key))
    for name in parameters.get("required", ()):
        if name not in properties:
            message = f"requires the parameter {name!r}, which it does not describe"
            entry.add("unknown-parameter", message, did_you_mean(name, properties), at=("parameters", "required"))
    name = target.get("parameter")
    if (
        name in properties
        and name not in parameters.get("required", ())
        and "default" not in _mapping(properties[name])
    ):
        message = f"the parameter {name!r}, which names the target, need not be given"
        entry.add("optional-target", message, f"add required: [{name}]", at=("parameters",))
    _defaults(entry, parameters, judge)
    grace = properties.get("grace_seconds")
    if isinstance(grace, Mapping):
        limit = duration(definition.get("timeout", "60s"))
        most = _most(parameters, grace)
        if most is None or most > limit:
            message = f"grace_seconds may be {'without bound' if most is None else most}, the timeout is {limit:g} s"
            hint = f"give it a maximum below {limit:g}, or a longer timeout"
            entry.add("grace-exceeds-timeout", message, hint, at=("parameters", "properties", "grace_seconds"))


def _defaults(entry: Entry, parameters: Mapping[str, Any], judge: Any) -> None:
    """By the whole schema, for a part of it may refer to another; what stands beside ``properties`` is for a request."""
    for name, about in parameters.get("properties", {}).items():
        if "default" in _mapping(about):
            for error in judge.iter_errors({name: about["default"]}):
                if error.evaluation_path[:2] == ["properties", name]:
                    at = ("parameters", "properties", name, "default")
                    entry.add("bad-schema", f"the default is refused by its own schema: {short(error.message)}", at=at)


def _most(parameters: Mapping[str, Any], about: Any) -> float | None:
    """The highest number that a parameter can be; None where nothing bounds it. A ``$ref`` into ``parameters`` is followed."""
    found: list[float] = []
    for _ in range(16):
        if not isinstance(about, Mapping):
            break
        listed = [about["const"]] if "const" in about else about.get("enum", ())
        if listed and all(_is_number(one) for one in listed):
            found.append(max(listed))
        found += [about[key] for key in ("maximum", "exclusiveMaximum") if key in about]
        lead = about.get("$ref", "")
        about = parameters if lead.startswith("#/") else None
        for name in lead.split("/")[1:]:
            about = _mapping(about).get(name)
    return min(found, default=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _asked(scope: Scope, entry: Entry, definition: Mapping[str, Any]) -> None:
    before = scope.before(definition)
    early = roots.of_operation(definition)
    late = roots.of_operation(definition, before)
    if "before" in definition:
        scope.asks(entry, definition["before"], ("before",), early, observe="before")
    if "took_effect" in definition:
        if before is None:
            hint = "add before: what is read before the first change"
            entry.add(
                "took-effect-without-before", "compares with nothing: there is no before", hint, at=("took_effect",)
            )
        else:
            scope.judges(entry, definition["took_effect"], {**late, "answer": before}, ("took_effect",))
    if "verify" in definition:
        verify = definition["verify"]
        scope.asks(entry, verify, ("verify",), late, observe="verify")
        seen = {**late, "answer": scope.returns(verify["operation"])}
        for key in ("expect", "fail"):
            scope.judges(entry, verify.get(key), seen, ("verify", key))
        if verify.get("answers"):
            wrong = {misfit.at: misfit for misfit in misfits(seen["answer"], definition.get("returns", {}))}
            for misfit in wrong.values():
                message = f"answers with what {verify['operation']} answers, but the answer promised: {misfit.message}"
                entry.add("answer-type", message, misfit.hint, at=("verify", "answers"))
        if "steady" in verify:
            _steady(scope, entry, verify["steady"], seen)
    if "undo" in definition:
        scope.asks(entry, definition["undo"], ("undo",), {**late, "answer": definition.get("returns", {})})


def _steady(scope: Scope, entry: Entry, template: str, seen: Mapping[str, Any]) -> None:
    """A text that is written out never changes, and nothing would be watched."""
    at = ("verify", "steady")
    found, wrong = parts(template)
    if found or wrong:
        scope.shapes.of(template, seen, entry.add, at)
    else:
        message, hint = "is no expression, but this very text, which never changes", f"write ${{{template.strip()}}}"
        entry.add("text-like-expression", message, hint, at=at)

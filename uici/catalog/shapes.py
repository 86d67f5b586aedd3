"""What a template can give, as JSON Schema, and whether that fits what is wanted. For the check only; pure.

Only what can be told is told: where a value is known at run time alone, its schema is open, and an open one fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from uici.catalog import expressions, literals, templates
from uici.catalog.conformance import short, validator
from uici.catalog.problem import did_you_mean
from uici.catalog.source import Trail
from uici.catalog.typed import Checker, Typed, values
from uici.catalog.types import kind_of, values_of
from uici.model import ExpressionError
from uici.model.record import dataclass

Schema = Mapping[str, Any]
Say = Callable[..., None]
_TYPES = {"string": "string", "int": "integer", "uint": "integer", "double": "number", "bool": "boolean"}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where what is given does not fit. ``kind``: missing, unknown, type, value."""

    kind: str
    at: Trail
    message: str
    hint: str = ""


class Shapes:
    """Checks templates and gives their schemas."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker

    def of(self, template: Any, roots: Mapping[str, Schema], say: Say, at: Trail = ()) -> dict[str, Any]:
        """The schema of what a template gives; problems of its expressions are said with their places."""
        if isinstance(template, str):
            return self._text(template, roots, say, at)
        if isinstance(template, Mapping):
            if expressions.is_list(template):
                return self._list(template, roots, say, at)
            properties = {key: self.of(value, roots, say, (*at, key)) for key, value in template.items()}
            return {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        if isinstance(template, list):
            items = [self.of(value, roots, say, (*at, index)) for index, value in enumerate(template)]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        return {"const": template}

    def condition(self, source: Any, roots: Mapping[str, Schema], say: Say, at: Trail) -> None:
        """Checks bare CEL that must give true or false."""
        if not isinstance(source, str):
            return
        if source.lstrip().startswith("${") and source.rstrip().endswith("}"):
            say("expression-syntax", "a condition is written without ${…}", "write the expression alone", at=at)
            return
        for found in self.checker.condition(source, roots).problems:
            say(found.code, found.message, found.hint, at=at, offset=found.offset)

    def elements(self, each: Any, roots: Mapping[str, Schema], say: Say, at: Trail) -> Schema:
        """The schema of ``item`` for a list that is repeated over."""
        made = self.of(each, roots, say, at)
        if kind_of(made)[0] not in ("", "array"):
            say("expression-type", f"gives {kind_of(made)[0]}, not a list", "each repeats over a list", at=at)
        if made.get("prefixItems"):  # each is written, so that what they are is known before the engine is asked
            return literals.together(made["prefixItems"])
        items = made.get("items", {})
        return items if isinstance(items, Mapping) else {}

    def _list(self, template: Mapping[str, Any], roots: Mapping[str, Schema], say: Say, at: Trail) -> dict[str, Any]:
        inner = {**roots, "item": self.elements(template["each"], roots, say, (*at, "each"))}
        if "where" in template:
            self.condition(template["where"], inner, say, (*at, "where"))
        return {"type": "array", "items": self.of(template["item"], inner, say, (*at, "item"))}

    def _text(self, template: str, roots: Mapping[str, Schema], say: Say, at: Trail) -> dict[str, Any]:
        try:
            found = templates.parse(template)
        except ExpressionError as error:
            said = str(error)
            say("expression-syntax", short(said), at=at)
            return {}
        if not any(isinstance(part, templates.Part) for part in found):
            meant = templates.as_elsewhere(template, roots) or _bare(template, roots)
            if meant is not None:
                message = f"{short(template, 60)!r} is no expression here, but this very text"
                say("text-like-expression", message, f"write ${{{meant}}} for its value", at=at, severity="warning")
            return {"const": "".join(part for part in found if isinstance(part, str))}
        made: dict[str, Any] = {"type": "string"}
        for part in found:
            if isinstance(part, templates.Part):
                typed = self.checker.check(part.source, roots)
                for one in typed.problems:
                    say(one.code, one.message, one.hint, at=at, offset=part.offset + one.offset)
                if len(found) == 1:
                    made = self._value(part.source, typed, roots)
                elif typed.type in ("dyn", *_TYPES) or typed.type.startswith("google."):
                    pass
                elif not typed.problems:
                    message = f"{short(part.source, 60)!r} inside a text gives a list, a map or a time"
                    say("expression-type", message, "only text, numbers and booleans fit", at=at, offset=part.offset)
        return made

    def _value(self, source: str, typed: Typed, roots: Mapping[str, Schema]) -> dict[str, Any]:
        if typed.problems or typed.compiled is None:
            return {}
        names = templates.path(source)
        if names is not None:
            return _along(names, roots)
        tree = typed.tree
        known = literals.shape(self.checker, tree, tree.root) if tree is not None else None
        if known:
            return known
        if typed.type in _TYPES:
            return {"type": _TYPES[typed.type]}
        if typed.type.startswith("LIST"):
            return {"type": "array"}
        if typed.type.startswith("MAP"):
            return {"type": "object"}
        if typed.type in ("TIMESTAMP", "DURATION"):
            return {"type": "string"}
        return dict(self.checker.types.schemas.get(typed.type, {}))


def misfits(given: Any, wanted: Any, at: Trail = ()) -> Iterator[Misfit]:
    """Where a given schema cannot satisfy a wanted one."""
    if wanted is True or not isinstance(given, Mapping) or not isinstance(wanted, Mapping) or not wanted:
        return
    if "anyOf" in given:
        for one in given["anyOf"]:
            yield from misfits(one, wanted, at)
        return
    listed = values(given)
    if listed is not None:
        yield from _wrong_values(listed, wanted, at)
        return
    has, wants = _kinds(given), _kinds(wanted)
    if has and wants and not (has & wants):
        yield Misfit("type", at, f"gives {' or '.join(sorted(has))}, not {' or '.join(sorted(wants))}")
        return
    if has == {"object"}:
        yield from _wrong_fields(given, wanted, at)
    elif has == {"array"}:
        yield from _wrong_items(given, wanted, at)


def _wrong_values(listed: list[Any], wanted: Schema, at: Trail) -> Iterator[Misfit]:
    try:
        judge = validator(wanted)
    except (jsonschema_rs.ValidationError, ValueError):
        return  # said where the schema stands
    for value in listed:
        error = next(iter(judge.iter_errors(value)), None)
        if error is not None:
            kind = "type" if error.kind.name == "type" else "value"
            allowed = values(wanted)
            hint = did_you_mean(str(value), map(str, allowed)) if allowed else ""
            yield Misfit(kind, at, f"can be {value!r}: {short(error.message)}", hint)


def _wrong_fields(given: Schema, wanted: Schema, at: Trail) -> Iterator[Misfit]:
    fields = given.get("properties", {})
    known = wanted.get("properties", {})
    open_ = wanted.get("additionalProperties", True)
    for name, inner in fields.items():
        if name in known:
            yield from misfits(inner, known[name], (*at, name))
        elif open_ is False and "patternProperties" not in wanted:
            yield Misfit("unknown", (*at, name), f"{name!r} is unknown", did_you_mean(name, known))
        elif isinstance(open_, Mapping):
            yield from misfits(inner, open_, (*at, name))
    if given.get("additionalProperties") is False:
        for name in wanted.get("required", ()):
            if name not in fields:
                yield Misfit("missing", at, f"{name!r} is missing")


def _wrong_items(given: Schema, wanted: Schema, at: Trail) -> Iterator[Misfit]:
    items = wanted.get("items", {})
    for index, inner in enumerate(given.get("prefixItems", ())):
        yield from misfits(inner, items, (*at, index))
    if "items" in given:
        # A list built item by item stands under ``item`` in its template.
        yield from misfits(given["items"], items, (*at, "item"))
    count = given.get("minItems")
    if count is not None and count == given.get("maxItems"):
        low, high = wanted.get("minItems", 0), wanted.get("maxItems")
        if count < low or (high is not None and count > high):
            yield Misfit("value", at, f"has {count} elements, which is too {'few' if count < low else 'many'}")


def _kinds(schema: Schema) -> set[str]:
    if "enum" in schema or "const" in schema:
        listed = values(schema) or []
        names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
        found = {names.get(type(value), "null") for value in listed}
    else:
        kinds = schema.get("type")
        found = {kinds} if isinstance(kinds, str) else set(kinds or ())
    return found | ({"integer"} if "number" in found else set()) | ({"number"} if "integer" in found else set())


def _along(names: tuple[str, ...], roots: Mapping[str, Schema]) -> dict[str, Any]:
    schema: Any = {"properties": roots}
    for name in names:
        if not isinstance(schema, Mapping):
            return {}
        properties = schema.get("properties", {})
        schema = properties[name] if name in properties else values_of(schema)
    return dict(schema) if isinstance(schema, Mapping) else {}


def _bare(template: str, roots: Mapping[str, Schema]) -> str | None:
    """The path to what there is that a text spells, without the ``${…}`` that would read it; None for every other text."""
    names = templates.path(template)
    if names is None or len(names) < 2 or names[0] not in roots:
        return None
    schema: Any = roots[names[0]]
    for name in names[1:]:
        known = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
        if name not in known and not values_of(schema if isinstance(schema, Mapping) else {}):
            return None
        schema = known.get(name, {})
    return template.strip()

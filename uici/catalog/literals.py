"""What an expression itself builds, as JSON Schema: constants, choices, lists and maps, and what it takes out of those.

For the check only; pure. Where a value is known at run time alone, its schema is open (``{}``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uici.catalog import checked
from uici.catalog.typed import Checker, values
from uici.catalog.types import is_closed, kind_of

_SCALARS = {"string": "string", "int": "integer", "uint": "integer", "double": "number", "bool": "boolean"}
#: How many maps one may be whose keys are chosen.
_MOST = 8


def shape(checker: Checker, tree: checked.Tree, one: checked.Expr) -> dict[str, Any]:
    """The schema of one expression of a tree."""
    match one.kind:
        case "const":
            return {"const": one.value} if one.value is not ... else {}
        case "list":
            return _list([shape(checker, tree, part) for part in one.parts], whole=not one.left_out)
        case "struct":
            return _map(checker, tree, one)
        case "comprehension":
            return _comprehension(checker, tree, one)
        case "call" if one.name == "_?_:_":
            return _choice([shape(checker, tree, side) for side in one.parts[1:]])
        case "call" if one.name == "_[_]":
            return _element(shape(checker, tree, one.parts[0]), one.parts[1].value)
    field = checker.field(tree, one)
    if field:
        return dict(field)
    kind = tree.types.get(one.id, "")
    return {"type": _SCALARS[kind]} if kind in _SCALARS else dict(checker.types.schemas.get(kind, {}))


def together(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is known of each element of a list of these: their values, or what all of them have."""
    listed = [values(one) for one in schemas]
    if all(one is not None for one in listed):
        return {"enum": _once([value for one in listed for value in one or ()])} if schemas else {}
    made = schemas[0]
    for one in schemas[1:]:
        made = either(made, one)
    return made


def either(one: Any, other: Any) -> dict[str, Any]:
    """What is known of a value that is one or the other: of two objects all their fields, for one of them has it."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return {}
    if one is other or one == other:
        return one
    kind, nullable = kind_of(one)
    if (kind, nullable) != kind_of(other):
        return {}
    marks = {"readOnly": True} if one.get("readOnly") is True and other.get("readOnly") is True else {}
    if kind == "object" and is_closed(one) and is_closed(other):
        fields, others = one.get("properties", {}), other.get("properties", {})
        return {
            **marks,
            "type": "object",
            "properties": {
                name: either(fields[name], others[name])
                if name in fields and name in others
                else fields.get(name, others.get(name))
                for name in (*fields, *(name for name in others if name not in fields))
            },
            "additionalProperties": False,
        }
    if kind == "array":
        return {**marks, "type": "array", "items": either(one.get("items", {}), other.get("items", {}))}
    return {**marks, "type": kind} if kind in ("string", "integer", "boolean") and not nullable else {}


def _choice(sides: list[dict[str, Any]]) -> dict[str, Any]:
    listed = [values(side) for side in sides]
    if all(one is not None for one in listed):
        return {"enum": _once([value for one in listed for value in one or ()])}
    return {"anyOf": sides} if any(sides) else {}


def _once(found: list[Any]) -> list[Any]:
    """Each value once; ``true`` is not 1."""
    seen: list[tuple[type, Any]] = []
    for value in found:
        if (type(value), value) not in seen:
            seen.append((type(value), value))
    return [value for _, value in seen]


def _list(items: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "array", **({"prefixItems": items} if items else {})}
    return {**made, "minItems": len(items), "maxItems": len(items)} if whole else made


def _map(checker: Checker, tree: checked.Tree, one: checked.Expr) -> dict[str, Any]:
    """Closed where each key is written; a key that is chosen makes it one of several."""
    made: list[dict[str, Any]] = [{}]
    optional: set[Any] = set()
    for at in range(0, len(one.parts) - 1, 2):
        keys = values(shape(checker, tree, one.parts[at])) or [None]
        value = {} if at + 1 in one.left_out else shape(checker, tree, one.parts[at + 1])
        if one.name or not all(isinstance(key, str) for key in keys) or len(made) * len(keys) > _MOST:
            return {"type": "object"}
        optional.update(keys if at + 1 in one.left_out else ())
        made = [{**known, key: value} for known in made for key in keys]
    closed = [
        {
            "type": "object",
            "properties": fields,
            "required": [key for key in fields if key not in optional],
            "additionalProperties": False,
        }
        for fields in made
    ]
    return closed[0] if len(closed) == 1 else {"anyOf": closed}


def _comprehension(checker: Checker, tree: checked.Tree, one: checked.Expr) -> dict[str, Any]:
    """Of the macros ``map``, ``filter`` and ``cel.bind``; everything else is open."""
    ranged, start, _, step, result = one.parts
    if ranged.kind == "list" and not ranged.parts:  # cel.bind: nothing is gone through
        return shape(checker, tree, result)
    if result.kind != "ident" or result.name != one.accumulator or start.kind != "list" or start.parts:
        kind = tree.types.get(one.id, "")
        return {"type": _SCALARS[kind]} if kind in _SCALARS else {}
    if step.kind == "call" and step.name == "_?_:_":
        step = step.parts[1]
    added = step.parts[1] if step.kind == "call" and step.name == "_+_" else None
    if added is None or added.kind != "list" or len(added.parts) != 1:
        return {"type": "array"}
    (item,) = added.parts
    if item.kind == "ident" and item.name == one.name:
        found = shape(checker, tree, ranged)
        items = together(found["prefixItems"]) if found.get("prefixItems") else found.get("items", {})
        return {"type": "array", "items": items or shape(checker, tree, item)}
    return {"type": "array", "items": shape(checker, tree, item)}


def _element(of: dict[str, Any], at: Any) -> dict[str, Any]:
    listed = of.get("prefixItems")
    if listed is not None and "minItems" in of:
        return dict(listed[at]) if type(at) is int and 0 <= at < len(listed) else {}
    items = of.get("items")
    return dict(items) if isinstance(items, dict) else {}

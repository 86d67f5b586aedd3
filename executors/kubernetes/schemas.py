"""JSON Schemas of what templates give, read in one way whether a part is a constant, a choice or open. Pure.

Schemas and constants are JSON's own kinds, as the check makes them: to ask for a ``dict`` takes a fraction of what it takes to
ask for a ``Mapping``, and it is asked some hundred times a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}


def alternatives(schema: Any) -> Iterator[Schema]:
    """What it may be, one by one; constant mappings and lists as schemas of their parts."""
    if not isinstance(schema, dict):
        return
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from alternatives(one)
    elif (enum := schema.get("enum")) is not None and (
        isinstance(enum, list | tuple) and any(isinstance(one, dict | list) for one in enum)
    ):
        for one in schema["enum"]:
            yield lifted({"const": one})
    else:
        yield lifted(schema)


def lifted(schema: Schema) -> Schema:
    """A constant mapping or list as the schema of its parts."""
    said = schema.get("const")
    if said is None:  # most have none, and to ask what kind of thing it is takes the longest here
        return schema
    if isinstance(said, dict):
        parts = {str(key): {"const": value} for key, value in said.items()}
        return {"type": "object", "properties": parts, "required": [*parts], "additionalProperties": False}
    if isinstance(said, list | tuple):
        return {"type": "array", "prefixItems": [{"const": one} for one in said], "items": False}
    return schema


def values_of(schema: Any) -> list[Any]:
    """The only values that a schema allows; empty where it does not list them."""
    if not isinstance(schema, dict):
        return []
    if "const" in schema:
        return [schema["const"]]
    enum = schema.get("enum")
    return list(enum) if enum is not None and isinstance(enum, list | tuple) else []


def kinds_of(schema: Any) -> set[str]:
    """Its JSON types; empty: any."""
    listed = values_of(schema)
    if listed:
        return {kind_of(value) for value in listed}
    kinds = schema.get("type") if isinstance(schema, dict) else None
    return {kinds} if isinstance(kinds, str) else set(kinds or ())


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if (plain := _PLAIN.get(type(value))) is not None:
        return plain
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (Mapping, "object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "array"


def properties_of(schema: Any) -> Mapping[str, Any]:
    found = lifted(schema).get("properties", {}) if isinstance(schema, dict) else {}
    return found if isinstance(found, dict) else {}


def elements_of(schema: Any) -> Iterator[tuple[str, Schema]]:
    """Name and schema of each element that is written (its number), and of those that are made item by item (``item``)."""
    whole = lifted(schema) if isinstance(schema, dict) else {}
    for index, one in enumerate(whole.get("prefixItems", ())):
        yield str(index), one
    if isinstance(whole.get("items"), dict):
        yield "item", whole["items"]

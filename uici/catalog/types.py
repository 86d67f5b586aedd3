"""JSON Schemas as CEL types, so that a misspelt field is found with its column. For the check only; dies with it.

An object with ``properties`` becomes a protobuf message (the only types whose fields CEL checks); one without becomes a map.
What a schema leaves open stays dynamic, and is never a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from uici.catalog import expressions, functions

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STRING, _INT64, _BOOL, _MESSAGE = 9, 3, 8, 11  # of FieldDescriptorProto.Type
_OPTIONAL, _REPEATED = 1, 3
_ANY = ".google.protobuf.Value"
_NULLABLE = {
    "string": ".google.protobuf.StringValue",
    "integer": ".google.protobuf.Int64Value",
    "boolean": ".google.protobuf.BoolValue",
}
_SCALARS = {"string": _STRING, "integer": _INT64, "boolean": _BOOL}
DEEPEST = 24


class Types:
    """One pool of messages. ``schemas``: of each message, by its name."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, wrappers_pb2

        self.schemas: dict[str, Mapping[str, Any]] = {}
        self._pb = descriptor_pb2
        self._pool = descriptor_pool.DescriptorPool()
        for known in (struct_pb2, wrappers_pb2):
            self._pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        self._messages: dict[bytes, str] = {}
        self._names: dict[int, tuple[Any, str]] = {}  # by identity; the schema is kept, so that no other takes its id
        self._environments: dict[Any, Any] = {}
        self._cel = functions.cel()

    def environment(self, roots: Mapping[str, Mapping[str, Any]], extensions: frozenset[str]) -> Any:
        """The CEL environment, with these extensions, in which each root has the type of its schema."""
        named = {name: self.name(schema) for name, schema in roots.items()}
        key = (tuple(sorted(named.items())), extensions)
        found = self._environments.get(key)
        if found is None:
            typed = [(name, self._type(text)) for name, text in named.items()]
            found = self._environments[key] = expressions.environment(typed, extensions, self._pool)
        return found

    def _type(self, name: str) -> Any:
        kinds = self._cel.Type
        if name.startswith("map("):
            return kinds.Map(kinds.STRING, self._type(name[len("map(string, ") : -1]))
        if name.startswith("list("):
            return kinds.List(self._type(name[len("list(") : -1]))
        return kinds(name)

    def name(self, schema: Any) -> str:
        """The signature of a schema's CEL type."""
        known = self._names.get(id(schema))
        if known is None:
            known = self._names[id(schema)] = (schema, self._named(schema))
        return known[1]

    def _named(self, schema: Any) -> str:
        kind, nullable = kind_of(schema)
        if kind == "object":
            message = self._message(schema)
            return message or f"map(string, {self._element(values_of(schema))})"
        if kind == "array":
            return f"list({self._element(schema.get('items', {}))})"
        if kind in _SCALARS and not nullable:
            return {"string": "string", "integer": "int", "boolean": "bool"}[kind]
        return "dyn"

    def _element(self, schema: Any) -> str:
        name = self.name(schema)
        return name if name in ("string", "int", "bool") or name in self.schemas else "dyn"

    def _message(self, schema: Mapping[str, Any], depth: int = 0) -> str | None:
        properties = schema.get("properties")
        if not is_closed(schema) or depth > DEEPEST or not all(_FIELD.fullmatch(name) for name in properties or ()):
            return None
        if len({name.replace("_", "").lower() for name in properties or ()}) < len(properties or ()):
            return None  # protobuf would find fooBar and foo_bar the same
        key = orjson.dumps(properties, option=orjson.OPT_SORT_KEYS)
        found = self._messages.get(key)
        if found is not None:
            return found
        short = f"M{len(self._messages)}"
        name = self._messages[key] = f"uici.{short}"
        self.schemas[name] = schema
        file = self._pb.FileDescriptorProto(name=f"{name}.proto", package="uici", syntax="proto2")
        file.dependency.extend(("google/protobuf/struct.proto", "google/protobuf/wrappers.proto"))
        message = file.message_type.add(name=short)
        for number, (field, inner) in enumerate((properties or {}).items(), 1):
            self._field(file, message, field, number, inner, depth)
        self._pool.AddSerializedFile(file.SerializeToString())
        return name

    def _field(self, file: Any, message: Any, name: str, number: int, schema: Any, depth: int) -> None:
        if number >= 19000:
            number += 1000  # protobuf keeps 19000 to 19999 for itself
        made = message.field.add(name=name, number=number, label=_OPTIONAL)
        kind, nullable = kind_of(schema)
        if kind == "object":
            inner = self._message(schema, depth + 1)
            if inner:
                self._refer(file, made, inner)
            else:
                self._map(file, message, made, name, schema, depth)
        elif kind == "array" and not nullable:
            made.label = _REPEATED
            self._scalar_or_message(file, made, schema.get("items", {}), depth)
        else:
            self._scalar(made, kind, nullable)

    def _scalar(self, made: Any, kind: str, nullable: bool) -> None:
        if kind in _SCALARS and not nullable:
            made.type = _SCALARS[kind]
        else:
            made.type, made.type_name = _MESSAGE, _NULLABLE.get(kind, _ANY)

    def _scalar_or_message(self, file: Any, made: Any, schema: Any, depth: int) -> None:
        """An element of a list or a map, where protobuf has neither lists nor maps: those stay dynamic."""
        kind, nullable = kind_of(schema)
        inner = self._message(schema, depth + 1) if kind == "object" and not nullable else None
        if inner:
            self._refer(file, made, inner)
        else:
            self._scalar(made, "" if kind == "object" else kind, nullable)

    def _map(self, file: Any, message: Any, made: Any, name: str, schema: Mapping[str, Any], depth: int) -> None:
        # protobuf wants the entry's name to be the field's in CamelCase, and nothing else.
        entry = message.nested_type.add(name="".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_OPTIONAL, type=_STRING)
        value = entry.field.add(name="value", number=2, label=_OPTIONAL)
        self._scalar_or_message(file, value, values_of(schema), depth)
        made.label, made.type, made.type_name = _REPEATED, _MESSAGE, f".uici.{message.name}.{entry.name}"

    def _refer(self, file: Any, made: Any, name: str) -> None:
        made.type, made.type_name = _MESSAGE, f".{name}"
        if f"{name}.proto" not in file.dependency:
            file.dependency.append(f"{name}.proto")


def kind_of(schema: Any) -> tuple[str, bool]:
    """The one JSON type that a schema gives, and whether null may stand for it; empty where it is not one."""
    if not isinstance(schema, Mapping):
        return "", False
    if "const" in schema:
        return _of_values([schema["const"]])
    if "enum" in schema:
        return _of_values(schema["enum"])
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return ("" if kinds == "number" else kinds), False
    if isinstance(kinds, list):
        others = [kind for kind in kinds if kind != "null"]
        if len(others) == 1 and others[0] != "number":
            return others[0], "null" in kinds
        return "", False
    return ("object", False) if "properties" in schema else ("", False)


def is_closed(schema: Any) -> bool:
    """Whether an object's fields are all known: it has ``properties`` and does not say that there may be others."""
    return (
        isinstance(schema, Mapping)
        and "properties" in schema
        and schema.get("additionalProperties", False) is False
        and not any(word in schema for word in ("anyOf", "oneOf", "allOf", "$ref", "patternProperties", "if"))
    ) or (
        isinstance(schema, Mapping)
        and schema.get("additionalProperties") is False
        and "patternProperties" not in schema
    )


def values_of(schema: Mapping[str, Any]) -> Any:
    """Of an object without known fields: the schema of its values."""
    if "properties" in schema or "patternProperties" in schema:
        return {}
    values = schema.get("additionalProperties", {})
    return values if isinstance(values, Mapping) else {}


def _of_values(values: list[Any]) -> tuple[str, bool]:
    names = {bool: "boolean", str: "string", int: "integer"}
    kinds = {names.get(type(value), "") for value in values if value is not None}
    return (kinds.pop() if len(kinds) == 1 else ""), None in values

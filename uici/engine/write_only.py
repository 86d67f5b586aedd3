"""Parameters that a schema marks ``writeOnly``: used for the calls, stored nowhere. Pure.

Their values are hidden wherever the command's own entries, evidence and Result would show them. Must not decide whether
a command may go on without them. A schema may say it by whatever it refers to or is put together of; one that marks a value
in one case marks it in all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

#: What a schema is put together of.
_TOGETHER, _ONE_OF = ("allOf", "anyOf", "oneOf"), ("if", "then", "else")

Schemas = Sequence[Mapping[str, Any]]


def without(schema: Any, value: Any) -> Any:
    """The value with every part left out that the schema marks; the very same where there is none."""
    return _without(_parts(schema, schema), value, schema)


def _without(parts: Schemas, value: Any, root: Any) -> Any:
    if isinstance(value, Mapping):
        of = {name: _of(parts, name, root) for name in value}
        kept = {name: _without(of[name], one, root) for name, one in value.items() if not _marked(of[name])}
        return value if kept == dict(value) else kept
    if isinstance(value, list | tuple):
        inner = _items(parts, root)
        return [] if _marked(inner) else [_without(inner, one, root) for one in value]
    return value


def values(schema: Any, value: Any) -> Iterator[str]:
    """Each value, as text, that must not be stored."""
    return _values(_parts(schema, schema), value, schema, False)


def _values(parts: Schemas, value: Any, root: Any, inside: bool) -> Iterator[str]:
    inside = inside or _marked(parts)
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _values(_of(parts, name, root), one, root, inside)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _values(_items(parts, root), one, root, inside)
    elif inside and value is not None and not isinstance(value, bool):
        yield str(value)


def marks(schema: Any) -> bool:
    """Whether it marks anything, be it in a part that nothing refers to."""
    if isinstance(schema, Mapping):
        return schema.get("writeOnly") is True or any(marks(one) for one in schema.values())
    return isinstance(schema, list | tuple) and any(marks(one) for one in schema)


def _marked(parts: Schemas) -> bool:
    return any(one.get("writeOnly") is True for one in parts)


def _of(parts: Schemas, name: Any, root: Any) -> Schemas:
    found: list[Any] = []
    for one in parts:
        known = one.get("properties", {})
        by_pattern = [
            inner for pattern, inner in one.get("patternProperties", {}).items() if _matches(pattern, str(name))
        ]
        found += [*([known[name]] if name in known else ()), *by_pattern]
        if name not in known and not by_pattern:
            found += [one.get("additionalProperties"), one.get("unevaluatedProperties")]
    return [part for inner in found for part in _parts(inner, root)]


def _items(parts: Schemas, root: Any) -> Schemas:
    """Of any element, wherever it stands."""
    found = [inner for one in parts for inner in (one.get("items"), one.get("contains"), *one.get("prefixItems", ()))]
    return [part for inner in found for part in _parts(inner, root)]


def _parts(schema: Any, root: Any, seen: tuple[Any, ...] = ()) -> Schemas:
    """The schema and all that it is put together of."""
    if not isinstance(schema, Mapping) or any(schema is one for one in seen):
        return ()
    inner = [one for key in _TOGETHER for one in schema.get(key, ())] + [schema.get(key) for key in _ONE_OF]
    inner += [*schema.get("dependentSchemas", {}).values(), _referred(schema.get("$ref"), root)]
    return (schema, *(part for one in inner for part in _parts(one, root, (*seen, schema))))


def _referred(reference: Any, root: Any) -> Any:
    """What ``#/$defs/…`` leads to. Of a reference that leads elsewhere nobody can tell here, so it marks what anything does."""
    if not isinstance(reference, str):
        return None
    found = root
    for word in reference.removeprefix("#").split("/")[1:]:
        word = unquote(word).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list | tuple):
            found = dict(enumerate(found)).get(int(word)) if word.isdecimal() else None
        else:
            found = found.get(word) if isinstance(found, Mapping) else None
    known = reference == "#" or (reference.startswith("#/") and found is not None)
    return found if known else {"writeOnly": marks(root)}


def _matches(pattern: str, name: str) -> bool:
    """A pattern that only another engine reads may match anything."""
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True

"""Parameters that a schema marks ``writeOnly``: used for the calls, stored nowhere. Pure.

Their values are hidden wherever the command's own entries, evidence and Result would show them. Must not decide whether
a command may go on without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def without(schema: Any, value: Any) -> Any:
    """The value with every part left out that the schema marks; the very same where there is none."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        kept = {name: without(_of(schema, name), one) for name, one in value.items() if not _marked(known.get(name))}
        return value if kept == dict(value) else kept
    if isinstance(value, list | tuple):
        return [without(schema.get("items"), one) for one in value]
    return value


def values(schema: Any, value: Any, inside: bool = False) -> Iterator[str]:
    """Each value, as text, that must not be stored."""
    inside = inside or _marked(schema)
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from values(_of(schema, name), one, inside)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from values(schema.get("items") if isinstance(schema, Mapping) else None, one, inside)
    elif inside and value is not None and not isinstance(value, bool):
        yield str(value)


def _marked(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("writeOnly") is True


def _of(schema: Any, name: str) -> Any:
    if not isinstance(schema, Mapping):
        return None
    return schema.get("properties", {}).get(name, schema.get("additionalProperties"))

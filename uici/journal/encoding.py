"""An entry's data as JSON text. What comes from outside must not keep an outcome from being written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from uici.journal.entry import KINDS, Entry


def text_of(entry: Entry) -> tuple[str, Mapping[str, Any]]:
    """An entry's data as JSON, and as what a reader will see. Raises TypeError or ValueError for what is no entry."""
    if entry.kind not in KINDS:
        raise ValueError(f"{entry.kind!r} is no kind of entry")
    try:
        return orjson.dumps(entry.data, default=_plain).decode(), entry.data
    except TypeError:
        # Lone surrogates and integers beyond 64 bits come from outside; they must not keep an outcome from being written.
        data = _writable(entry.data)
        return orjson.dumps(data).decode(), data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _writable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool() | None | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case Mapping():
            return {_writable(str(key)): _writable(one) for key, one in value.items()}
        case list() | tuple():
            return [_writable(one) for one in value]
        case set() | frozenset():
            return sorted(_writable(one) for one in value)
    raise TypeError(f"{type(value).__name__} is no JSON")

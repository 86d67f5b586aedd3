"""What is known of a value that one of several steps gives: all that any of them may have, and nothing wrong."""

from __future__ import annotations

from typing import Any

import pytest

from uici.catalog.shapes import either

TEXT: dict[str, Any] = {"type": "string", "readOnly": True}
COUNT: dict[str, Any] = {"type": "integer", "readOnly": True}


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "readOnly": True, "properties": fields}


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [
        (TEXT, TEXT, TEXT),
        (TEXT, {"type": "string"}, {"type": "string"}),
        (TEXT, COUNT, {}),
        ({"enum": ["a"]}, {"enum": ["b"]}, {"type": "string"}),
        ({"type": ["string", "null"]}, TEXT, {}),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": COUNT}, {"type": "array", "items": {}}),
        (record(a=TEXT), {"type": "object"}, {}),
        (
            record(spec=record(replicas=COUNT), name=TEXT),
            record(spec=record(selector=TEXT), name=COUNT),
            record(spec=record(replicas=COUNT, selector=TEXT), name={}),
        ),
    ],
)
def test_one_or_the_other(one: Any, other: Any, known: Any) -> None:
    for found in (either(one, other), either(other, one)):
        found = dict(found)
        assert found.pop("additionalProperties", False) is False
        assert _without(found) == _without(known)
        assert found.get("readOnly") == known.get("readOnly")


def _without(schema: Any) -> Any:
    """Without the word that only closes what is closed anyhow, and in one order."""
    if isinstance(schema, dict):
        return {key: _without(schema[key]) for key in sorted(schema) if key != "additionalProperties"}
    return schema

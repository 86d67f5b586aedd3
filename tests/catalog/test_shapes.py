"""What is known of a value that one of several steps gives: all that any of them may have, and nothing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uici.catalog import expressions
from uici.catalog.conformance import validator
from uici.catalog.literals import either
from uici.catalog.shapes import Shapes
from uici.catalog.typed import Checker
from uici.model import ExpressionError

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


NAMES = ("a", "b", "c")
ROOTS: dict[str, Any] = {
    "p": {
        "type": "object",
        "properties": {
            "a": {"enum": ["x", "y"]},
            "b": {"type": "integer"},
            "c": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        },
    },
    "d": {},
}
DATA = st.fixed_dictionaries(
    {
        "p": st.fixed_dictionaries(
            {
                "a": st.sampled_from(["x", "y"]),
                "b": st.integers(-3, 3),
                "c": st.lists(st.fixed_dictionaries({"a": st.sampled_from(["x", "z"])}), max_size=2),
            }
        ),
        "d": st.none() | st.integers(-3, 3) | st.lists(st.integers(0, 3), max_size=2),
    }
)
BUILT = st.recursive(
    st.sampled_from(["p.a", "p.b", "p.c", "d", "1", "'x'", "true", "null", "v.a", "v", "1.5", "[]", "{}"]),
    lambda inner: st.one_of(
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{'a': {}, 'b': {}}}".format, inner, inner),
        st.builds("{{'a': {}, ?'b': optional.of({})}}".format, inner, inner),
        st.builds("[?optional.of({}), {}]".format, inner, inner),
        st.builds("{{(p.b > 0 ? 'a' : 'c'): {}}}".format, inner),
        st.builds("{{p.a: {}}}".format, inner),
        st.builds("(p.b > 0 ? {} : {})".format, inner, inner),
        st.builds("dyn(p.b > 0 ? dyn({}) : dyn({}))".format, inner, inner),
        st.builds("{}[{}]".format, inner, st.sampled_from(["0", "1", "'a'"])),
        st.builds("{}.{}".format, inner, st.sampled_from(NAMES)),
        st.builds("({} + {})".format, inner, inner),
        st.builds("[{}, {}].map(v, {})".format, inner, inner, inner),
        st.builds("p.c.map(v, {})".format, inner),
        st.builds("p.c.filter(v, v.a == 'x')".format),
        st.builds("[{}, {}].filter(v, {})".format, inner, inner, inner),
        st.builds("p.c.map(v, v.a == 'x', {})".format, inner),
        st.builds("cel.bind(v, {}, {})".format, inner, inner),
        st.builds("p.c.exists(v, {})".format, inner),
    ),
    max_leaves=7,
)


@given(source=BUILT, data=DATA)
def test_what_an_expression_gives_has_the_shape_that_is_told_of_it(source: str, data: Any) -> None:
    said: list[Any] = []
    found = Shapes(Checker()).of(f"${{{source}}}", ROOTS, lambda *about, **more: said.append(about))
    if said:
        return
    try:
        value = expressions.evaluate(source, data)
    except ExpressionError:
        return
    assert not list(validator(found).iter_errors(value)), (found, value)


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ("{'a': 1, 'b': [p.a]}", {"a": {"const": 1}, "b": [{"enum": ["x", "y"]}]}),
        ("{(p.b > 0 ? 'a' : 'b'): 'x'}", {"anyOf": [{"a": {"const": "x"}}, {"b": {"const": "x"}}]}),
        ("p.c.map(v, {'n': v.a})[0]", {"n": {"type": "string"}}),
        ("p.c.map(v, cel.bind(w, v.a + 'z', {'n': w}))[0].n", {"type": "string"}),
        ("{'a': p.b + 1, 'b': d}", {"a": {"type": "integer"}, "b": {}}),
        ("[0, 5]", [{"const": 0}, {"const": 5}]),
        ("{d: 1}", {"type": "object"}),
    ],
)
def test_what_an_expression_builds_is_read_in_it(source: str, shape: Any) -> None:
    def short(schema: Any) -> Any:
        if "anyOf" in schema:
            return {"anyOf": [short(one) for one in schema["anyOf"]]}
        if "properties" in schema:
            return {key: short(one) for key, one in schema["properties"].items()}
        return [short(one) for one in schema["prefixItems"]] if "prefixItems" in schema else schema

    assert short(Shapes(Checker()).of(f"${{{source}}}", ROOTS, lambda *_, **__: None)) == shape

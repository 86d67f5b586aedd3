"""What CEL is not handed it could not have seen: with less data an expression gives the same value, or fails as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uici.catalog import functions, templates
from uici.catalog.expressions import environment
from uici.catalog.needs import needs, pruned

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent.parent / "cases" / "needs.yml").read_text())
STARTER = Path(__file__).parents[2] / "infrastructure" / "config"
NAMES = ("a", "b", "c")
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "c"])
DATA = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)


def parts(source: str) -> Any:
    compiled = environment((), functions.needed(source)).compile(source, disable_check=True)
    return needs(compiled.serialize())


def value(source: str, roots: dict[str, Any]) -> tuple[str, Any]:
    variables = ((name, functions.cel().Type.DYN) for name in roots)
    found = environment(variables, functions.needed(source)).compile(source).eval(data=roots)
    kind = found.type().name()
    return kind, None if kind in ("ERROR", "OPTIONAL_TYPE") else found.plain_value()


def same(source: str, roots: dict[str, Any]) -> None:
    wanted = parts(source)
    less = {name: pruned(one, wanted[name]) if name in wanted else None for name, one in roots.items()}
    assert value(source, less) == value(source, roots), less


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["cel"])
def test_only_what_is_read_is_left(case: dict[str, Any]) -> None:
    wanted = parts(case["cel"])
    left = {name: pruned(one, wanted[name]) for name, one in case["roots"].items() if name in wanted}
    assert left == case["left"]
    same(case["cel"], case["roots"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["cel"])
@given(data=st.data())
def test_any_data_gives_the_same(case: dict[str, Any], data: st.DataObject) -> None:
    same(case["cel"], {name: data.draw(DATA) for name in case["roots"]})


def test_a_nest_as_deep_as_cel_reads_it_is_looked_through_at_once() -> None:
    source = "z.a"
    for name in ("z", *(f"v{number}" for number in range(28))):
        source = f"l.map({name}, {source})"
    assert pruned([{"a": 1, "b": 2}], parts(source)["l"]) == [{"a": 1}]


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "y", "1", "0", "''", "'a'", "null", "true", "[]", "{'a': x}", "[x, y.a]"]),
    lambda inner: st.one_of(
        st.builds("{}.{}".format, inner, st.sampled_from(NAMES)),
        st.builds("{}.?{}".format, inner, st.sampled_from(NAMES)),
        st.builds("{}['{}']".format, inner, st.sampled_from(NAMES)),
        st.builds("{}[?0]".format, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}.orValue({})".format, inner, inner),
        st.builds("has({}.{})".format, inner, st.sampled_from(NAMES)),
        st.builds("size({})".format, inner),
        st.builds("({} == {})".format, inner, inner),
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} in {})".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("{}.exists(z, {} == z.a)".format, inner, inner),
        st.builds("{}.filter(z, z.a == {})".format, inner, inner),
        st.builds("{}.filter(z, has(z.a))[0]".format, inner),
        st.builds("{}.map(z, [z.b, {}])".format, inner, inner),
        st.builds("{}.map(z, z.c)".format, inner),
        st.builds("cel.bind(z, {}, z.a == {})".format, inner, inner),
    ),
    max_leaves=5,
)


@given(source=EXPRESSIONS, x=DATA, y=DATA)
def test_any_expression_gives_the_same(source: str, x: Any, y: Any) -> None:
    try:
        parts(source)
        value(source, {"x": None, "y": None})
    except (RuntimeError, TypeError, ValueError):
        return  # no expression
    same(source, {"x": x, "y": y})


def test_all_expressions_of_the_starter_can_be_looked_through() -> None:
    for file in STARTER.glob("*.yml"):
        for text in _texts(yaml.safe_load(file.read_text())):
            for part in templates.parse(text):
                if isinstance(part, templates.Part):
                    assert all(parts(part.source))


def _texts(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data] if "${" in data else []
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [text for one in inner for text in _texts(one)]

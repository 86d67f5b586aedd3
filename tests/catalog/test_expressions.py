"""CEL at run time: an error value never passes for a value, and what is given is seen as it is."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uici.catalog import expressions, functions, templates
from uici.catalog.expressions import condition, evaluate, reads, render, template_reads
from uici.catalog.typed import Checker
from uici.model import ExpressionError

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases" / "expressions.yml").read_text())
OPEN: dict[str, Any] = {name: {} for name in CASES["roots"]}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def seen(value: Any) -> Any:
    """As CEL sees it: U+FFFD for NUL, and 0.0 for -0.0 is the same."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [seen(one) for one in value]
    if isinstance(value, dict):
        return {seen(key): seen(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize("case", CASES["evaluate"], ids=lambda case: case["cel"])
def test_evaluate(case: dict[str, Any]) -> None:
    if "raises" in case:
        with pytest.raises(ExpressionError, match=case["raises"]):
            evaluate(case["cel"], CASES["roots"])
    else:
        value = evaluate(case["cel"], CASES["roots"])
        assert (value, type(value)) == (case["gives"], type(case["gives"]))


@pytest.mark.parametrize("case", CASES["render"], ids=lambda case: str(case["template"])[:60])
def test_render(case: dict[str, Any]) -> None:
    if "raises" in case:
        with pytest.raises(ExpressionError, match=case["raises"]):
            render(case["template"], CASES["roots"])
    else:
        value = render(case["template"], CASES["roots"])
        assert (value, type(value)) == (case["gives"], type(case["gives"]))


def test_an_optional_that_is_not_ended_is_an_error_and_no_crash() -> None:
    """In a process of its own, for what is tested is that it lives on."""
    program = (
        "import sys, yaml\n"
        "from uici.catalog.expressions import evaluate\n"
        "from uici.model import ExpressionError\n"
        "cases = yaml.safe_load(sys.stdin)\n"
        "for source in cases['unended']:\n"
        "    print(source, flush=True)\n"
        "    try:\n"
        "        sys.exit(f'gave {evaluate(source, cases[\"roots\"])!r}')\n"
        "    except ExpressionError as error:\n"
        "        assert str(error).endswith('end it with .orValue(…), or ask .hasValue()'), error\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=yaml.safe_dump(CASES), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-200:], done.stderr[-500:])


@pytest.mark.parametrize("cel", CASES["unended"])
def test_the_check_says_so_of_an_optional_that_is_not_ended(cel: str) -> None:
    """Whatever is known of the data."""
    closed = {"type": "object", "properties": {"nothing": {"type": "integer"}, "name": {"type": "string"}}}
    closed["properties"]["labels"] = {"type": "object", "additionalProperties": {"type": "string"}}
    for roots in (OPEN, {**OPEN, "target": closed}):
        assert {found.code for found in Checker().check(cel, roots).problems} == {"expression-type"}


def test_the_check_says_nothing_of_what_gives_a_value() -> None:
    right = [case["cel"] for case in CASES["evaluate"] if "gives" in case]
    assert [cel for cel in right if Checker().check(cel, OPEN).problems] == []


def test_a_check_of_the_same_expression_with_other_roots_is_another() -> None:
    checker, one, other = Checker(), {"type": "string"}, {"type": "object", "properties": {"b": {"type": "string"}}}
    problems = {
        name: bool(checker.check("a.b == 'x'", roots).problems)
        for name, roots in (
            ("text has no fields", {"a": one}),
            ("an object has", {"a": other}),
            ("the one that has is another root", {"b": other}),
            ("and that one is not read", {"a": one, "b": other}),
            ("asked once more", {"a": other, "b": one}),
        )
    }
    assert list(problems.values()) == [True, False, True, True, False], problems


def test_where_types_do_not_tell_of_an_optional_its_value_does() -> None:
    compiled, doubtful = expressions._compiled("[x[?0].orValue(1)]", frozenset("x"))
    assert doubtful
    expressions._no_optional(compiled.eval(data={"x": [{"a": [1]}]}), "")
    inside = expressions._environment(frozenset("x"), frozenset({"optional"})).compile("[{'a': [x[?0]]}]")
    with pytest.raises(ExpressionError, match="end it with"):
        expressions._no_optional(inside.eval(data={"x": [1]}), "")


@pytest.mark.parametrize(
    "cel",
    [
        "answer.nothing == 1",
        "answer.nothing",
        "1 / 0 == 1",
        "nobody.there == 1",
        "answer.state",
        "answer.count",
        "null",
        "[true]",
        "'true'",
    ],
)
def test_only_true_is_true(cel: str) -> None:
    with pytest.raises(ExpressionError):
        condition(cel, CASES["roots"])


def test_conditions() -> None:
    assert condition("answer.state == 'running'", CASES["roots"]) is True
    assert condition("flag", {"flag": False}) is False


@given(JSON)
def test_data_goes_through_unchanged(value: Any) -> None:
    assert evaluate("[x][0]", {"x": value}) == seen(value)
    assert evaluate("x", {"x": value}) == value
    assert render({"a": ["${x}"]}, {"x": value}) == {"a": [value]}


@given(st.text(), st.text())
def test_two_texts_are_equal_only_when_they_are(one: str, other: str) -> None:
    assert condition("x == y", {"x": one, "y": other}) == (seen(one) == seen(other))


def test_a_text_with_a_nul_is_not_the_text_before_it() -> None:
    assert condition("x == 'web'", {"x": "web\0evil"}) is False
    assert evaluate("size(x)", {"x": "web\0evil"}) == 8


@given(st.text(alphabet="ab.[]()'\"${}?:=!&|+-12,\\ \n", max_size=40))
def test_any_source_gives_a_value_or_an_expression_error(source: str) -> None:
    for function in (evaluate, condition):
        with contextlib.suppress(ExpressionError):
            function(source, {"a": {"b": [1, "x"]}})


@given(st.text(alphabet="ab${}'\"\\ r/\n", max_size=40))
def test_any_template_gives_a_value_or_an_expression_error(template: str) -> None:
    try:
        made = render(template, {"a": "x", "b": "${a}"})
    except ExpressionError:
        return
    if "${" not in template:
        assert made == template


@given(st.text())
def test_a_value_is_never_a_template(text: str) -> None:
    assert render("${x}", {"x": text}) == text
    assert render("<${x}>", {"x": text}) == f"<{text}>"


@given(st.text())
def test_literals_can_be_written(text: str) -> None:
    assert render(text.replace("${", "$${"), {}) == text if "$$" not in text.replace("${", "") else True


def test_hostile_data_is_refused_and_not_a_crash() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "\ud800", 2**70, {1, 2}, object()):
        with pytest.raises(ExpressionError):
            condition("[x] == [2]", {"x": value})


def test_tuples_and_mappings_are_lists_and_maps() -> None:
    from types import MappingProxyType

    for x in (MappingProxyType({"names": ("a", "b")}), {"names": ("a", "b")}):
        assert evaluate("x.names + ['c']", {"x": x}) == ["a", "b", "c"]
        assert condition("x == {'names': ['a', 'b']}", {"x": x})


def test_lists_are_built_item_by_item_past_cels_budget() -> None:
    many = [{"n": n, "tags": [{"k": k} for k in range(3)]} for n in range(20_000)]
    template = {
        "each": "${many}",
        "where": "item.n % 2 == 0 && item.tags.exists(t, t.k == 2)",
        "item": {"n": "${item.n}"},
    }
    assert render(template, {"many": many}) == [{"n": n} for n in range(0, 20_000, 2)]


def test_only_what_is_read_is_handed_over() -> None:
    assert reads("target.name + string(size(parameters.x))") == {"target", "parameters"}
    assert reads("xs.exists(x, x.n == y)") == {"xs", "y"}
    assert reads("[1].all(target, target > 0)") == frozenset()
    assert reads("optional.of(a).orValue(math.greatest(b, 1))") == {"a", "b"}
    assert template_reads({"each": "${pods}", "where": "item.ok == wanted", "item": {"a": ["${item.n}-${now}"]}}) == {
        "pods",
        "wanted",
        "now",
    }
    assert condition("answer.ok == true", {"answer": {"ok": True}, "hostile": object()}) is True


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("128Mi", 134217728),
        ("1Gi", 1073741824),
        ("1.5k", 1500),
        ("0", 0),
        ("1e3", 1000),
        ("100m", 1),
        ("-1Ki", -1024),
        (".5Ki", 512),
    ],
)
def test_quantity(text: str, number: int) -> None:
    assert functions.quantity(text) == number
    assert evaluate(f"quantity('{text}')", {}) == number


@pytest.mark.parametrize("text", ["", "Mi", "1mb", "1 Mi", "1e999", "9999999Ei", "0x10", "1Mi\n", "\u0661"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|64 bits"):
        functions.quantity(text)
    with pytest.raises(ExpressionError):
        evaluate("quantity(x)", {"x": text})


def test_log_patterns_name_what_is_known() -> None:
    lines = ["started", *(f"connect to 10.0.0.{n}: connection refused" for n in range(5)), "OOMKilled: out of memory"]
    found = functions.log_patterns(lines)
    assert [(one["name"], one["count"]) for one in found] == [("connection_refused", 5), ("out_of_memory", 1), ("", 1)]
    assert found[0]["template"] == "connect to <*> connection refused"


def test_log_patterns_of_much_are_bounded() -> None:
    found = functions.log_patterns([f"{n} {'x' * 9000}" for n in range(2_500)])
    assert sum(one["count"] for one in found) == functions.MOST_LINES


@pytest.mark.parametrize("name", [name for name, _ in functions.PATTERNS])
def test_each_named_pattern_has_an_example(name: str) -> None:
    line = CASES["patterns"][name]
    assert functions.log_patterns([line])[0]["name"] == name


def test_templates_know_where_expressions_are() -> None:
    (text, part) = templates.parse("ab ${x.y}")
    assert text == "ab "
    assert part == templates.Part("x.y", 5)
    assert templates.path(" a.b ") == ("a", "b")
    assert templates.path("a.b()") is None
    assert templates.path("true") is None


def test_what_cannot_be_json_is_no_value() -> None:
    for cel in ("b'x'", "1.0 / 0.0", "{1: 2}", "type(1)", "optional.of(1)", "[optional.none()]"):
        with pytest.raises(ExpressionError):
            evaluate(cel, {})
    assert expressions.is_list({"each": "${x}", "item": 1})
    assert not expressions.is_list({"each": "${x}", "item": 1, "other": 2})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$target.id", "target.id"),
        ("{{ target.id }}", "target.id"),
        ("{{service}}", "service"),
        ("{{ target.names[0] }}", "target.names[0]"),
        ("$HOME", None),
        ("{{.Names}}", None),
        ("{{range .}}", None),
        ("it costs $target", None),
        ("{{}}", None),
        ("$", None),
        ("", None),
    ],
)
def test_what_others_would_write(text: str, meant: str | None) -> None:
    assert templates.as_elsewhere(text, {"target", "parameters"}) == meant


@pytest.mark.parametrize(
    ("source", "many"),
    [
        ("type(x) == int", [1, 1.0, True, "1", [1]]),
        ("x == null ? 'none' : 'some'", [None, float("nan"), 0, "null"]),
        ("[x, x]", [[], {}, "", 0, False]),
        ("size(x)", ["ab", "a\0", "a\ufffd", ["a", "b"], {"a": 1}]),
    ],
)
def test_what_came_of_other_data_is_never_given(source: str, many: list[Any]) -> None:
    """An evaluation is remembered by its data: in whatever order they come, each gives what it gives alone."""

    def all_of(order: list[Any]) -> list[str]:
        found = []
        for x in order:
            try:
                found.append(repr(evaluate(source, {"x": x})))
            except ExpressionError as error:
                found.append(str(error))
        return found

    alone = []
    for x in many:
        expressions._remembered.clear()
        alone += all_of([x])
    assert all_of(many) == all_of(many) == all_of(many[::-1])[::-1] == alone


def test_what_was_given_may_be_changed_by_whoever_got_it() -> None:
    first = evaluate("x.filter(one, one != '')", {"x": ["a", ""]})
    first.append("mine")
    assert evaluate("x.filter(one, one != '')", {"x": ["a", ""]}) == ["a"]


def test_a_template_s_expressions_are_evaluated_together_and_fail_alone() -> None:
    """What is evaluated as one list gives what each gives alone, and the error names the one that fails."""
    template = {
        "text": "${x.a + 1}/${x.b.map(one, one + 1)[0]}",
        "kept": "${x.b.map(one, one + 1)}",
        "more": ["${x.a == 1}", {"deep": "${{'a': x.a + 1}}"}],
        "list": {"each": "${x.b.filter(one, one > 1)}", "item": "${item + x.a + 1}"},
    }
    assert render(template, {"x": {"a": 1, "b": [1, 2]}}) == {
        "text": "2/2",
        "kept": [2, 3],
        "more": [True, {"deep": {"a": 2}}],
        "list": [4],
    }
    with pytest.raises(ExpressionError, match=r"^x\.b\.map.*: (no such|Key not found)"):
        render({"a": "${x.a + 1}", "b": "${x.b.map(one, one + 1)}"}, {"x": {"a": 1}})
    with pytest.raises(ExpressionError, match=r"^y \+ 1 reads y"):
        render({"a": "${x.a + 1}", "b": "${y + 1}"}, {"x": {"a": 1}})

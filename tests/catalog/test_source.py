"""The YAML reader: plain data with places, and never an exception for what a file can hold."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from uici.catalog.source import DEEPEST, MOST_BYTES, Document, parse, read

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
# YAML knows no surrogate pairs, and reads U+0085, U+2028 and U+2029 as ends of lines.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def of(text: str | bytes) -> Document:
    return parse(text if isinstance(text, bytes) else text.encode(), Document("f.yml"))


@given(VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    document = of(json.dumps(value))
    assert document.data == value
    assert [problem.code for problem in document.problems] == (["empty-file"] if value is None else [])


class Dumper(yaml.SafeDumper):
    """PyYAML writes YAML 1.1, to which ``1e5`` and ``0o17`` are text: what YAML 1.2 reads as a number stands in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for kind, form in (("float", r"[-+]?[0-9]+[eE][-+]?[0-9]+"), ("int", r"0o[0-7]+")):
    Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{form})$"), list("-+0123456789"))


@example("0E0")
@example("0o17")
@given(VALUES)
def test_what_yaml_writes_is_read_back_or_refused(value: Any) -> None:
    document = of(yaml.dump(value, Dumper=Dumper, allow_unicode=True))
    if not document.problems:
        assert document.data == value


@given(st.binary(max_size=300))
def test_any_bytes_give_data_or_problems(raw: bytes) -> None:
    document = of(raw)
    assert document.readable or document.problems


@given(st.text(alphabet="ab:-{}[]&*!|>'\"#\n \t,?0x", max_size=80))
def test_any_marks_give_data_or_problems(text: str) -> None:
    document = of(text)
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1


@pytest.mark.parametrize(
    "bomb", ["[" * 100_000, "- " * 100_000, "a: {" * 50_000, "? " * 100_000, "a:\n" + " b:" * 9999]
)
def test_bombs_are_refused(bomb: str) -> None:
    assert of(bomb).problems[-1].code in ("too-deep", "yaml-syntax")


def test_as_deep_as_is_allowed() -> None:
    assert of("[" * DEEPEST + "]" * DEEPEST).problems == []
    assert [one.code for one in of("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)).problems] == ["too-deep"]


def test_alias_bombs_are_never_expanded() -> None:
    text = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    document = of(text)
    assert {problem.code for problem in document.problems} == {"yaml-alias"}
    assert document.data["u"] == [None, None]


def test_a_large_file_is_refused_unread(tmp_path: Any) -> None:
    path = tmp_path / "operations.yml"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    document = read(path)
    assert [problem.code for problem in document.problems] == ["file-too-large"]
    assert document.text == ""


def test_what_cannot_be_read_is_said(tmp_path: Any) -> None:
    document = read(tmp_path)
    assert [problem.code for problem in document.problems] == ["unreadable-file"]
    assert not document.readable


def test_all_problems_at_once_with_their_trails() -> None:
    document = of("a: [1, no, {c: on}]\na: 2\nb: &x 1\n5: 1\n")
    assert [(problem.code, problem.line, problem.column) for problem in document.problems] == [
        ("yaml-boolean", 1, 8),
        ("yaml-boolean", 1, 16),
        ("duplicate-key", 2, 1),
        ("yaml-alias", 3, 4),
        ("key-not-text", 4, 1),
    ]
    assert {("a", 1), ("a", 2, "c"), ("b",)} <= document.broken
    assert document.is_broken(("a", 2))
    assert not document.is_broken(("a", 0))
    assert document.data["a"][0] == 1


@pytest.mark.parametrize(
    ("text", "trail", "needle"),
    [
        ('a: "x ${q}"', ("a",), "q}"),
        ("a: x ${q}", ("a",), "q}"),
        ("a: 'x ${q}'", ("a",), "q}"),
        ("a: {b: [1, 'y ${q}']}", ("a", "b", 1), "q}"),
        ("a: |\n  one\n  two ${q}\n", ("a",), "q}"),
    ],
)
def test_places_inside_text(text: str, trail: tuple[Any, ...], needle: str) -> None:
    document = of(text)
    value: Any = document.data
    for part in trail:
        value = value[part]
    line, column = document.place(trail, offset=value.index(needle))
    assert text.split("\n")[line - 1][column - 1 :].startswith(needle)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\x85", "\u2028", "\u2029"])
def test_places_inside_text_where_lines_end_otherwise(end: str) -> None:
    document = of(f"# one{end}# two{end}b: 1\na: 'x ${{q}}'\n")
    assert document.place(("a",), offset=4) == (4, 9)


@pytest.mark.parametrize("text", ['a: "b\\tc ${q}"', "a: >\n  one\n  two ${q}\n", "a: one\n  two ${q}"])
def test_where_a_place_inside_cannot_be_told_it_is_the_texts_own(text: str) -> None:
    assert of(text).place(("a",), offset=6) == (1, 4)


def test_what_is_the_owners_may_be_anything_readable() -> None:
    assert of("x-a: {b: no, c: 010}\nd: {x-e: [yes, off]}").problems == []


def test_yaml_12_scalars() -> None:
    text = "[~, true, 12, -3, 0x1F, 0o17, 1.5, 1e3, 2026-11-25, 1.2.3, '12', v1, n, Y, '']"
    assert of(text).data == [None, True, 12, -3, 31, 15, 1.5, 1000.0, "2026-11-25", "1.2.3", "12", "v1", "n", "Y", ""]

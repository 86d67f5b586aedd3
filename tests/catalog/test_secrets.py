"""Secrets are references until they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uici.catalog import references, secrets
from uici.catalog.secret_references import misspelt
from uici.model import ConfigurationError


def test_references_are_filled_in_however_deep(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    data = {"a": ["${env:A}", {"b": f"x ${{file:{file}}} y"}], "c": 1, "d": None, "e": "$${env:A}"}
    filled = secrets(data, {"A": "${env:B}"})
    assert filled == {"a": ["${env:B}", {"b": "x s3cret y"}], "c": 1, "d": None, "e": "${env:A}"}
    assert references(data) == {"${env:A}", f"${{file:{file}}}"}


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="NOBODY_SET_THIS"):
        secrets(["${env:NOBODY_SET_THIS}"], {})
    with pytest.raises(ConfigurationError, match="no-such-file"):
        secrets(f"${{file:{tmp_path}/no-such-file}}")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        secrets(f"${{file:{binary}}}")
    with pytest.raises(ConfigurationError, match="1 MiB"):
        secrets("${file:/dev/zero}")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("${env:A}", False),
        ("a ${file:/run/key} b", False),
        ("$${A} and $${env:A}", False),
        ("$A and {A}", False),
        ("${A}", True),
        ("${env.A}", True),
        ("${ env:A}", True),
        ("${ENV:A}", True),
        ("${env:A", True),
        ("${env:A} ${B}", True),
        ("$${A} ${B}", True),
    ],
)
def test_what_is_no_reference_and_no_escape_is_found(text: str, wrong: bool) -> None:
    assert list(misspelt(text)) == [()] * wrong
    assert list(misspelt({"a": [1, text]})) == [("a", 1)] * wrong


@given(st.text())
def test_text_without_references_is_left_alone(text: str) -> None:
    if "${" not in text:
        assert secrets(text, {}) == text
        assert references(text) == frozenset()

"""Alertmanager's matchers (``alertname=~".+Down"``), the only language in which alerts are selected. Pure.

Source of form and meaning: https://prometheus.io/docs/alerting/latest/configuration/#matcher . Regular expressions are
RE2's, anchored at both ends, so that no label can make one run long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import re2

from uici.model.record import dataclass

_FORM = re.compile(
    r'\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\\n]|\\.)*)"|([^"\s{}!=~,\\\'`]*))\s*', re.ASCII
)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher. ``op`` is one of ``=``, ``!=``, ``=~``, ``!~``; a label that is missing counts as empty text."""

    label: str
    op: str
    value: str
    _pattern: Any = field(default=None, repr=False, compare=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.label, "")
        if self._pattern is None:
            return (value == self.value) == (self.op == "=")
        return (self._pattern.fullmatch(value) is not None) == (self.op == "=~")

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{value}"'

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """Of one matcher's text; raises ValueError with what is wrong."""
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(f'{text!r} is no matcher; write it like Alertmanager does: alertname="HostDown"')
        label, op, quoted, bare = found.groups()
        value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), quoted) if quoted is not None else bare
        pattern = None
        if op in ("=~", "!~"):
            try:
                pattern = re2.compile(value)
            except re2.error as error:
                raise ValueError(f"the regular expression of {text!r} is not RE2's: {error}") from None
        return cls(label, op, value, pattern)


def match_all(matchers: tuple[Matcher, ...], labels: Mapping[str, str]) -> bool:
    """Whether every matcher holds; no matchers match everything."""
    for matcher in matchers:  # noqa: SIM110 - asked with every alert, and a generator costs more than it saves
        if not matcher.matches(labels):
            return False
    return True

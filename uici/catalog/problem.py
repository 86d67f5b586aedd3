"""Problem: one thing that is wrong with a catalog, with its place and its cure. Pure data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from uici.model import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """``line`` and ``column`` start at 1; 0 where the whole file is meant. ``severity``: ``error`` or ``warning``."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")
        return text if self.severity == "error" else f"{text} (warning)"


class CatalogError(ConfigurationError):
    """The catalog has errors and was not loaded; ``problems`` are all of them, warnings too."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        errors = [one for one in problems if one.severity == "error"]
        many = f"{len(errors)} problem{'s' if len(errors) != 1 else ''} in the catalog"
        super().__init__("\n".join([f"{many}:", *map(str, errors)]))


class ParametersError(ConfigurationError):
    """Parameters that an operation does not take; ``problems``: (dotted path, what is wrong) of each."""

    def __init__(self, operation: str, problems: Sequence[tuple[str, str]]) -> None:
        self.operation = operation
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{'parameter ' + path + ' ' if path else ''}{text}" for path, text in problems))


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``did you mean 'x'?`` or the list of what there is."""
    return _closest(word, tuple(sorted(set(words))))


@lru_cache(maxsize=1024)
def _closest(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    close = close or [one for one in known if len(word) > 2 and one.startswith(word)][:1]
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}" if known else "there are none"

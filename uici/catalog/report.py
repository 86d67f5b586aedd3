"""Problems as people, programs and GitHub read them. Pure text; where it goes is the command line's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from uici.catalog.problem import Problem

FORMATS = ("text", "json", "github")


def report(problems: Sequence[Problem], format: str = "text", *, replaced: Iterable[str] = ()) -> str:
    """The whole report, without a newline at its end; ``format``: text, json or github; raises ValueError for another."""
    if format == "json":
        return orjson.dumps([_plain(problem) for problem in problems], option=orjson.OPT_INDENT_2).decode()
    if format == "github":
        return "\n".join(map(_github, problems))
    if format != "text":
        raise ValueError(f"{format!r} is no format; there are: {', '.join(FORMATS)}")
    lines = [f"{problem} [{problem.code}]" for problem in problems]
    lines += [f"replaced: {one}" for one in replaced]
    return "\n".join([*lines, summary(problems)])


def summary(problems: Sequence[Problem]) -> str:
    """``2 errors, 1 warning``, or that all is well."""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    counted = [
        f"{number} {word}{'s' if number != 1 else ''}"
        for number, word in ((errors, "error"), (warnings, "warning"))
        if number
    ]
    return ", ".join(counted) or "no problems"


def exit_code(problems: Iterable[Problem]) -> int:
    """0, or 2 where there is an error."""
    return 2 if any(problem.severity == "error" for problem in problems) else 0


def _plain(problem: Problem) -> dict[str, str | int]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "severity": problem.severity,
    }


def _github(problem: Problem) -> str:
    """https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""
    place = f"file={_property(problem.file)}"
    if problem.line:
        place += f",line={problem.line},col={problem.column}"
    text = problem.message + (f"; {problem.hint}" if problem.hint else "")
    return f"::{problem.severity} {place},title={_property(problem.code)}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")

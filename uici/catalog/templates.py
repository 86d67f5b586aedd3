"""Text with ``${…}``: where the expressions in it begin and end. Pure; what an expression means is not known here.

``$${`` is a literal ``${``. A brace or quote inside a CEL string does not end the expression.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

from uici.model import ExpressionError
from uici.model.record import dataclass

_PATH = re.compile(r"\s*([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)\s*", re.ASCII)
_OPENING = re.compile(r"\$\$\{|\$\{")
_INSIDE = re.compile(r'[rR]?[bB]?[rR]?("""|\'\'\'|"|\')|//|[{}]')
#: How others write what is ``${…}`` here.
_ELSEWHERE = re.compile(r"\s*(?:\$(?P<shell>[A-Za-z_][\w.]*)|\{\{(?P<braces>[^{}]*)\}\})\s*", re.ASCII)
_CONSTANTS = frozenset({"true", "false", "null", "in"})


@dataclass(frozen=True, slots=True)
class Part:
    """One ``${…}``. ``offset``: of its source within the template, in characters."""

    source: str
    offset: int


@lru_cache(maxsize=4096)
def parse(template: str) -> tuple[str | Part, ...]:
    """Literal texts and expressions, in order; raises ExpressionError for a ``${`` without its end."""
    if "${" not in template:
        return (template,) if template else ()
    parts: list[str | Part] = []
    literal, at = "", 0
    while opening := _OPENING.search(template, at):
        literal += template[at : opening.start()]
        if opening[0] == "$${":
            literal, at = literal + "${", opening.end()
            continue
        end = _end(template, opening.end())
        if literal:
            parts.append(literal)
        source = template[opening.end() : end]
        if not source.strip():
            raise ExpressionError(f"{template[:80]!r} holds an empty ${{}}; write an expression, or $${{ for the text")
        parts.append(Part(source, opening.end()))
        literal, at = "", end + 1
    literal += template[at:]
    if literal:
        parts.append(literal)
    return tuple(parts)


def expression(template: str) -> Part | None:
    """The expression of a template that is exactly one ``${…}``, else None."""
    parts = parse(template)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Part) else None


@lru_cache(maxsize=4096)
def path(source: str) -> tuple[str, ...] | None:
    """The names of a plain path (``pods.items``), which needs no CEL; None for every other expression."""
    found = _PATH.fullmatch(source)
    if not found or found[1] in _CONSTANTS:
        return None
    names = (found[1], *found[2].split(".")[1:])
    return None if _CONSTANTS.intersection(names) else names


def as_elsewhere(template: str, roots: Container[str]) -> str | None:
    """The expression that a text most likely means which is written as shells or other templates write theirs, whole and
    alone (``$target.id``, ``{{ target.id }}``); None where it may well be a text (``$HOME``, ``{{.Names}}``)."""
    found = _ELSEWHERE.fullmatch(template)
    if found is None:
        return None
    source = (found["shell"] or found["braces"] or "").strip()
    first = re.match(r"[A-Za-z_]\w*", source, re.ASCII)
    meant = first is not None and first[0] in roots
    return source if meant or (found["braces"] is not None and path(source)) else None


def _end(template: str, at: int) -> int:
    depth, start = 0, at
    while found := _INSIDE.search(template, at):
        at = found.end()
        if found[0] == "//":
            break  # CEL's comment runs to the line's end and would swallow the brace
        if found[1]:
            at = _string_end(template, found)
        elif found[0] == "{":
            depth += 1
        elif depth:
            depth -= 1
        else:
            return found.start()
    raise ExpressionError(
        f"{template[max(0, start - 2) :][:80]!r} is not closed; end it with }}, or write $${{ for a literal ${{"
    )


def _string_end(template: str, found: re.Match[str]) -> int:
    quote = found[1]
    raw = "r" in found[0].lower()[: -len(quote)]
    at = found.end()
    while at < len(template):
        if template.startswith(quote, at):
            return at + len(quote)
        at += 2 if template[at] == "\\" and not raw else 1
    return at

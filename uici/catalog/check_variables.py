"""What expressions read of ``environment.variables``: that each environment in which they are evaluated has it.

What may be missing is asked for by ``.?name``, ``[?'name']``, ``has(…)`` or ``in``, and is nobody's problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from uici.catalog import checked, expressions
from uici.catalog.check_translations import saying
from uici.catalog.gather import Entry
from uici.catalog.problem import did_you_mean
from uici.catalog.scope import Scope
from uici.catalog.source import Trail
from uici.catalog.typed import parts
from uici.model import Environment, ExpressionError

_VARIABLES = ("environment", "variables")
#: Keys that hold bare CEL, and those of an operation that hold expressions at all: its schemas hold none.
BARE = frozenset({"when", "where", "until", "expect", "fail", "unless", "took_effect"})
OF_OPERATION = ("before", "took_effect", "verify", "undo")
_Reads = list[tuple[Trail, str]]


def variables(scope: Scope) -> None:
    """Of translations and operations: by each environment that offers them; of runbooks and rules: by any."""
    known: dict[int, _Reads] = {}
    union: dict[str, None] = {}
    whole = True
    for place in scope.places():
        if place.broken:
            whole = False
            continue
        has = place.definition.get("variables", {})
        union.update(dict.fromkeys(has))
        for entry, keys in _offered(scope, place):
            if id(entry) not in known:
                known[id(entry)] = [] if entry.broken else list(_reads(entry.definition, keys))
            _lacks(entry, known[id(entry)], has, f"which {place.name!r} does not have")
    if whole and scope.gathered.environments:
        for entry in (*scope.gathered.runbooks, *scope.gathered.policies["rules"]):
            if isinstance(entry.definition, dict) and not entry.broken:
                _lacks(entry, list(_reads(entry.definition)), union, "which no environment has")


def _offered(scope: Scope, place: Entry) -> Iterator[tuple[Entry, tuple[str, ...] | None]]:
    """The operations that an environment offers and their translations for it, each with the keys to look at."""
    environment = Environment.parse(place.name, {**place.definition, "alerts": []})
    for name, of in scope.gathered.translations.items():
        operation = scope.gathered.operations.get(name)
        if operation is None or environment.dialect not in of or not environment.offers(name):
            continue
        yield operation, OF_OPERATION
        said = None if of[environment.dialect].broken else saying(of, of[environment.dialect])
        if said is not None:
            yield said, None


def _lacks(entry: Entry, reads: _Reads, has: Mapping[str, Any], lacks: str) -> None:
    for at, name in reads:
        if name not in has:
            message = f"reads environment.variables.{name}, {lacks}"
            entry.add("unknown-variable", message, did_you_mean(name, has), at=at)


def _reads(value: Any, keys: tuple[str, ...] | None = None, at: Trail = ()) -> Iterator[tuple[Trail, str]]:
    """Where, and which. ``keys``: of a mapping, those that are looked at (None: all)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if keys is None or key in keys:
                yield from _reads(inner, None, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _reads(inner, None, (*at, index))
    elif isinstance(value, str) and "variables" in value:
        bare = "${" not in value and at[-1] in BARE
        for source in [value] if bare else [part.source for part in parts(value)[0]]:
            try:
                tree = expressions.tree(source)
            except ExpressionError:
                continue  # said where expressions are checked
            for name in dict.fromkeys(_surely(tree)):
                yield at, name


def _surely(tree: checked.Tree) -> Iterator[str]:
    """The variables that an expression wants, without those of which it asks anywhere whether they are there."""
    wanted, asked = read_of(tree, _VARIABLES)
    return (name for name in wanted if name not in asked)


def read_of(tree: checked.Tree, of: tuple[str, ...]) -> tuple[list[str], set[Any]]:
    """Of what lies under a path: what an expression takes to be there, and what it asks whether it is there."""
    wanted: list[str] = []
    asked: set[Any] = set()
    for one in tree.walk():
        first = one.parts[0].path() if one.parts else ()
        if one.kind == "select" and first == of:
            asked.add(one.name) if one.has else wanted.append(one.name)
        elif one.kind == "call" and one.name in ("_[_]", "_[?_]", "_?._") and first == of:
            name = one.parts[1].value
            if isinstance(name, str):
                wanted.append(name) if one.name == "_[_]" else asked.add(name)
        elif one.kind == "call" and one.name == "@in" and one.parts[1].path() == of:
            asked.add(one.parts[0].value)
    return wanted, asked

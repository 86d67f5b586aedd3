"""What expressions read of parameters that need not be given: without a default each such read fails where one is not.

What a step's ``when`` or ``each`` asks for is there in the rest of it. Where the parameters' schema has conditions of its own
(``dependentRequired``, ``if``), what is given with what cannot be told here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from uici.catalog import expressions
from uici.catalog.check_translations import PARTS
from uici.catalog.check_variables import BARE, OF_OPERATION, read_of
from uici.catalog.gather import Entry
from uici.catalog.scope import Scope
from uici.catalog.source import Trail
from uici.catalog.typed import parts
from uici.model import ExpressionError

_CONDITIONS = frozenset(
    {"if", "allOf", "anyOf", "oneOf", "dependentRequired", "dependentSchemas", "dependencies", "$ref"}
)
_OF = ("parameters",)


def given(scope: Scope) -> None:
    """Of operations and their translations."""
    for name, entry in scope.gathered.operations.items():
        if entry.broken:
            continue
        may = _may_be_missing(entry.definition["parameters"])
        if not may:
            continue
        # Most name none of them, and to walk through it all takes long.
        near = re.compile(rf"parameters\W{{1,40}}(?:{'|'.join(map(re.escape, may))})".encode())
        for key in OF_OPERATION:
            _said(entry, _reads(entry.definition.get(key), may, (key,)), frozenset())
        for said in scope.gathered.translations.get(name, {}).values():
            if not said.broken and "steps" in said.definition and near.search(orjson.dumps(said.definition)):
                _translation(said, may)


def _may_be_missing(parameters: Mapping[str, Any]) -> frozenset[str]:
    if _CONDITIONS & parameters.keys():
        return frozenset()
    properties, required = parameters.get("properties", {}), parameters.get("required", ())
    return frozenset(
        name
        for name, about in properties.items()
        if name not in required and not (isinstance(about, Mapping) and "default" in about)
    )


def _translation(entry: Entry, may: frozenset[str]) -> None:
    for part in (*PARTS, "logs"):
        for index, step in enumerate(entry.definition.get(part, ())):
            at = (part, index)
            asked: set[str] = set()
            for key in ("when", "each"):
                for _, _, known in _reads(step.get(key), may, (*at, key)):
                    asked |= known
            _said(entry, _reads(step, may, at), frozenset(asked))
    _said(entry, _reads(entry.definition.get("returns"), may, ("returns",)), frozenset())


_Reads = Iterator[tuple[Trail, list[str], set[str]]]


def _said(entry: Entry, reads: _Reads, asked: frozenset[str]) -> None:
    for at, wanted, known in reads:
        for name in dict.fromkeys(wanted):
            if name not in asked and name not in known:
                message = f"reads parameters.{name}, which need not be given"
                hint = f"add it to required, give it a default, or read parameters.?{name}.orValue(…)"
                entry.add("optional-parameter", message, hint, at=at)


def _reads(value: Any, may: frozenset[str], at: Trail) -> _Reads:
    """Where expressions read some of ``may``: which they take to be there, and for which they ask."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _reads(inner, may, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _reads(inner, may, (*at, index))
    elif isinstance(value, str) and "parameters" in value and any(name in value for name in may):
        bare = "${" not in value and at[-1] in BARE
        for source in [value] if bare else [part.source for part in parts(value)[0]]:
            try:
                wanted, asked = read_of(expressions.tree(source), _OF)
            except ExpressionError:
                continue  # said where expressions are checked
            yield at, [name for name in wanted if name in may], asked & may

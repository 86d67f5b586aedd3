"""Which parts of its data an expression can see: CEL converts all that it is handed, and a container has a thousand fields.

Pure. An expression's value is followed as far as it is still a part of the data (selects, indexes with constants, the
variables of comprehensions); where that ends (a comparison, a function, the answer), the part is needed whole. When in
doubt: whole. Nothing that is left out can change what an expression gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from uici.catalog.checked import Expr, tree
from uici.model.record import dataclass


@dataclass(slots=True, eq=False)
class Need:
    """Of one part of the data. Not ``whole``: of a map only ``fields``, of a list each element's ``items``.

    A field that is needed with nothing of its own is only asked for whether it is there.
    """

    whole: bool = False
    fields: dict[str, Need] = field(default_factory=dict)
    items: Need | None = None

    def of_field(self, name: str) -> Need:
        return self.fields.setdefault(name, Need())

    def of_items(self) -> Need:
        if self.items is None:
            self.items = Need()
        return self.items


def pruned(value: Any, need: Need) -> Any:
    """The value with what the need leaves out left out."""
    if need.whole:
        return value
    if isinstance(value, Mapping):
        if need.items is not None:
            return value  # walked by its keys
        return {name: pruned(value[name], one) for name, one in need.fields.items() if name in value}
    if isinstance(value, (list, tuple)):
        return [] if need.items is None else [pruned(one, need.items) for one in value]
    return value


def needs(serialized: bytes) -> Mapping[str, Need]:
    """By root; of ``Expression.serialize()``."""
    look = _Look()
    _use(look.value(tree(serialized).root, {}))
    return look.roots


@dataclass(frozen=True, slots=True)
class _Value:
    """What an expression's value may be a part of; ``elements``: of a list that the expression itself makes."""

    parts: frozenset[Need] = frozenset()
    elements: _Value | None = None

    def __or__(self, other: _Value) -> _Value:
        if self.elements is None or other.elements is None:
            return _Value(self.parts | other.parts, self.elements or other.elements)
        return _Value(self.parts | other.parts, self.elements | other.elements)


_MADE = _Value()
_Scope = Mapping[str, _Value]
#: Within so many comprehensions each is looked at until it settles, which takes up to three looks; deeper ones once.
_SETTLED = 4


class _Look:
    def __init__(self) -> None:
        self.roots: dict[str, Need] = {}
        self.depth = 0

    def value(self, one: Expr, scope: _Scope) -> _Value:
        match one.kind:
            case "ident":
                found = scope.get(one.name)
                return found or _Value(frozenset({self.roots.setdefault(one.name.removeprefix("."), Need())}))
            case "select":
                chosen = _field(self.value(one.parts[0], scope), one.name)
                return _MADE if one.has else chosen
            case "list":
                return _Value(elements=_any(self.value(part, scope) for part in one.parts))
            case "call":
                return self._call(one, scope)
            case "comprehension":
                return self._comprehension(one, scope)
        for part in one.parts:
            _use(self.value(part, scope))
        return _MADE

    def _call(self, one: Expr, scope: _Scope) -> _Value:
        values = [self.value(part, scope) for part in one.parts]
        if one.name in ("_[_]", "_[?_]", "_?._") and len(values) == 2 and one.parts[1].kind == "const":
            key = one.parts[1].value
            if isinstance(key, str):
                return _field(values[0], key)
            if type(key) is int:
                return _items(values[0])
        if one.name == "_?_:_" and len(values) == 3:
            _use(values[0])
            return values[1] | values[2]
        if one.name == "orValue" and one.receiver:
            return _any(values)
        if one.name == "size" and len(values) == 1:
            _items(values[0])
            return _MADE
        if one.name == "_+_":
            for value in values:
                _use(_Value(value.parts))
            return _Value(elements=_any(value.elements or _MADE for value in values))
        for value in values:
            _use(value)
        return _MADE

    def _comprehension(self, one: Expr, scope: _Scope) -> _Value:
        ranged, start, going, step, result = one.parts
        inner = {**scope, one.name: _items(self.value(ranged, scope))}
        kept = self.value(start, scope)
        self.depth += 1
        for _ in range(3 if self.depth <= _SETTLED else 1):
            inner[one.accumulator] = kept
            _use(self.value(going, inner))
            grown = kept | self.value(step, inner)
            if grown == kept:
                break
            kept = grown
        else:
            _use(kept)
        self.depth -= 1
        inner[one.accumulator] = kept
        del inner[one.name]
        return self.value(result, {**scope, one.accumulator: kept})


def _any(values: Iterable[_Value]) -> _Value:
    found = _MADE
    for value in values:
        found |= value
    return found


def _field(value: _Value, name: str) -> _Value:
    return _Value(frozenset(part.of_field(name) for part in value.parts))


def _items(value: _Value) -> _Value:
    return _Value(frozenset(part.of_items() for part in value.parts)) | (value.elements or _MADE)


def _use(value: _Value) -> None:
    for part in value.parts:
        part.whole = True
    if value.elements is not None:
        _use(value.elements)

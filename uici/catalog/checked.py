"""The syntax tree of a compiled expression, read from ``Expression.serialize()``. Pure; no package carries its messages.

The numbers are those of https://github.com/google/cel-spec (``cel/expr/syntax.proto``, ``checked.proto``), of which only
the few that are read here are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from uici.model.record import dataclass

#: What extensions call their functions by (``optional.of(x)``); no root and no ``as`` may have such a name.
NAMESPACES = frozenset({"base64", "cel", "math", "optional", "proto", "strings"})
_CHECKED = b"type.googleapis.com/cel.expr.CheckedExpr"
OPTIONAL = "optional_type"
_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
#: Which operands of which calls may be an optional: what they give is a part of it, or whether there is one. No optional
#: may be the other's value (`optional.of(x.?a)`, `x.?a.orValue(x.?b)`): the types would not tell that it is in there.
_TAKE = {
    **dict.fromkeys(("orValue", "value", "hasValue", "_?._", "_[?_]", "_[_]"), (0,)),
    **dict.fromkeys(("or", "_==_", "_!=_"), (0, 1)),
}


@dataclass(slots=True)
class Expr:
    """One node. ``kind``: const, ident, select, call, list, struct, comprehension.

    ``name``: of an ident, a select's field, a call's function, a comprehension's variable, a struct's
    message. ``parts``: operands in order
    (a call's receiver first, where it has one). ``value``: of a const (text, number, boolean, None). ``offset``: in code points.
    ``left_out``: the numbers of those parts of a list or a struct that are written with ``?``.
    """

    id: int
    kind: str = ""
    name: str = ""
    value: Any = None
    parts: list[Expr] = field(default_factory=list)
    has: bool = False
    receiver: bool = False
    accumulator: str = ""
    offset: int = 0
    left_out: list[int] = field(default_factory=list)

    def path(self) -> tuple[str, ...]:
        """The names of a plain path (``target.kind``); empty for every other expression."""
        if self.kind == "ident":
            return (self.name,)
        if self.kind != "select" or self.has:
            return ()
        within = self.parts[0].path()
        return (*within, self.name) if within else ()


@dataclass(slots=True)
class Tree:
    """``types``: a message type's name (or a scalar's, or ``OPTIONAL``) by the id of the expression that has it; empty where
    it was not type-checked."""

    root: Expr
    types: dict[int, str]

    def walk(self) -> Iterator[Expr]:
        """Every expression, parents before their operands."""
        waiting = [self.root]
        while waiting:
            one = waiting.pop()
            yield one
            waiting.extend(reversed(one.parts))


def tree(serialized: bytes) -> Tree:
    """Of ``Expression.serialize()``, type-checked or not."""
    any_ = dict(_fields(serialized))
    body, is_checked = any_[2], any_[1] == _CHECKED
    types: dict[int, str] = {}
    positions: dict[int, int] = {}
    root = Expr(0)
    for number, value in _fields(body):
        if number == (4 if is_checked else 2):
            root = _expr(value)
        elif number == (5 if is_checked else 3):
            for inner, entry in _fields(value):
                if inner == 4:
                    pair = dict(_fields(entry))
                    positions[pair.get(1, 0)] = pair.get(2, 0)
        elif is_checked and number == 3:
            pair = dict(_fields(value))
            kind = dict(_fields(pair.get(2, b"")))
            if 9 in kind:
                types[pair.get(1, 0)] = kind[9].decode()
            elif 3 in kind:
                types[pair.get(1, 0)] = _PRIMITIVES.get(kind[3], "")
            elif 14 in kind:
                types[pair.get(1, 0)] = _text(dict(_fields(kind[14])).get(1, b""))
    made = Tree(root, types)
    for one in made.walk():
        one.offset = positions.get(one.id, 0)
    return made


def free_names(serialized: bytes) -> frozenset[str]:
    """The names that an expression reads and does not bind itself."""
    found: set[str] = set()
    waiting: list[tuple[Expr, frozenset[str]]] = [(tree(serialized).root, frozenset())]
    while waiting:
        one, bound = waiting.pop()
        if one.kind == "ident" and one.name not in bound:
            found.add(one.name.removeprefix("."))
        if one.kind == "comprehension":
            # The range and the start of the accumulator are outside of the variables' scope.
            outer, inner = one.parts[:2], one.parts[2:]
            waiting.extend((part, bound) for part in outer)
            bound = bound | {one.name, one.accumulator}
            waiting.extend((part, bound) for part in inner)
        else:
            space = one.receiver and one.parts[0].kind == "ident" and one.parts[0].name in NAMESPACES
            waiting.extend((part, bound) for part in one.parts[1 if space else 0 :])
    return frozenset(found)


def unended(tree: Tree) -> Iterator[Expr]:
    """The optionals that go on as what they are: as the answer, into a list or a map, or through what gives another type."""
    if _is_optional(tree, tree.root):
        yield tree.root
    for one in tree.walk():
        for index, part in enumerate(one.parts):
            if _is_optional(tree, part) and not _goes_on(tree, one, index):
                yield part


def tells_optionals(tree: Tree) -> bool:
    """Whether each optional has the type of one."""
    return all(tree.types.get(one.id) == OPTIONAL for one in tree.walk() if _is_optional(tree, one))


def _is_optional(tree: Tree, one: Expr) -> bool:
    """Also where its type does not say so: ``x[?0]`` of what may be anything may be anything to CEL."""
    if tree.types.get(one.id) == OPTIONAL or (one.kind == "call" and one.name in ("_[?_]", "_?._")):
        return True
    within = (one.kind == "select" and not one.has) or (one.kind == "call" and one.name == "_[_]")
    return within and _is_optional(tree, one.parts[0])


def _goes_on(tree: Tree, one: Expr, index: int) -> bool:
    """Whether an optional may be this part of that expression: it is ended there, or what comes of it is one as well."""
    if one.kind in ("list", "struct"):
        return index in one.left_out
    if one.kind == "comprehension":  # what is kept has the type of what it starts with: `cel.bind` is such a one
        kept = one.parts[4] if index == 4 else one.parts[1]
        return index in (1, 3, 4) and tree.types.get(kept.id) == OPTIONAL
    if one.name == "_?_:_":
        return tree.types.get(one.id) == OPTIONAL
    return one.kind == "select" or index in _TAKE.get(one.name, ())


def _expr(data: bytes) -> Expr:
    made = Expr(0)
    for number, value in _fields(data):
        if number == 2:
            made.id = value
        elif number == 3:
            made.kind, made.value = "const", _constant(value)
        elif number == 4:
            made.kind, made.name = "ident", _text(dict(_fields(value)).get(1, b""))
        elif number == 5:
            made.kind = "select"
            for inner, one in _fields(value):
                if inner == 1:
                    made.parts.append(_expr(one))
                elif inner == 2:
                    made.name = _text(one)
                elif inner == 3:
                    made.has = bool(one)
        elif number == 6:
            made.kind = "call"
            for inner, one in _fields(value):
                if inner == 2:
                    made.name = _text(one)
                else:
                    made.receiver |= inner == 1
                    made.parts.append(_expr(one))
        elif number == 7:
            made.kind = "list"
            for inner, one in _fields(value):
                if inner == 1:
                    made.parts.append(_expr(one))
                elif inner == 2:
                    made.left_out.extend(_numbers(one))
        elif number == 8:
            made.kind = "struct"
            for inner, entry in _fields(value):
                if inner == 1:
                    made.name = _text(entry)
                elif inner == 2:
                    made.parts.extend(_expr(one) for part, one in _fields(entry) if part in (3, 4))
                    if dict(_fields(entry)).get(5):
                        made.left_out.append(len(made.parts) - 1)
        elif number == 9:
            _comprehension(made, value)
    return made


def _comprehension(made: Expr, data: bytes) -> None:
    made.kind = "comprehension"
    for number, value in _fields(data):
        if number == 1:
            made.name = _text(value)
        elif number == 3:
            made.accumulator = _text(value)
        elif number in (2, 4, 5, 6, 7):
            made.parts.append(_expr(value))


def _constant(data: bytes) -> Any:
    for number, value in _fields(data):
        if number == 1:
            return None
        if number == 2:
            return bool(value)
        if number == 3:
            return value - (1 << 64) if value >> 63 else value
        if number == 6:
            return _text(value)
        return ...  # an unsigned number, a double or bytes: never compared with an enum
    return None


def _numbers(packed: bytes | int) -> list[int]:
    if isinstance(packed, int):
        return [packed]
    found, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        found.append(number)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """Number and value (an integer, or bytes) of each field of a protobuf message."""
    found: list[tuple[int, Any]] = []
    at, end = 0, len(data)
    while at < end:
        # Nearly every tag, length and number is one byte: a check reads ten thousand of them.
        tag, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
        wire = tag & 7
        if wire == 2:
            length, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
            found.append((tag >> 3, data[at : at + length]))
            at += length
        elif wire == 0:
            value, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
            found.append((tag >> 3, value))
        else:
            width = 8 if wire == 1 else 4
            found.append((tag >> 3, data[at : at + width]))
            at += width
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7

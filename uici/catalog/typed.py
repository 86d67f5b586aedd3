"""The static check of expressions: compiled against the types of what they see, with every problem of one at once.

For the check only. What CEL says is turned into words about the catalog: the name, its column, what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from uici.catalog import checked, expressions, functions, templates
from uici.catalog.problem import did_you_mean
from uici.catalog.types import Types
from uici.model import ExpressionError
from uici.model.record import dataclass

Schema = Mapping[str, Any]
_ERROR = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$")
_MESSAGE = re.compile(r"\(?\buici\.M\d+\b")
_OPERATORS = re.compile(r"'@?_?(\W+|in)_?(\W*)_?(\W*)_?'")
_REFERENCE = re.compile(r"\s*(env|file):")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A problem of an expression. ``offset``: characters into its source."""

    code: str
    message: str
    hint: str
    offset: int


@dataclass(slots=True)
class Typed:
    """What the check knows of an expression: its problems, its type's name, and what CEL compiled (None: it did not)."""

    problems: list[Found]
    type: str = "dyn"
    compiled: Any = None
    _tree: checked.Tree | None = None

    @property
    def tree(self) -> checked.Tree | None:
        """Its syntax tree, read when it is asked for: most expressions need none."""
        if self._tree is None and self.compiled is not None:
            self._tree = checked.tree(self.compiled.serialize())
        return self._tree


@lru_cache(maxsize=8192)
def _words_of(source: str) -> frozenset[str]:
    return frozenset(_WORD.findall(source))


class Checker:
    """Checks expressions against roots; equal ones are checked once."""

    def __init__(self) -> None:
        self.types = Types()
        self._known: dict[tuple[str, int], Typed] = {}
        #: Found by the very roots, which are kept, so that no others take their ids: one look-up for most.
        self._same: dict[tuple[object, ...], tuple[Typed, Any]] = {}

    def check(self, source: str, roots: Mapping[str, Schema]) -> Typed:
        """Of bare CEL."""
        # Only the roots that it may read: so that most expressions of most operations share one environment.
        words = _words_of(source)
        same = (source, *[id(roots[name]) if name in roots else 0 for name in words])
        known = self._same.get(same)
        if known is not None:
            return known[0]
        if _REFERENCE.match(source):
            message = "a secret's reference stands where expressions could see it"
            return Typed([Found("secret-reference-here", message, "secrets belong in settings and platform.yml", 0)])
        if len(source) > LONGEST or "\0" in source:
            return Typed([Found("expression-syntax", f"is longer than {LONGEST} characters or holds a NUL", "", 0)])
        seen = {name: roots[name] for name in words if name in roots}
        environment = self.types.environment(seen, functions.needed(source))
        key = (source, id(environment))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._check(source, roots, environment)
        self._same[same] = (found, seen)
        return found

    def condition(self, source: str, roots: Mapping[str, Schema]) -> Typed:
        """Of bare CEL that must give true or false."""
        typed = self.check(source, roots)
        if typed.problems or typed.type in ("bool", "dyn", "google.protobuf.BoolValue"):
            return typed
        message = f"gives {_kind(typed.type)}; a condition gives true or false"
        return Typed([Found("expression-type", message, "compare it with something", 0)], typed.type, typed.compiled)

    def _check(self, source: str, roots: Mapping[str, Schema], environment: Any) -> Typed:
        try:
            compiled = environment.compile(source)
        except (RuntimeError, TypeError, ValueError) as error:
            return Typed(list(self._words(source, roots, str(error))))
        typed = Typed([], _signature(compiled.return_type().name()), compiled)
        if "optional" in functions.needed(source) and typed.tree is not None:
            message, _, hint = expressions.UNENDED.partition("; ")
            typed.problems.extend(
                Found("expression-type", message, hint, one.offset) for one in checked.unended(typed.tree)
            )
        if ("'" in source or '"' in source) and typed.tree is not None:
            typed.problems.extend(self._impossible(typed.tree))
        return typed

    def _words(self, source: str, roots: Mapping[str, Schema], said: str) -> Iterator[Found]:
        found = [match for line in said.split("\n") if (match := _ERROR.match(line))]
        told = [match for match in found if "*error*" not in match[3] and "<<nil>>" not in match[3]]
        if not told:
            yield Found("expression-syntax", expressions.problem_of(RuntimeError(said)), "", 0)
        lines = source.split("\n")
        if syntax := [match for match in told if match[3].startswith("Syntax error")]:
            told = [min(syntax, key=lambda match: (int(match[1]), int(match[2])))]  # what follows is confusion
        for match in told:
            row, column, text = (
                max(int(match[1]), 1),
                max(int(match[2]), 1),
                match[3].removesuffix(" [INVALID_ARGUMENT]"),
            )
            offset = min(sum(len(line) + 1 for line in lines[: row - 1]) + column - 1, len(source))
            yield self._word(source, roots, text, offset)

    def _word(self, source: str, roots: Mapping[str, Schema], text: str, offset: int) -> Found:
        if name := re.match(r"undeclared reference to '([^']*)'", text):
            first = name[1].lstrip(".").split(".")[0]
            at = source.rfind(first, 0, offset + len(first))
            at = at if at >= 0 else offset
            if re.match(r"\s*\(", source[at + len(first) :]):
                return Found("unknown-name", f"there is no function {name[1]!r}", did_you_mean(first, ADDED), at)
            return Found("unknown-name", f"there is no {first!r} here", did_you_mean(first, roots), at)
        if field := re.match(r"undefined field '([^']*)' not found in struct '([^']*)'", text):
            known = self.types.schemas.get(field[2], {}).get("properties", {})
            at = source.find(field[1], offset)
            return Found(
                "unknown-field", f"there is no field {field[1]!r}", did_you_mean(field[1], known), max(at, offset)
            )
        if "reserved identifier" in text or text.startswith("Syntax error"):
            text = re.sub(r" expecting .*", "", text.removeprefix("Syntax error: "))
            hint = "compare with ==" if "token recognition error at: '=" in text else ""
            return Found("expression-syntax", f"is no CEL: {text}", hint, offset)
        if overload := re.match(r"found no matching overload for '([^']*)' applied to '\((.*)\)'", text):
            return _overload(overload[1], overload[2], offset)
        return Found("expression-type", _MESSAGE.sub("a map with known fields", text), "", offset)

    def _impossible(self, tree: checked.Tree) -> Iterator[Found]:
        """Comparisons with a text that the field can never be."""
        for one in tree.walk():
            if one.kind == "call" and one.name in ("_==_", "_!=_"):
                for field, other in ((one.parts[0], one.parts[1]), (one.parts[1], one.parts[0])):
                    yield from self._compared(tree, field, [other])
            elif one.kind == "call" and one.name in ("@in", "_in_") and one.parts[1].kind == "list":
                yield from self._compared(tree, one.parts[0], one.parts[1].parts)

    def _compared(self, tree: checked.Tree, field: checked.Expr, others: list[checked.Expr]) -> Iterator[Found]:
        allowed = values(self.field(tree, field))
        if allowed is None:
            return
        for other in others:
            if other.kind == "const" and isinstance(other.value, str) and other.value not in allowed:
                yield Found(
                    "impossible-value",
                    f"{field.name!r} is never {other.value!r}",
                    did_you_mean(other.value, [str(value) for value in allowed]),
                    other.offset,
                )

    def field(self, tree: checked.Tree, field: checked.Expr) -> Any:
        """The schema of a select on a known message; None for everything else."""
        if field.kind != "select" or field.has:
            return None
        schema = self.types.schemas.get(tree.types.get(field.parts[0].id, ""))
        return schema.get("properties", {}).get(field.name) if schema else None


ADDED = (
    "quantity",
    "logPatterns",
    "sum",
    "timestamp",
    "duration",
    "size",
    "has",
    "int",
    "double",
    "string",
    "bool",
    "type",
    "dyn",
)


def values(schema: Any) -> list[Any] | None:
    """The only values that a schema allows, where it lists them."""
    if isinstance(schema, Mapping):
        if "const" in schema:
            return [schema["const"]]
        if isinstance(schema.get("enum"), list):
            return list(schema["enum"])
    return None


def parts(template: str) -> tuple[list[templates.Part], str | None]:
    """The expressions of a template, or what is wrong with its form."""
    try:
        return [part for part in templates.parse(template) if isinstance(part, templates.Part)], None
    except ExpressionError as error:
        return [], str(error)


def _overload(function: str, arguments: str, offset: int) -> Found:
    arguments = _MESSAGE.sub(lambda found: found[0][:1].replace("u", "") + "a map with known fields", arguments)
    arguments = re.sub(r"T%\d+", "?", arguments)
    names = {"_[_]": "[…]", "_[?_]": "[?…]", "@in": "in", "_?_:_": "? :", "!_": "!", "-_": "-"}
    name = names.get(function, function.strip("_"))
    hint = ""
    if function in ("_[_]", "_[?_]") and "known fields" in arguments:
        hint = "write .name" if function == "_[_]" else "write .?name"
    elif "null_type" in arguments:
        hint = "it is never null; a field that may be missing is asked for with has(…) or .?name.orValue(…)"
    elif function == "_?_:_":
        hint = "both sides must be of one type"
    return Found("expression-type", f"{name!r} does not go with ({arguments})", hint, offset)


def _signature(name: str) -> str:
    known = {"BOOL": "bool", "STRING": "string", "INT": "int", "UINT": "uint", "DOUBLE": "double", "DYN": "dyn"}
    return known.get(name, name)


def _kind(name: str) -> str:
    words = {"string": "text", "int": "an integer", "double": "a number", "uint": "a number"}
    if name.startswith("LIST"):
        return "a list"
    if name.startswith(("MAP", "uici.")):
        return "a map"
    return words.get(name, name.lower())

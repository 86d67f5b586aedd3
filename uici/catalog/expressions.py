"""CEL at run time, behind this one module: compiled against maps, cached, given only the roots that are read.

Its traps: a missing key is an ERROR value and truthy, so every value's type is asked; text would be cut short at a NUL
(``"web\\0x" == "web"``), so CEL sees U+FFFD in its place; very deep data would crash the process, so it is refused before;
so would an optional inside a list or a map, so that one which is not ended is refused when the expression is compiled;
comprehensions stop at 10,000 steps, so lists are built item by item here. Nothing here reads files, the clock or the environment.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from uici.catalog import checked, functions, needs, templates
from uici.model import ExpressionError, rfc3339

#: Bytes of the data, and of what came of it, above which an evaluation is not remembered; and how many are.
REMEMBERED, ENTRIES = 4096, 1024
_remembered: dict[tuple[str, bytes] | None, bytes] = {}

#: What is said of an optional that goes on as such; CEL's binding dies of most of them, and JSON can say none.
UNENDED = "gives what may be missing (an optional) without ending it; end it with .orValue(…), or ask .hasValue()"

#: CEL takes plain dicts, lists and scalars only; everything else is copied to such first.
_PLAIN = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def evaluate(source: str, roots: Mapping[str, Any]) -> Any:
    """The plain value (JSON-like) of bare CEL; a missing root or key, or any error value, raises ExpressionError."""
    names = templates.path(source)
    if names is not None:
        return _lookup(source, names, roots)
    return _run(source, roots)


def condition(source: str, roots: Mapping[str, Any]) -> bool:
    """Exactly true or false; anything else raises ExpressionError."""
    value = evaluate(source, roots)
    if value is True or value is False:
        return value
    raise ExpressionError(f"condition {_short(source)} gave {_kind(value)}; it must give true or false")


def render(template: Any, roots: Mapping[str, Any]) -> Any:
    """A template, however deep, with every ``${…}`` filled in; raises ExpressionError.

    A scalar that is exactly one ``${…}`` keeps the value's type. A mapping of ``each`` and ``item`` (and ``where``) is a
    list, built item by item.
    """
    if isinstance(template, str):
        return _text(template, roots, {})
    return _rendered(template, roots, _together(template, roots))


def _rendered(template: Any, roots: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    """``known``: the values of expressions that were evaluated already."""
    if isinstance(template, str):
        return _text(template, roots, known)
    if isinstance(template, Mapping):
        if is_list(template):
            return _items(template, roots)
        return {key: _rendered(value, roots, known) for key, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [_rendered(value, roots, known) for value in template]
    return template


def _together(template: Any, roots: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a template's expressions, of one evaluation: each by itself would be handed the data anew.

    None of them where that fails: then each is evaluated by itself, and the one that fails is named.
    """
    sources = tuple(dict.fromkeys(_sources(template)))
    if len(sources) < 2:
        return {}
    try:
        return dict(zip(sources, _run(_joined(sources), roots), strict=True))
    except ExpressionError:
        return {}


def _sources(template: Any) -> Iterator[str]:
    """Of a template: the expressions that want CEL, without those of its lists, which see an ``item``."""
    if isinstance(template, str):
        for part in templates.parse(template):
            if isinstance(part, templates.Part) and templates.path(part.source) is None:
                yield part.source
    elif isinstance(template, Mapping):
        if not is_list(template):
            for value in template.values():
                yield from _sources(value)
    elif isinstance(template, (list, tuple)):
        for value in template:
            yield from _sources(value)


@lru_cache(maxsize=1024)
def _joined(sources: tuple[str, ...]) -> str:
    """One list of them all. None of them ends in a comment: nothing would close its ``${``."""
    return "[" + ", ".join(f"({source})" for source in sources) + "]"


def is_list(template: Mapping[str, Any]) -> bool:
    """Whether a mapping of a template stands for a list: ``each`` and ``item``, perhaps ``where``, and nothing else."""
    return "each" in template and "item" in template and template.keys() <= {"each", "where", "item"}


def reads(source: str) -> frozenset[str]:
    """The roots that bare CEL reads; raises ExpressionError where it does not parse."""
    names = templates.path(source)
    return frozenset(names[:1]) if names else _reads(source)


def tree(source: str) -> checked.Tree:
    """The syntax tree of bare CEL; raises ExpressionError where it does not parse."""
    return checked.tree(_parsed(source))


def template_reads(template: Any) -> frozenset[str]:
    """The roots that a template reads; ``item`` of its own lists is left out."""
    found: set[str] = set()
    if isinstance(template, str):
        for part in templates.parse(template):
            if isinstance(part, templates.Part):
                found |= reads(part.source)
    elif isinstance(template, Mapping):
        if is_list(template):
            inner = template_reads(template["item"])
            inner |= reads(template["where"]) if "where" in template else frozenset()
            found |= (inner - {"item"}) | template_reads(template["each"])
        else:
            for value in template.values():
                found |= template_reads(value)
    elif isinstance(template, (list, tuple)):
        for value in template:
            found |= template_reads(value)
    return frozenset(found)


def fields_read(template: Any, root: str) -> frozenset[str] | None:
    """The fields of a root that a template reads; None where it takes the root whole. Raises ExpressionError."""
    needed = [_needs(source)[root] for source in _all_sources(template) if root in _needs(source)]
    if any(need.whole or need.items is not None for need in needed):
        return None
    return frozenset(name for need in needed for name in need.fields)


def _all_sources(template: Any) -> Iterator[str]:
    """Every expression of a template, those of its lists too."""
    if isinstance(template, str):
        yield from (part.source for part in templates.parse(template) if isinstance(part, templates.Part))
    elif isinstance(template, Mapping):
        for key, value in template.items():
            yield from (value,) if key == "where" and is_list(template) else _all_sources(value)
    elif isinstance(template, (list, tuple)):
        for value in template:
            yield from _all_sources(value)


def problem_of(error: Exception) -> str:
    """What CEL's compiler said, in one line without its status words."""
    text = str(error).split("\n", 1)[0]
    for noise in ("INVALID_ARGUMENT: ", "ERROR: ", "CANCELLED: "):
        text = text.removeprefix(noise)
    return text.removesuffix(" [CANCELLED]")


def _text(template: str, roots: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    parts = templates.parse(template)
    if len(parts) == 1:
        only = parts[0]
        return only if isinstance(only, str) else _value(only.source, roots, known)
    return "".join(part if isinstance(part, str) else _as_text(part.source, roots, known) for part in parts)


def _value(source: str, roots: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    return known[source] if source in known else evaluate(source, roots)


def _as_text(source: str, roots: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    value = _value(source, roots, known)
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    raise ExpressionError(
        f"${{{_short(source)}}} inside a text gave {_kind(value)}; only text, numbers and booleans fit"
    )


def _items(template: Mapping[str, Any], roots: Mapping[str, Any]) -> list[Any]:
    many = render(template["each"], roots)
    if not isinstance(many, list):
        raise ExpressionError(f"each: {_short(str(template['each']))} gave {_kind(many)}; it must give a list")
    where, item = template.get("where"), template["item"]
    built = []
    inner = dict(roots)
    for one in many:
        inner["item"] = one
        if where is None or condition(where, inner):
            built.append(render(item, inner))
    return built


def _lookup(source: str, names: tuple[str, ...], roots: Mapping[str, Any]) -> Any:
    value: Any = roots
    for depth, name in enumerate(names):
        if not isinstance(value, Mapping) or name not in value:
            where = ".".join(names[:depth]) or "the roots"
            raise ExpressionError(f"{_short(source)}: there is no {name!r} in {where}{_there(value)}")
        value = value[name]
    return value


def _there(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f", which is {_kind(value)}"
    return f"; there are: {', '.join(sorted(map(str, value))[:12]) or 'none'}"


def _run(source: str, roots: Mapping[str, Any]) -> Any:
    wanted = _reads(source)
    parts = _needs(source)
    data = {name: needs.pruned(roots[name], parts[name]) for name in wanted if name in roots}
    if len(data) < len(wanted):
        missing = ", ".join(sorted(wanted - data.keys()))
        raise ExpressionError(f"{_short(source)} reads {missing}, which is not given here{_there(roots)}")
    fit, text = _fit(data)
    # JSON has one null for what is none and for a number that is none.
    asked = (source, text) if len(text) <= REMEMBERED and b"null" not in text else None
    if (known := _remembered.get(asked)) is not None:
        return orjson.loads(known)
    try:
        compiled, doubtful = _compiled(source, wanted)
        value = compiled.eval(data=fit)
        kind = value.type().name()
        if kind == "ERROR" and "Non-CEL value type" in str(value.plain_value()):  # a tuple, which JSON takes for a list
            value = compiled.eval(data=_copied(fit, 0))
            kind = value.type().name()
        if doubtful and kind != "ERROR":
            _no_optional(value, source)
        plain = value.plain_value()
    except (RuntimeError, TypeError, ValueError, OverflowError, SystemError) as error:
        raise ExpressionError(f"{_short(source)}: {problem_of(error)}") from None
    if kind == "ERROR":
        raise ExpressionError(f"{_short(source)}: {_reason(plain)}")
    given = _plain(plain, source)
    if asked is not None:
        _remember(asked, given)
    return given


def _no_optional(value: Any, source: str) -> None:
    """Raises ExpressionError for a value that holds one, of which its types did not tell: in there its kind is ERROR."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        kind = one.type().name()
        if kind == "ERROR":
            raise ExpressionError(f"{_short(source)} {UNENDED}")
        if kind.startswith(("LIST", "MAP")):
            many = one.value()
            waiting.extend(many.values() if isinstance(many, dict) else many)


def _remember(asked: tuple[str, bytes], given: Any) -> None:
    """The same expression of the same data gives the same: there is no clock in it, and nothing else from outside."""
    try:
        text = orjson.dumps(given)
    except TypeError:  # an integer that JSON's readers would not give back
        return
    if len(text) <= REMEMBERED:
        if len(_remembered) >= ENTRIES:
            _remembered.clear()
        _remembered[asked] = text


def _fit(data: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The data as CEL can be given it, and as JSON; raises ExpressionError for what it would choke on."""
    try:
        text = orjson.dumps(data, option=_PLAIN)
    except (TypeError, ValueError) as error:  # orjson's own errors: surrogates, depth, sizes, foreign types
        if "serializable" not in str(error):
            raise ExpressionError(f"data that an expression cannot be given: {error}") from None
        data = _copied(data, 0)
        text = orjson.dumps(data)
    return (_copied(data, 0) if b"\\u0000" in text else data), text


def _copied(value: Any, depth: int) -> Any:
    if depth > 200:
        raise ExpressionError("data that an expression cannot be given: it is nested too deep")
    if isinstance(value, Mapping):
        return {_copied(str(key), depth): _copied(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(one, depth + 1) for one in value]
    if isinstance(value, str):
        return str(value).replace("\0", "\ufffd")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ExpressionError(f"data that an expression cannot be given: {type(value).__name__}")


def _plain(value: Any, source: str) -> Any:
    """JSON-like data of what CEL gave: times as RFC 3339 text, durations as ``300s``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ExpressionError(f"{_short(source)} gave {value}, which is no number")
    if isinstance(value, list):
        return [_plain(one, source) for one in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _key(key, source): _plain(one, source) for key, one in value.items()}
    if isinstance(value, datetime.datetime):
        return rfc3339(value.timestamp())
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
    raise ExpressionError(f"{_short(source)} gave {_kind(value)}, which JSON cannot say")


def _key(key: Any, source: str) -> str:
    raise ExpressionError(f"{_short(source)} gave a map with the key {key!r}; keys must be text")


def _reason(text: Any) -> str:
    _, _, message = str(text).partition(": ")
    return message or str(text)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list", dict: "a map"}
    return names.get(type(value), type(value).__name__)


def _short(source: str) -> str:
    source = " ".join(source.split())
    return source if len(source) <= 120 else source[:117] + "..."


def environment(variables: Iterable[tuple[str, Any]], extensions: Iterable[str], pool: Any = None) -> Any:
    """A CEL environment with our functions and these extensions; ``cel.Type`` of each variable."""
    return functions.cel().NewEnv(
        descriptor_pool=pool,
        variables=dict(variables),
        extensions=[functions.extension(name) for name in sorted(extensions)],
        functions=list(functions.added()),
    )


@lru_cache(maxsize=256)
def _environment(names: frozenset[str], extensions: frozenset[str]) -> Any:
    return environment(((name, functions.cel().Type.DYN) for name in names), extensions)


@lru_cache(maxsize=2048)
def _compiled(source: str, names: frozenset[str]) -> tuple[Any, bool]:
    """And whether it makes optionals of which its types do not tell; raises ExpressionError for one that is not ended."""
    extensions = functions.needed(source)
    compiled = _environment(names, extensions).compile(source)
    if "optional" not in extensions:
        return compiled, False
    found = checked.tree(compiled.serialize())
    if next(checked.unended(found), None) is not None:
        raise ExpressionError(f"{_short(source)} {UNENDED}")
    return compiled, not checked.tells_optionals(found)


@lru_cache(maxsize=4096)
def _reads(source: str) -> frozenset[str]:
    return checked.free_names(_parsed(source))


@lru_cache(maxsize=4096)
def _needs(source: str) -> Mapping[str, needs.Need]:
    return needs.needs(_parsed(source))


def _parsed(source: str) -> bytes:
    """The serialized syntax tree; raises ExpressionError."""
    if "\0" in source:
        raise ExpressionError("an expression may not hold a NUL character")
    try:
        compiled = _environment(frozenset(), functions.needed(source)).compile(source, disable_check=True)
        return bytes(compiled.serialize())
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExpressionError(f"{_short(source)}: {problem_of(error)}") from None

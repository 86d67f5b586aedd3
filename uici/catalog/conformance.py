"""Data against JSON Schema, with errors that say place, problem and cure. Pure; jsonschema-rs does the judging.

Regular expressions run on the linear-time engine and references are never fetched, so that no schema and no input can
make a check long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema_rs

from uici.catalog.problem import did_you_mean
from uici.catalog.schemas import OWN
from uici.catalog.source import Document, Key

#: The kinds of error that have a code of their own; every other is ``wrong-value``.
_CODES = {
    "additionalProperties": "unknown-key",
    "required": "missing-key",
    "type": "wrong-type",
    "pattern": "wrong-form",
    "propertyNames": "wrong-form",
}
_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


#: What an integer lacks that stands where this is wanted.
_UNITS = {"duration": "s", "share": "%"}


def validator(schema: Any, mask: str | None = None) -> Any:
    """A compiled schema; raises ``jsonschema_rs.ValidationError`` for what is no schema, ValueError for a reference out."""
    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True, mask=mask
    )


#: Compiled, by the schema's identity; the schema is kept, so that no other takes its id.
_judges: dict[int, tuple[Any, Any]] = {}
_MOST = 256


def _judge(schema: Mapping[str, Any]) -> Any:
    """One of the catalog's own schemas, which are asked for each entry, compiled once."""
    known = _judges.get(id(schema))
    if known is None:
        if len(_judges) >= _MOST:
            _judges.clear()
        known = _judges[id(schema)] = (schema, validator(schema))
    return known[1]


def conform(document: Document, schema: Mapping[str, Any], data: Any, trail: tuple[Key, ...] = ()) -> None:
    """Notes in the document what in ``data``, which lies at ``trail``, does not satisfy one of the catalog's schemas."""
    # As the reader left it: a key that is missing must not hide the misspelt one beside it.
    read_wrong = frozenset(document.broken)
    for error in _judge(schema).iter_errors(data):
        at = (*trail, *error.instance_path)
        if any(at[:depth] in read_wrong for depth in range(1, len(at) + 1)):
            continue  # the reader has already said what is wrong with this value
        part = _at(schema, error.schema_path[:-1])
        name = error.kind.name
        if name == "additionalProperties":
            _unknown_keys(document, at, part, error.kind.unexpected)
        elif name == "required":
            key = error.kind.property
            document.add("missing-key", f"the key {key!r} is missing", _describe(part, key), at=at)
        else:
            value = _value(data, error.instance_path)
            code = _CODES.get(name, "wrong-value")
            message, hint = explain(name, part, value, error.message)
            if name == "pattern" and part.get("title", "").startswith("reference"):
                code, message = "secret-in-plain-text", "a secret stands here as text"
            document.add(code, message, hint, at=at)


def explain(kind: str, schema: Mapping[str, Any], value: Any, message: str) -> tuple[str, str]:
    """What is wrong and how to mend it, in words."""
    title = schema.get("title") or ""
    if kind == "type":
        wanted = schema.get("type", "")
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        words = title or " or ".join(_KINDS.get(name, name) for name in names)
        unit = next((unit for word, unit in _UNITS.items() if title.startswith(word)), "")
        hint = (
            f'write it in quotes: "{_shown(value)}"'
            if "string" in names and not isinstance(value, (dict, list))
            else ""
        )
        if unit and kind_of(value) == "an integer":
            hint = f"write it with its unit: {value}{unit}"
        return f"is {kind_of(value)}, not {words}", "" if value is None else hint
    if kind == "enum":
        options = [str(one) for one in schema.get("enum", ())]
        return f"{_shown(value)!r} is none of {', '.join(options)}", did_you_mean(str(value), options)
    if kind == "const":
        what = f"the text {_shown(value)!r}" if isinstance(value, str) else _shown(value)
        return f"is {what}, not {schema.get('const')}", f"write {schema.get('const')}"
    if kind in ("pattern", "minLength", "not") and title:
        return f"{_shown(value)!r} is no {title}", schema.get("description", "")
    return short(message), schema.get("description", "")


def kind_of(value: Any) -> str:
    """What a value is, in the words of YAML's readers."""
    if isinstance(value, bool):
        return "a boolean"
    names = ((type(None), "nothing"), (str, "text"), (int, "an integer"), (float, "a number"), (list, "a list"))
    return next((name for kind, name in names if isinstance(value, kind)), "a mapping")


def short(text: str, most: int = 200) -> str:
    """Text of a bounded length: what came from outside may be of any."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 4 :]}"


def dotted(path: Iterable[Key]) -> str:
    """``a.b[0]`` of a trail."""
    text = ""
    for one in path:
        text += f"[{one}]" if isinstance(one, int) else f".{one}" if text else str(one)
    return text


def _unknown_keys(document: Document, at: tuple[Key, ...], part: Mapping[str, Any], unexpected: list[str]) -> None:
    known = part.get("properties")
    for key in unexpected:
        if (*at, key) in document.broken:
            continue
        if known is None:
            document.add("wrong-form", f"{short(key)!r} is no {part.get('title', 'name')}", at=(*at, key), key=True)
        else:
            document.add(
                "unknown-key", f"unknown key {short(key)!r}", did_you_mean(key, known), at=(*at, key), key=True
            )


def _describe(part: Mapping[str, Any], key: str) -> str:
    about = part.get("properties", {}).get(key, {})
    if "const" in about:
        return f"write {key}: {about['const']}"
    return f"{key}: {about['description']}" if "description" in about else ""


def _at(schema: Any, path: Iterable[Key]) -> Mapping[str, Any]:
    for one in path:
        if isinstance(schema, list) and isinstance(one, int):
            schema = schema[one]
        else:
            schema = schema.get(one, {}) if isinstance(schema, dict) else {}
    return schema if isinstance(schema, dict) else {}


def _value(data: Any, path: Iterable[Key]) -> Any:
    for one in path:
        data = data[one]
    return data


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return short(re.sub(r"\s+", " ", str(value)), 60)


__all__ = ["OWN", "conform", "dotted", "explain", "kind_of", "short", "validator"]

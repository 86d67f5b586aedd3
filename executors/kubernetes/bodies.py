"""Whether a body fits the client's model, told from the JSON Schemas of what its templates give, without a server.

A body is what the API reference describes, by its names (``minReadySeconds``). A merge patch may leave out what it does
not change, and takes away with null; what is made or replaced is whole; a JSON Patch is a list of operations whose paths
are walked through the model. What a schema leaves open is never a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uici_executors.kubernetes import models
from uici_executors.kubernetes.models import QUANTITY
from uici_executors.kubernetes.schemas import Schema, alternatives, elements_of, kinds_of, properties_of, values_of
from uici_executors.kubernetes.sdk import CUSTOM, STRATEGIC, Method, did_you_mean
from uici_executors.kubernetes.source import Type

#: Field by which a strategic merge finds the element of a list that it changes; lists of other models are replaced whole.
MERGE_KEYS: Mapping[str, str] = {
    "V1Container": "name",
    "V1ContainerPort": "containerPort",
    "V1EnvVar": "name",
    "V1EphemeralContainer": "name",
    "V1HostAlias": "ip",
    "V1HostIP": "ip",
    "V1LocalObjectReference": "name",
    "V1MutatingWebhook": "name",
    "V1NodeAddress": "type",
    "V1ObjectReference": "name",
    "V1OwnerReference": "uid",
    "V1PodIP": "ip",
    "V1PodResourceClaim": "name",
    "V1PodSchedulingGate": "name",
    "V1ServicePort": "port",
    "V1TopologySpreadConstraint": "topologyKey",
    "V1ValidatingWebhook": "name",
    "V1Volume": "name",
    "V1VolumeDevice": "devicePath",
    "V1VolumeMount": "mountPath",
}
_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?", re.ASCII)
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}
_WORDS = {"string": "text", "object": "a mapping", "array": "a list", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True, slots=True)
class Problem:
    """``path``: dotted, from the body on (``spec.template.spec.contianers``); empty: the body itself. ``unknown``: the
    path names what does not exist; else what stands there does not fit."""

    path: str
    message: str
    hint: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Mode:
    """``partial``: fields may be missing, and null takes away. ``directives``: a strategic merge's ``$patch``."""

    partial: bool
    directives: bool


def problems(method: Method, schema: Schema) -> list[Problem]:
    """Everything in a body of this schema that the method's model refuses."""
    if method.body is None:
        return []
    if method.http == "PATCH":
        return list(_patch(method, schema))
    whole = _Mode(partial=False, directives=False)
    made = Type(frozenset({"object"}), method.body)
    return [*_value(made, schema, "", whole), *_kind(method, schema)]


def _patch(method: Method, schema: Schema) -> Iterator[Problem]:
    model = method.body or ""
    for one in alternatives(schema):
        if kinds_of(one) == {"array"}:
            yield from _operations(model, one)
        else:
            mode = _Mode(partial=True, directives=STRATEGIC in method.offered)
            yield from _value(Type(frozenset({"object"}), model), one, "", mode)
            yield from _kind(method, one)


def _kind(method: Method, schema: Schema) -> Iterator[Problem]:
    """``kind`` and ``apiVersion`` that are written, and of another object."""
    if method.body in (None, CUSTOM, "V1DeleteOptions") or method.subresource == "scale":
        return
    wanted = {"kind": models.kind(method.body or "")}
    if not method.subresource and method.resource:
        wanted["apiVersion"] = f"{method.group}/{method.version}" if method.group else method.version
    properties = schema.get("properties", {})
    for key, value in wanted.items():
        said = properties.get(key, {})
        if isinstance(said, Mapping) and isinstance(said.get("const"), str) and said["const"] != value:
            yield Problem(key, f"{method.path} is about {value}, not {said['const']}", f"write {key}: {value}")


def _value(wanted: Type, schema: Any, at: str, mode: _Mode, values: tuple[str, ...] | None = None) -> Iterator[Problem]:
    """What of a schema cannot be of a type."""
    for one in alternatives(schema):
        kinds = kinds_of(one)
        if kinds == {"null"} and not at:
            yield Problem(at, "is null", "give a mapping")
        elif not kinds or kinds == {"null"}:
            continue  # not known, or what a patch takes away; a whole body's required field is asked for elsewhere
        elif wanted.kinds and not _fit(kinds, wanted.kinds, one):
            words = " or ".join(_word(kind) for kind in sorted(kinds - {"null"}))
            need = "a quantity" if wanted == QUANTITY else " or ".join(_word(kind) for kind in sorted(wanted.kinds))
            yield Problem(at, f"is {words}, not {need}", _cure(kinds, wanted))
        elif "object" in kinds and (wanted.model or wanted.of):
            yield from _object(wanted, one, at, mode)
        elif "array" in kinds and wanted.of is not None:
            yield from _list(wanted.of, one, at, mode)
        else:
            yield from _scalar(wanted, one, at, values)


def _object(wanted: Type, schema: Schema, at: str, mode: _Mode) -> Iterator[Problem]:
    properties = schema.get("properties", {})
    if wanted.model is not None and schema.get("readOnly") and properties is models.schema(wanted.model)["properties"]:
        return  # what the cluster answered with, put back where it was
    if wanted.model is None:
        for key, inner in properties.items():
            if not (mode.directives and key.startswith("$")):
                yield from _value(wanted.of or Type(), inner, _join(at, key), mode)
        return
    known = models.fields(wanted.model)
    for key, inner in properties.items():
        path = _join(at, key)
        if mode.directives and key.startswith("$"):
            yield from _directive(known, key, inner, path)
        elif key not in known:
            if not models.is_open(wanted.model):
                message = f"{models.kind(wanted.model)} has no field {key!r}"
                yield Problem(path, message, did_you_mean(key, sorted(known)), unknown=True)
        else:
            field = known[key]
            yield from _value(field.type, inner, path, mode, field.values)
    if not mode.partial and schema.get("additionalProperties") is False:
        for key, field in known.items():
            if field.required and (key not in properties or kinds_of(properties[key]) == {"null"}):
                yield Problem(at, f"{models.kind(wanted.model)} needs the field {key!r}", f"add {key}: …")


def _directive(known: Mapping[str, models.Field], key: str, schema: Any, at: str) -> Iterator[Problem]:
    """``$patch``, ``$retainKeys``, ``$setElementOrder/containers``, ``$deleteFromPrimitiveList/finalizers``."""
    word, _, field = key.partition("/")
    if word not in ("$patch", "$retainKeys", "$setElementOrder", "$deleteFromPrimitiveList"):
        words = ["$patch", "$retainKeys", "$setElementOrder", "$deleteFromPrimitiveList"]
        yield Problem(at, f"{word!r} is no directive of a strategic merge", did_you_mean(word, words), unknown=True)
    elif field and field not in known:
        yield Problem(at, f"there is no field {field!r} here", did_you_mean(field, sorted(known)), unknown=True)
    elif key == "$patch":
        yield from _scalar(Type(), schema, at, ("delete", "merge", "replace"))


def _list(of: Type, schema: Schema, at: str, mode: _Mode) -> Iterator[Problem]:
    key = _merge_key(of) if mode.partial and mode.directives else None
    inner = mode if key or of.model is None else _Mode(partial=False, directives=mode.directives)
    for name, one in elements_of(schema):
        if mode.directives and "$patch" in properties_of(one) and not key:
            yield from _value(of, one, _join(at, name), _Mode(partial=True, directives=True))
            continue
        yield from _value(of, one, _join(at, name), inner)
        said = properties_of(one)
        if key and one.get("additionalProperties") is False and key not in said and "$patch" not in said:
            message = f"this element of a patch does not say which one it changes: it has no {key!r}"
            yield Problem(_join(at, name), message, f"add {key}: …")


def _merge_key(of: Type) -> str | None:
    if of.model is None:
        return None
    return MERGE_KEYS.get(of.model) or ("type" if of.model.endswith("Condition") else None)


def _scalar(wanted: Type, schema: Any, at: str, values: tuple[str, ...] | None) -> Iterator[Problem]:
    for said in values_of(schema):
        if values is not None and isinstance(said, str) and said not in values:
            yield Problem(at, f"is {said!r}, none of {', '.join(values)}", did_you_mean(said, values))
        elif wanted == QUANTITY and isinstance(said, str) and not _QUANTITY.fullmatch(said):
            yield Problem(at, f"{said!r} is no quantity", "write it as 500m, 1.5, 512Mi or 2G")


# JSON Patch


def _operations(model: str, schema: Schema) -> Iterator[Problem]:
    for name, one in elements_of(schema):
        yield from _operation(model, one, name)


def _operation(model: str, schema: Any, at: str) -> Iterator[Problem]:
    properties = properties_of(schema)
    closed = isinstance(schema, Mapping) and schema.get("additionalProperties") is False
    if not closed:
        if kinds_of(schema) - {"object"}:
            yield Problem(at, "is no operation of a JSON Patch", "write {op: replace, path: /spec/…, value: …}")
        return
    named = values_of(properties.get("op", {}))
    for word in named:
        if word not in _OPERATIONS:
            yield Problem(
                f"{at}.op", f"{word!r} is no operation of a JSON Patch", did_you_mean(str(word), list(_OPERATIONS))
            )
    for key in properties:
        if key not in ("op", "path", "from", "value"):
            hint = did_you_mean(key, ["op", "path", "from", "value"])
            yield Problem(_join(at, key), f"an operation of a JSON Patch has no {key!r}", hint, unknown=True)
    needed = {"op", "path", *(key for word in named for key in _OPERATIONS.get(word, ()))}
    for key in sorted(needed - properties.keys()):
        yield Problem(at, f"this operation of a JSON Patch lacks {key!r}", f"add {key}: …")
    for key in ("path", "from"):
        for pointer in values_of(properties.get(key, {})):
            yield from _pointed(model, pointer, properties, named, at, key)


def _pointed(
    model: str, pointer: Any, properties: Mapping[str, Any], named: list[Any], at: str, key: str
) -> Iterator[Problem]:
    where = _join(at, key)
    found, wrong = walk(model, pointer, adds=key == "path" and set(named) <= {"add", "move", "copy"})
    if wrong is not None:
        yield Problem(where, *wrong)
    elif key == "path" and found is not None and "value" in properties:
        mode = _Mode(partial=named == ["test"], directives=False)
        yield from _value(found[0], properties["value"], f"{at}.value", mode, found[1])


def segments(pointer: str) -> list[str]:
    """Of a JSON pointer, unescaped: ``/metadata/annotations/a~1b`` -> metadata, annotations, ``a/b``."""
    return [one.replace("~1", "/").replace("~0", "~") for one in pointer.split("/")[1:]]


def walk(
    model: str, pointer: Any, *, adds: bool = False
) -> tuple[tuple[Type, tuple[str, ...] | None] | None, tuple[str, str] | None]:
    """What a JSON pointer leads to in a model: its type and choices, None where that is open; or (problem, hint)."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        return None, (f"{pointer!r} is no JSON pointer", "begin it with /, such as /spec/replicas")
    if re.search(r"~(?![01])", pointer):
        return None, (f"{pointer!r} is no JSON pointer", "write ~ as ~0, and / inside a name as ~1")
    at, values = Type(frozenset({"object"}), model), None
    parts = segments(pointer)
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if at.model is not None:
            known = models.fields(at.model)
            if part not in known:
                if models.is_open(at.model):
                    return None, None
                hint = did_you_mean(part, sorted(known))
                return None, (f"{models.kind(at.model)} has no field {part!r}", hint)
            at, values = known[part].type, known[part].values
        elif at.kinds == {"array"}:
            if not (re.fullmatch(r"0|[1-9][0-9]*", part, re.ASCII) or (part == "-" and last and adds)):
                return None, (f"{part!r} is no place in the list {parts[depth - 1]!r}", "give its number, from 0 on")
            at, values = at.of or Type(), None
        elif at.kinds == {"object"} and at.of is not None:
            at, values = at.of, None
        elif "object" in at.kinds or not at.kinds:
            return None, None
        else:
            before = parts[depth - 1]
            return None, (f"{before!r} has no fields, so no {part!r}", "write / inside a name as ~1")
    return (at, values), None


# Words


def _fit(has: set[str], wants: frozenset[str], schema: Schema) -> bool:
    """Whether something that it can be is wanted. A number that only run time knows may be whole."""
    if has & wants or ("integer" in has and "number" in wants):
        return True
    return "number" in has and "integer" in wants and not values_of(schema)


def _word(kind: str) -> str:
    return _WORDS.get(kind, f"an {kind}" if kind == "integer" else f"a {kind}")


def _cure(kinds: set[str], wanted: Type) -> str:
    if wanted.kinds == {"string"} and not kinds & {"object", "array"}:
        return 'write it in quotes, or as text: "${string(…)}"'
    return ""


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key

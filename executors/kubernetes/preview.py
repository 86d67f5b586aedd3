"""The server's own dry run of a call: what it would make of the object, as a small diff. Writes nothing.

Only where the API server itself documents that nothing is persisted: not for custom resources, which another server may
serve, nor for what is done inside a Pod. What a Secret holds is never shown, nor a token asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from uici.executor import Diff, Done
from uici.model import Call
from uici_executors.kubernetes import calls, fields, sdk
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.fields import Object
from uici_executors.kubernetes.pinning import dry

#: What the server writes with every change, or what says no more than the first line does.
_NOISE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_OWN_NOTES = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
_HIDDEN = "(hidden)"
_INSIDE = frozenset("attach binding ephemeralcontainers exec portforward proxy token".split())
#: Lines of a diff, and characters of a line, that are shown at the most.
_LINES, _WIDTH = 400, 300


async def preview(server: Server, call: Call) -> Diff | None:
    """Of a pinned call; None where there is no dry run that could be trusted. Raises UnreachableError."""
    method = sdk.find(call.path)
    if (
        method is None
        or "dry_run" not in method.parameters
        or method.group == "{group}"
        or method.subresource in _INSIDE
        or method.verb == "deletecollection"
    ):
        return None
    before = None
    if method.verb != "create" or method.subresource:
        place = {name: call.arguments.get(name) for name in ("name", "namespace")}
        path = method.url.removesuffix(f"/{method.subresource}") if method.subresource else method.url
        if method.subresource == "scale":
            path = method.url
        before = await server.get(path.format(**place))
    outcome = await calls.run(server, dry(call, method.verb == "delete", method.kind == "pods/eviction"))
    if not isinstance(outcome, Done):
        return Diff(text=f"the server's dry run refuses it: {outcome.message}", data={"refused": outcome.message})
    gone = method.verb == "delete" or method.kind == "pods/eviction"
    after = None if gone or not isinstance(outcome.answer, Mapping) else outcome.answer
    return difference(before, after)


def difference(before: Object | None, after: Object | None) -> Diff:
    """One line for each value that goes (``-``) or comes (``+``); an object that goes is one line."""
    if after is None:
        return Diff(text=f"- {_called(before or {})}", data=[])
    secret = (after.get("kind") or (before or {}).get("kind")) == "Secret"
    old, new = dict(_values(_plain(before or {}), ())), dict(_values(_plain(after), ()))
    lines, data = [f"{'~' if before else '+'} {_called(after)}"], []
    for path in dict.fromkeys((*old, *new)):
        was, will = old.get(path), new.get(path)
        if was == will:
            continue
        name = ".".join(path)
        if secret and path[0] in ("data", "stringData"):
            was, will = (was and _HIDDEN), (will and _HIDDEN)
        lines += [f"{sign} {name}: {value[:_WIDTH]}" for sign, value in (("-", was), ("+", will)) if value is not None]
        data.append({"path": name, "before": was, "after": will})
    if len(lines) == 1:
        lines.append("  nothing changes")
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"  and {len(lines) - _LINES} lines more"]
    return Diff(text="\n".join(lines), data=data)


def _plain(one: Object) -> dict[str, Any]:
    """What people mean by the object."""
    metadata = {name: value for name, value in (one.get("metadata") or {}).items() if name not in _NOISE}
    notes = {name: value for name, value in (metadata.pop("annotations", None) or {}).items() if name not in _OWN_NOTES}
    if notes:
        metadata["annotations"] = notes
    plain = {name: value for name, value in one.items() if name not in ("apiVersion", "kind", "status")}
    if one.get("kind") == "Scale":
        plain["spec"] = {"replicas": 0, **(one.get("spec") or {})}  # the server leaves out what is zero
    return {**plain, "metadata": metadata} if one else {}


def _called(one: Object) -> str:
    metadata = one.get("metadata") or {}
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{one.get('kind') or 'object'} {place}{metadata.get('name', '')}"


def _values(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each scalar with its place; a thing in a list by its name where it has one."""
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _values(one, (*path, str(key)))
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            name = fields.name_in(path[-1] if path else "", one)
            yield from _values(one, (*path[:-1], f"{path[-1] if path else ''}[{name if name is not None else number}]"))
    elif path:
        yield path, json.dumps(value, ensure_ascii=False)

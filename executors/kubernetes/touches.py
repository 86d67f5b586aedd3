"""Pinning: which real things a call would touch, asked of the API server right before it. Reads only; decides nothing.

What Kubernetes takes only by selector (``delete_collection``), what nobody can foresee (exec, proxy, a custom resource)
and whatever is in no table here is ``unknown``; what can be told of it is listed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Call, Pinned, Resource, Touch
from uici_executors.kubernetes import fields, pinning, sdk
from uici_executors.kubernetes.calls import stay_in_place
from uici_executors.kubernetes.change import Change, Handler
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.indirect import HANDLERS as INDIRECT
from uici_executors.kubernetes.inside import HANDLERS as INSIDE
from uici_executors.kubernetes.resources import KINDS, Kind
from uici_executors.kubernetes.sdk import Method
from uici_executors.kubernetes.view import View
from uici_executors.kubernetes.workloads import HANDLERS as WORKLOADS

HANDLERS: Mapping[str, Handler] = {**WORKLOADS, **INDIRECT, **INSIDE}
_BY_PLACE = {(one.api.rpartition("/")[0], one.plural): one for one in KINDS.values()}
#: Questions that are asked by creating them; they leave nothing behind.
_ASKED = frozenset(
    """
    localsubjectaccessreviews selfsubjectaccessreviews selfsubjectreviews selfsubjectrulesreviews subjectaccessreviews
    tokenreviews
    """.split()
)

#: Subresources whose calls need not say anything: nobody can foresee what they do, or they have defaults.
NO_BODY = frozenset("attach eviction exec portforward proxy".split())


async def pin(server: Server, call: Call, own: Sequence[Resource]) -> Pinned:
    """The call made exact, and all that it touches. ``own``: the last identity's resources. Raises UnreachableError."""
    method = sdk.find(call.path)
    if method is None or not method.resource:
        return Pinned(call=call, unknown=f"nothing here tells what {call.path} touches")
    try:
        stay_in_place(call.arguments)
    except ValueError as error:
        return Pinned(call=call, unknown=str(error))
    if method.resource in _ASKED and method.verb == "create":
        return Pinned(call=call)
    if method.verb == "deletecollection":
        why = "takes what matches when it runs, not what was looked at; list them and delete each (`each`) instead"
        return Pinned(call=call, unknown=f"{call.path} {why}")
    body = call.arguments.get("body")
    if method.verb in ("create", "patch", "update") and not isinstance(body, Mapping):
        patch = method.verb == "patch" and isinstance(body, list) and all(isinstance(one, Mapping) for one in body)
        if not patch and method.subresource not in NO_BODY:
            return Pinned(call=call, unknown=f"the body of {call.path} is no object")
    view = View(server, await server.engine(), own)
    if method.verb == "create" and not method.subresource:
        change = _created(view, method, call)
    else:
        kind, namespace, name = _kind(method, call), _namespace(method, call), str(call.arguments.get("name") or "")
        before = await view.read(kind, namespace, name)
        if before is None:
            where = f"{namespace}/{name}" if namespace else name
            return Pinned(call=call, unknown=f"there is no {kind.name or kind.plural} {where} at {server.address}")
        kind = replace(kind, name=str(before["kind"]))
        change = Change(
            view=view,
            kind=kind,
            verb=method.verb,
            namespace=namespace,
            name=name,
            before=before,
            after=before,
            subresource=method.subresource,
        )
        try:
            call = _exact(change, method, call)
        except fields.PatchError as error:
            return Pinned(call=call, unknown=f"the patch of {kind.name} {name} does not apply: {error}")
    handler = HANDLERS.get(method.kind)
    if handler is None:
        await _stranger(change, method)
    else:
        await handler(change)
    return Pinned(call=call, touches=_once(change.touches), unknown="; ".join(dict.fromkeys(change.unbounded)) or None)


def _kind(method: Method, call: Call) -> Kind:
    """Where the object lies; of a kind that is in no table its name is told by the object."""
    given = {one: str(call.arguments.get(one) or "") for one in ("group", "version", "plural")}
    group, version = method.group.format(**given), method.version.format(**given)
    api, plural = f"/apis/{group}/{version}" if group else f"/api/{version}", method.resource.format(**given)
    known = _BY_PLACE.get((api.rpartition("/")[0], plural))
    return Kind(known.name if known else "", api, plural, method.namespaced)


def _namespace(method: Method, call: Call) -> str | None:
    return str(call.arguments.get("namespace")) if method.namespaced else None


def _created(view: View, method: Method, call: Call) -> Change:
    body = call.arguments.get("body")
    body = body if isinstance(body, Mapping) else {}
    kind = _kind(method, call)
    kind = replace(kind, name=kind.name or str(body.get("kind") or method.body or "").removeprefix("V1"))
    metadata = body.get("metadata") or {}
    return Change(
        view=view,
        kind=kind,
        verb="create",
        namespace=_namespace(method, call),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
        before=None,
        after={**body, "kind": kind.name},
        paths=[("metadata",), ("spec",), *((key,) for key in body)],
    )


def _exact(change: Change, method: Method, call: Call) -> Call:
    """The call with its preconditions; what it makes of the object is filled in. Raises PatchError."""
    before = change.before or {}
    if method.kind == "pods/eviction":
        change.after = None
        return pinning.evicted(call, before)
    if method.verb == "delete":
        call = pinning.deleted(call, before)
        change.after, change.options = None, call.arguments["body"]
        return call
    body: Any = call.arguments.get("body")
    if method.verb not in ("patch", "update") or method.subresource in NO_BODY:
        return call
    if isinstance(body, list):
        after = fields.patched(before, body)
    elif method.verb == "patch":
        strategic = sdk.STRATEGIC in method.offered
        after = fields.merged(before, body, strategic=strategic)
    elif method.subresource:
        after = {**before, "spec": {**(before.get("spec") or {}), **(body.get("spec") or {})}}
    else:
        # The status is not written by this door.
        after = {**body, **{key: before[key] for key in ("apiVersion", "status") if key in before}}
    if not isinstance(after, Mapping):
        raise fields.PatchError("it leaves nothing of the object")
    if method.subresource == "scale":
        # The replicas of a Scale have no default: none that are named are none.
        said = (body.get("spec") or {}) if method.verb == "update" else (after.get("spec") or {})
        after = {**after, "spec": {**(after.get("spec") or {}), "replicas": said.get("replicas") or 0}}
    change.after = {**after, "kind": before["kind"]}
    change.paths = fields.differences(before, change.after)
    if isinstance(body, Mapping) and fields.directives(body):
        change.paths += [("metadata",), ("spec",)]  # what a directive takes away is not followed, so all of it counts
    return pinning.written(call, before, replaces=method.verb == "update" and not method.subresource)


async def _stranger(change: Change, method: Method) -> None:
    """What is in no table: the object, and that nothing more can be told."""
    before = change.before
    if before is None:
        change.touches.append(change.view.new(change.kind, change.namespace, change.name, {}))
    else:
        change.touches += [await change.view.of_object(before), *await change.view.chain(before)]
    if not method.namespaced:
        change.everything()
    change.unbounded.append(f"nothing here tells what {change.verb} of {method.kind.format_map(_Shown())} touches")


class _Shown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "custom resources" if key == "plural" else key


def _once(touches: Sequence[Touch]) -> tuple[Touch, ...]:
    """Each resource once, with the most that is taken of it and the least that its budget spares."""
    seen: dict[Resource, Touch] = {}
    for touch in touches:
        kept = seen.get(touch.resource)
        if kept is None or touch.takes > kept.takes:
            by = touch.managed_by or (kept.managed_by if kept else None)
            seen[touch.resource] = replace(touch, managed_by=by)
        elif touch.managed_by and not kept.managed_by:
            seen[touch.resource] = replace(kept, managed_by=touch.managed_by)
    return tuple(seen.values())

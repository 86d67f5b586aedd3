"""A call made exact: the uid and the resourceVersion of what was looked at go along, so that the server refuses a stale one.

The resourceVersion, not the generation: what was measured (healthy replicas, budgets, owners) lies in the status, and only
the resourceVersion says that it still holds (``docs/decisions``). What a translation gives itself is kept. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uici.executor import Outcome, Rejected
from uici.model import Call
from uici_executors.kubernetes.connection import AnswerError
from uici_executors.kubernetes.fields import Object

#: Arguments of a deletion -> the same in its body. A server that gets a body reads no query, not even a dry run.
OPTIONS: Mapping[str, str] = {
    "dry_run": "dryRun",
    "grace_period_seconds": "gracePeriodSeconds",
    "ignore_store_read_error_with_cluster_breaking_potential": "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphan_dependents": "orphanDependents",
    "propagation_policy": "propagationPolicy",
}
_VERSION = "/metadata/resourceVersion"
#: What the API server says of a JSON Patch that does not apply.
_NO_CAUSE = "the server rejected our request due to an error in our request"


def written(call: Call, before: Object, *, replaces: bool) -> Call:
    """Of a patch or a replacement. A JSON Patch ends by setting both fields to what they were, which the server refuses as
    a conflict where they are not (a failed ``test`` it would call invalid)."""
    body, metadata = call.arguments.get("body"), before["metadata"]
    values: dict[str, Any] = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    if isinstance(body, list):
        if not any(one.get("path") == _VERSION and one.get("op") in ("add", "replace") for one in body):
            body = [*body, *({"op": "add", "path": f"/metadata/{name}", "value": values[name]} for name in values)]
    else:
        if replaces and metadata.get("finalizers"):
            values["finalizers"] = []  # what a replacement leaves out it takes away: written down, so that it is judged
        body = _with(body, "metadata", values)
    return replace(call, arguments={**call.arguments, "body": body})


def deleted(call: Call, before: Object) -> Call:
    """Of a deletion: everything that it says, in its body."""
    arguments = {name: value for name, value in call.arguments.items() if name not in OPTIONS}
    options = delete_options(call.arguments)
    metadata = before["metadata"]
    arguments["body"] = _with(
        options, "preconditions", {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    )
    return replace(call, arguments=arguments)


def tested(outcome: Outcome, call: Call, error: AnswerError) -> Outcome:
    """Of a JSON Patch whose own ``test`` does not hold any more: the server calls that invalid, and names no cause. What it
    was written for has been changed, and it may be written anew."""
    body = call.arguments.get("body")
    tests = isinstance(body, list) and any(isinstance(one, Mapping) and one.get("op") == "test" for one in body)
    if not isinstance(outcome, Rejected) or not tests or (error.status, error.said) != (422, _NO_CAUSE):
        return outcome
    message = f"{call.path}: what its JSON Patch tests does not hold any more, or is gone: somebody changed the object"
    return replace(outcome, reason="conflict", stale=True, message=message)


def pinned_uid(call: Call) -> str:
    """Of what the call was pinned to; empty: of nothing."""
    body = call.arguments.get("body")
    if isinstance(body, list):
        said = [one.get("value") for one in body if isinstance(one, Mapping) and one.get("path") == "/metadata/uid"]
        return str(said[-1]) if said else ""
    if not isinstance(body, Mapping):
        return ""
    options = body.get("deleteOptions") or body
    for part in (options.get("preconditions"), body.get("metadata")):
        if isinstance(part, Mapping) and part.get("uid"):
            return str(part["uid"])
    return ""


def delete_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a deletion, wherever they were given."""
    given = arguments.get("body")
    options = dict(given) if isinstance(given, Mapping) else {}
    for name, key in OPTIONS.items():
        if arguments.get(name) is not None:
            value = arguments[name]
            options.setdefault(key, [value] if name == "dry_run" else value)
    return options


def evicted(call: Call, before: Object) -> Call:
    body = call.arguments.get("body")
    options = (body.get("deleteOptions") if isinstance(body, Mapping) else None) or {}
    metadata = before["metadata"]
    options = _with(options, "preconditions", {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]})
    whole = _with(body, "metadata", {"name": metadata["name"], "namespace": metadata.get("namespace")})
    return replace(call, arguments={**call.arguments, "body": {**whole, "deleteOptions": options}})


def dry(call: Call, deletes: bool, evicts: bool) -> Call:
    """The same call, which the server carries through and does not keep."""
    if not deletes and not evicts:
        return replace(call, arguments={**call.arguments, "dry_run": "All"})
    arguments = {name: value for name, value in call.arguments.items() if name not in OPTIONS}
    if deletes:
        arguments["body"] = {**delete_options(call.arguments), "dryRun": ["All"]}
    else:
        body = call.arguments.get("body") or {}
        arguments["body"] = {**body, "deleteOptions": {**(body.get("deleteOptions") or {}), "dryRun": ["All"]}}
    return replace(call, arguments={**arguments, "dry_run": "All"})


def _with(body: Any, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    whole = copy.deepcopy(dict(body)) if isinstance(body, Mapping) else {}
    part = whole.get(name)
    said = (
        {key: value for key, value in part.items() if value or key not in values} if isinstance(part, Mapping) else {}
    )
    whole[name] = {**values, **said}
    return whole

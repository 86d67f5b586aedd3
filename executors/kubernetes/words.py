"""The executor's own words, for what the client has none; all only look, and all are documented in the README beside this.

``probe.check`` looks at a service from outside; ``prometheus.query`` asks a monitor; the others make something of objects
that earlier steps have read, and ask nobody.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uici.executor import probe
from uici.model import UnreachableError
from uici_executors.kubernetes import diagnosis, jobs, ordered, pods, reports, revisions, rollouts
from uici_executors.kubernetes.causes import MEANINGS

Schema = Mapping[str, Any]

#: Bytes of a monitor's answer, and seconds to wait for it, at the most.
_MOST, _SECONDS = 4_000_000, 5.0


def query(url: str, query: str) -> dict[str, Any]:
    """``{series: [{labels, value}], asked}`` of an instant query of a Prometheus. No url: nobody is asked, no series.

    Raises UnreachableError where it does not answer as a Prometheus does.
    """
    if not url:
        return {"series": [], "asked": False}
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"prometheus.query: {url[:100]!r} is no http address")
    data = urllib.parse.urlencode({"query": query}).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/api/v1/query", data)  # noqa: S310  the scheme was looked at
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_SECONDS) as response:
            answer = json.loads(response.read(_MOST))
        result = answer["data"]["result"]
        series = [{"labels": dict(one["metric"]), "value": str(one["value"][1])} for one in result]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreachableError(f"the Prometheus at {url} gives no answer: {error}") from error
    return {"series": series, "asked": True}


#: What each word is done by; called with its arguments, in a thread where it may take a while.
WORDS: Mapping[str, Callable[..., Any]] = {
    "probe.check": probe.check,
    "prometheus.query": query,
    "status.workloads": rollouts.look,
    "status.pods": pods.look,
    "status.revisions": revisions.look,
    "status.in_the_way": ordered.look,
    "status.quotas": reports.quotas,
    "status.events": reports.events,
    "status.usage": reports.usage,
    "diagnosis.find": diagnosis.find,
    "status.jobs": jobs.look,
}


def _record(**properties: Any) -> Schema:
    return {"type": "object", "readOnly": True, "properties": properties, "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "readOnly": True, "items": items}


def _of(kind: str, *names: str) -> dict[str, Schema]:
    return {name: {"type": kind, "readOnly": True} for name in names}


_TEXT: Schema = {"type": "string", "readOnly": True}
_POD = _record(
    **_of(
        "string",
        "pod",
        "namespace",
        "uid",
        "service",
        "owner",
        "node",
        "phase",
        "reason",
        "container",
        "main",
        "killed_at",
    ),
    **_of("boolean", "ready", "unready", "ending", "mirror", "failing", "unscheduled"),
    **_of("integer", "restarts", "exit_code", "killed_limit_bytes"),
    out_of_memory=_list(_TEXT),
    killed=_list(_TEXT),
)
_CONTAINER = _record(
    **_of("string", "container", "image"),
    **_of("boolean", "init"),
    **_of("integer", "memory_limit_bytes", "memory_request_bytes", "cpu_limit_millicores", "cpu_request_millicores"),
)
_WORKLOAD = _record(
    **_of(
        "string",
        "service",
        "namespace",
        "started_at",
        "container",
        "image",
        "suspect",
        "changed_by",
        "template",
        "selector",
        "reason",
    ),
    **_of(
        "integer",
        "replicas",
        "updated",
        "ready",
        "available",
        "total",
        "held_back",
        "generation",
        "restarts",
        "memory_limit_bytes",
    ),
    **_of("boolean", "paused", "out_of_memory"),
    kind={"enum": ["Deployment", "StatefulSet", "DaemonSet"], "readOnly": True},
    state={"enum": ["running", "starting", "paused", "stopped", "failed"], "readOnly": True},
    health={"enum": ["healthy", "unhealthy", "unknown"], "readOnly": True},
    starts_with={"type": "integer", "minimum": 1, "readOnly": True},
    containers=_list(_CONTAINER),
    conditions=_list(_record(**_of("string", "type", "status", "reason", "message"))),
    pods=_list(_POD),
)
_REVISION = _record(
    **_of("string", "name", "image"),
    **_of("integer", "revision", "replicas", "available"),
    images=_list(_TEXT),
    seen={"enum": ["verified", "available", "monitored", "no"], "readOnly": True},
    template={"type": "object", "readOnly": True},
)
_ENDING = {**_of("string", "started_at", "ended_at"), **_of("integer", "exit_code")}
_VARIANT = _record(
    **_of("string", "variant", "job", "message"),
    **_ENDING,
    state={"enum": ["waiting", "running", "succeeded", "failed"], "readOnly": True},
    pods=_list(_record(**_of("string", "pod", "state", "reason"), **_of("integer", "restarts"), **_ENDING)),
)
#: What each answers, for the check.
ANSWERS: Mapping[str, Schema] = {
    "probe.check": _record(
        **_of("string", "url", "message"),
        health={"enum": ["healthy", "unhealthy", "unknown"]},
        healthy={"type": "boolean"},
    ),
    "prometheus.query": _record(
        series=_list(_record(labels={"type": "object", "additionalProperties": _TEXT}, value=_TEXT)),
        asked={"type": "boolean"},
    ),
    "status.workloads": _list(_WORKLOAD),
    "status.pods": _list(_POD),
    "status.revisions": _record(
        **_of("integer", "current", "rollback_to", "image_to", "previous"),
        **_of("boolean", "current_seen"),
        current_name=_TEXT,
        revisions=_list(_REVISION),
    ),
    "status.in_the_way": _list(_record(**_of("string", "pod", "uid", "version"))),
    "status.quotas": _list(
        _record(
            quota=_TEXT,
            hard={"type": "object", "additionalProperties": _TEXT},
            used={"type": "object", "additionalProperties": _TEXT},
            exhausted={"type": "boolean"},
        )
    ),
    "status.events": _list(
        _record(**_of("string", "at", "type", "kind", "object", "reason", "message"), count={"type": "integer"})
    ),
    "status.jobs": _list(_VARIANT),
    "status.usage": _record(memory_bytes={"type": "integer"}, cpu_percent={"type": "number"}),
    "diagnosis.find": _record(
        **_of("string", "message", "object", "container"),
        **_of("integer", "exit_code", "failing", "pods", "ready_endpoints"),
        **_of("boolean", "of_newest_revision"),
        cause={"enum": list(MEANINGS), "readOnly": True},
        evidence=_list(_record(**_of("string", "object", "container", "field", "value"))),
        others=_list(_TEXT),
        workload=_record(**_of("string", "kind", "name")),
    ),
}
#: Their arguments: whether each must be given, and its JSON type.
ARGUMENTS: Mapping[str, Mapping[str, tuple[bool, str]]] = {
    "probe.check": {"url": (True, "string"), "timeout_seconds": (False, "number")},
    "prometheus.query": {"url": (True, "string"), "query": (True, "string")},
    "status.workloads": {"workloads": (True, "array"), "pods": (False, "array"), "now": (False, "string")},
    "status.pods": {"pods": (True, "array"), "now": (False, "string")},
    "status.revisions": {
        "workload": (True, "object"),
        "revisions": (True, "array"),
        "pods": (True, "array"),
        "now": (True, "string"),
        "series": (False, "array"),
    },
    "status.in_the_way": {"workload": (True, "object"), "pods": (True, "array")},
    "status.quotas": {"quotas": (True, "array")},
    "status.jobs": {"jobs": (True, "array"), "pods": (True, "array")},
    "status.events": {"events": (True, "array")},
    "status.usage": {"usage": (True, "array"), "status": (True, "object")},
    "diagnosis.find": {
        "now": (True, "string"),
        "pods": (False, "array"),
        "events": (False, "array"),
        "workload": (False, "object"),
        "revisions": (False, "array"),
        "service": (False, "object"),
        "workloads": (False, "array"),
        "nodes": (False, "array"),
        "slices": (False, "array"),
    },
}


def run(path: str, arguments: Mapping[str, Any]) -> Any:
    """Blocks. Raises ValueError and TypeError for arguments that are none, UnreachableError."""
    return WORDS[path](**arguments)


__all__: Sequence[str] = ("ANSWERS", "ARGUMENTS", "WORDS", "run")

"""What is wrong with a workload or a Service: its objects and events, already read, to a named cause with its evidence.

A word of the executor's own for translations, ``diagnosis.find``; ``causes`` is its table. Pure: it asks no server, knows no
clock (``now`` is given), and proposes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from uici_executors.kubernetes.causes import MEANINGS, RULES, Rule
from uici_executors.kubernetes.pods import RECENT, belongs, last_end, ready
from uici_executors.kubernetes.readings import Object, condition, kind_of, moment_of

Fact = dict[str, str]

#: A Pod that is to end has its own grace period; so long beyond it, it is stuck.
OVERDUE = timedelta(seconds=60)
#: Lines of evidence, and characters of one message, at the most.
MOST, LONGEST = 10, 500
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_SHOWN = {
    "container": ("waiting", "said", "ended", "exit_code", "at"),
    "pod": ("phase", "reason", "unschedulable", "terminating"),
    "event": ("reason", "message"),
    "workload": ("failure", "progress", "paused", "wanted"),
    "service": ("selector", "selected", "ready", "workloads", "port_missing"),
    "node": ("ready", "pressure"),
}


def find(
    now: str,
    pods: Sequence[Object] = (),
    events: Sequence[Object] = (),
    workload: Object | None = None,
    revisions: Sequence[Object] = (),
    service: Object | None = None,
    workloads: Sequence[Object] = (),
    nodes: Sequence[Object] = (),
    slices: Sequence[Object] = (),
) -> dict[str, Any]:
    """The cause, what it is about, and the evidence.

    ``now``: RFC 3339. ``pods``: of a namespace, those of others are left out by themselves. ``revisions``: ReplicaSets or
    ControllerRevisions. ``service``: a Service, with ``pods`` those that it selects and ``workloads`` all of its namespace.
    ``slices``: its EndpointSlices.
    Gives ``{cause, message, object, container, exit_code, evidence, others, of_newest_revision, failing, pods, workload,
    ready_endpoints}``.
    """
    moment = _time(now) or datetime.now(UTC)
    own = [one for one in pods if workload is None or belongs(one, workload)]
    short = workload is not None and _is_short(workload, own)
    facts = [
        *(fact for one in own for fact in _pod(one, moment)),
        *_events(events, own, workload, moment, short=short),
        *([_workload(workload, short=short)] if workload is not None else []),
        *([_service(service, own, workloads)] if service is not None else []),
        *(_node(one) for one in nodes),
    ]
    # Who asks about a Service wants to know of that first, and why its Pods are not ready then.
    rules = sorted(RULES, key=lambda rule: rule.about != "service")
    found = [(rule, fact) for rule in rules for fact in facts if rule.holds(fact)]
    failing = [one for one in own if not ready(one)]
    answer: dict[str, Any] = {
        "cause": "none",
        "message": MEANINGS["none"],
        "object": "",
        "container": "",
        "exit_code": 0,
        "evidence": [],
        "others": [],
        "of_newest_revision": _of_newest(failing, own, revisions, workload),
        "failing": len(failing),
        "pods": len(own),
        "workload": _behind(own),
        "ready_endpoints": sum(
            (endpoint.get("conditions") or {}).get("ready") is not False
            for one in slices
            for endpoint in one.get("endpoints") or ()
        ),
    }
    if not found:
        return answer
    rule, fact = found[0]
    # Between two crashes a Pod is ready for a moment; it is of the trouble all the same.
    ill = {of["object"] for cause, of in found if cause.cause == rule.cause}
    failing = [one for one in own if not ready(one) or _name("pod", one) in ill]
    answer.update(
        of_newest_revision=_of_newest(failing, own, revisions, workload),
        cause=rule.cause,
        message=_message(rule, fact),
        object=fact["object"],
        container=fact.get("container", ""),
        exit_code=int(fact.get("exit_code", "0")),
        evidence=_evidence(rule.cause, found),
        others=list(
            dict.fromkeys(other.cause for other, of in found if other.cause != rule.cause and not _same(fact, of))
        ),
    )
    return answer


def _same(one: Fact, other: Fact) -> bool:
    """Of one fact the first rule that holds says all there is to say."""
    return (one["object"], one["about"], one.get("container")) == (
        other["object"],
        other["about"],
        other.get("container"),
    )


def _message(rule: Rule, fact: Fact) -> str:
    where = f"container {fact['container']} of {fact['object']}" if fact.get("container") else fact["object"]
    said = next((fact[key] for key in ("said", "message", "failure", "unschedulable") if fact.get(key)), "")
    code = f" (exit code {fact['exit_code']})" if fact.get("exit_code") and rule.cause == "crash_exit" else ""
    return f"{MEANINGS[rule.cause]}: {where}{code}{': ' + said if said else ''}"


def _evidence(cause: str, found: Iterable[tuple[Rule, Fact]]) -> list[dict[str, str]]:
    """Each field of each fact that shows the cause, once."""
    lines = [
        {"object": fact["object"], "container": fact.get("container", ""), "field": name, "value": fact[name]}
        for rule, fact in found
        if rule.cause == cause
        for name in _SHOWN[fact["about"]]
        if fact.get(name)
    ]
    once = {tuple(line.values()): line for line in lines}
    return list(once.values())[:MOST]


# Facts


def _pod(one: Object, now: datetime) -> Iterator[Fact]:
    status, spec = one.get("status") or {}, one.get("spec") or {}
    scheduled = condition(one, "PodScheduled")
    fact: Fact = {
        "about": "pod",
        "object": _name("pod", one),
        "phase": str(status.get("phase") or ""),
        "reason": str(status.get("reason") or ""),
        "ready": _flag(ready(one)),
    }
    if scheduled.get("status") == "False":
        fact["unschedulable"] = _short(str(scheduled.get("message") or scheduled.get("reason") or "Unschedulable"))
    told = _time(one["metadata"].get("deletionTimestamp"))
    if told is not None:
        # The timestamp is when its grace period ends.
        fact["terminating"] = "overdue" if now - told > OVERDUE else "yes"
    yield fact
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or ():
            first = group == "initContainerStatuses" and container["name"] not in sidecars
            yield _container(one, container, now, first=first)


def _container(pod: Object, one: Object, now: datetime, *, first: bool) -> Fact:
    """``first``: it runs before the others and ends, so that having ended well is as good as being ready."""
    state, phase = one.get("state") or {}, (pod.get("status") or {}).get("phase")
    waiting, ended = state.get("waiting") or {}, last_end(one, now, over=phase in ("Failed", "Succeeded"))
    ready = (state.get("terminated") or {}).get("exitCode") == 0 if first else bool(one.get("ready"))
    if phase == "Succeeded":
        ready = True
    fact: Fact = {
        "about": "container",
        "object": _name("pod", pod),
        "container": str(one["name"]),
        "ready": _flag(ready),
        "restarted": _flag(int(one.get("restartCount") or 0) > 0),
    }
    if waiting.get("reason"):
        fact["waiting"] = str(waiting["reason"])
    if ended:
        fact["ended"] = str(ended.get("reason") or "")
        fact["exit_code"] = str(ended.get("exitCode", 0))
        fact["at"] = str(ended.get("finishedAt") or "")
    # Of a loop the last end says more than the waiting does.
    said = ended.get("message") if waiting.get("reason") == "CrashLoopBackOff" else waiting.get("message")
    if said := str(said or ended.get("message") or ""):
        fact["said"] = _short(said)
    return fact


def _events(
    events: Sequence[Object], pods: Sequence[Object], workload: Object | None, now: datetime, *, short: bool
) -> Iterator[Fact]:
    """Warnings that are recent, about these Pods, the workload, or what it makes its Pods by."""
    by_name = {one["metadata"]["name"]: one for one in pods}
    for one in events:
        about = one.get("involvedObject") or one.get("regarding") or {}
        kind, name = str(about.get("kind") or ""), str(about.get("name") or "")
        series = one.get("series") or {}
        at = series.get("lastObservedTime") or one.get("lastTimestamp") or one.get("eventTime")
        if one.get("type") != "Warning" or not _is_recent(at or one["metadata"].get("creationTimestamp"), now):
            continue
        pod = by_name.get(name) if kind == "Pod" else None
        if pod is not None and about.get("uid") not in (None, pod["metadata"].get("uid")):
            continue  # a former Pod of that name, as a StatefulSet makes them
        own = workload is not None and (
            (kind == workload.get("kind", kind) and name == workload["metadata"]["name"])
            or (kind == "ReplicaSet" and re.fullmatch(re.escape(workload["metadata"]["name"]) + "-[a-z0-9]+", name))
        )
        if pod is None and not own:
            continue
        statuses = [*((pod or {}).get("status", {}).get("containerStatuses") or ())]
        yield {
            "about": "event",
            "object": f"{kind.lower()}/{about.get('namespace', '')}/{name}",
            "on": f"{kind.lower()}/{name}",
            "reason": str(one.get("reason") or ""),
            "message": _short(str(one.get("message") or one.get("note") or "")),
            "ready": _flag(pod is not None and ready(pod)),
            "restarted": _flag(any(int(status.get("restartCount") or 0) > 0 for status in statuses)),
            "short": _flag(short),
        }


def _wanted(one: Object) -> int:
    status, spec = one.get("status") or {}, one.get("spec") or {}
    return int(spec.get("replicas", status.get("desiredNumberScheduled", 1)))


def _is_short(workload: Object, pods: Sequence[Object]) -> bool:
    """Whether Pods are missing that were to be made. While one ends, the next in its place need not be there yet."""
    there = [one for one in pods if (one.get("status") or {}).get("phase") not in ("Failed", "Succeeded")]
    return len(there) < _wanted(workload)


def _workload(one: Object, *, short: bool) -> Fact:
    spec = one.get("spec") or {}
    failure = condition(one, "ReplicaFailure")
    progress = condition(one, "Progressing")
    fact: Fact = {
        "about": "workload",
        "object": _name(kind_of(one).lower(), one),
        "wanted": str(_wanted(one)),
        "paused": _flag(bool(spec.get("paused"))),
        "progress": str(progress.get("reason") or "") if progress.get("status") == "False" else "",
    }
    # It is taken back as soon as Pods can be made, but while a rollout is paused nobody does.
    stale = bool(spec.get("paused")) and not short
    if failure.get("status") == "True" and failure.get("reason") != "FailedDelete" and not stale:
        fact["failure"] = _short(str(failure.get("message") or failure.get("reason") or "FailedCreate"))
    return fact


def _service(one: Object, pods: Sequence[Object], workloads: Sequence[Object]) -> Fact:
    spec = one.get("spec") or {}
    selector = spec.get("selector") or {}
    if not selector or spec.get("type") == "ExternalName":
        return {"about": "service", "object": _name("service", one)}
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    behind = [
        workload
        for workload in workloads
        if selector.items() <= ((_template(workload).get("metadata") or {}).get("labels") or {}).items()
    ]
    names = {
        str(port["name"])
        for pod in alive
        for container in (pod.get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    }
    missing = [
        str(port["targetPort"])
        for port in spec.get("ports") or ()
        if isinstance(port.get("targetPort"), str) and port["targetPort"] not in names
    ]
    fact: Fact = {
        "about": "service",
        "object": _name("service", one),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        "selected": str(len(alive)),
        "ready": str(sum(ready(pod) for pod in alive) if not missing else 0),
        "workloads": str(len(behind)),
        "wanted": str(sum(int((workload.get("spec") or {}).get("replicas", 1)) for workload in behind)),
    }
    if alive and missing:
        fact["port_missing"] = ", ".join(missing)
    return fact


def _node(one: Object) -> Fact:
    pressures = [name for name in _PRESSURES if condition(one, name).get("status") == "True"]
    return {
        "about": "node",
        "object": f"node/{one['metadata']['name']}",
        "ready": str(condition(one, "Ready").get("status") or "Unknown"),
        "pressure": ", ".join(pressures),
    }


# Who belongs to what


def _behind(pods: Sequence[Object]) -> dict[str, str]:
    """The one workload whose Pods these are; empty texts where they are of none, or of several."""
    found = set()
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        for reference in pod["metadata"].get("ownerReferences") or ():
            kind, name = str(reference.get("kind")), str(reference.get("name"))
            if kind == "ReplicaSet":
                kind, name = "Deployment", name.removesuffix(f"-{labels.get('pod-template-hash', '')}")
            if reference.get("controller") and kind in _KINDS:
                found.add((kind, name))
    kind, name = found.pop() if len(found) == 1 else ("", "")
    return {"kind": kind, "name": name}


def _of_newest(
    failing: Sequence[Object], pods: Sequence[Object], revisions: Sequence[Object], workload: Object | None
) -> bool:
    """Whether all that fails is of the newest revision, and there is an older one to go back to."""
    if workload is None:
        return False
    uid = workload["metadata"].get("uid")
    numbered = {}
    for one in revisions:
        owners = one["metadata"].get("ownerReferences") or ()
        if any(reference.get("uid") == uid for reference in owners):
            annotated = (one["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
            labels = one["metadata"].get("labels") or {}
            hashed = (
                labels.get("pod-template-hash") or labels.get("controller-revision-hash") or one["metadata"]["name"]
            )
            numbered[int(annotated or one.get("revision") or 0)] = hashed
    if len(numbered) < 2:
        return False
    newest = numbered[max(numbered)]
    hashes = {
        str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or "")
        for labels in ((one["metadata"].get("labels") or {}) for one in failing)
    }
    if not hashes:
        # No Pod could be made: it is the newest revision's, unless all is well.
        return not pods or len(pods) < int((workload.get("spec") or {}).get("replicas", 1))
    return hashes == {newest}


# Fields


def _name(kind: str, one: Object) -> str:
    return f"{kind}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"


def _template(workload: Object) -> Object:
    return (workload.get("spec") or {}).get("template") or {}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _is_recent(at: Any, now: datetime) -> bool:
    moment = _time(at)
    return moment is not None and now - moment < RECENT


def _time(text: Any) -> datetime | None:
    found = moment_of(text)
    return found[0] if found else None

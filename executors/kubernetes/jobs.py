"""What became of Jobs that run one container in variants: each variant's state, exit code, times and Pods. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uici_executors.kubernetes.readings import Object, condition, main_container, moment_of

#: Says which variant a Job runs; of an indexed one the Pods' own label says which index.
VARIANT, INDEX = "uici.dev/variant", "batch.kubernetes.io/job-completion-index"


def look(jobs: Sequence[Object], pods: Sequence[Object]) -> list[dict[str, Any]]:
    """One row a variant, of an indexed Job one an index, in their order. ``exit_code``: of the Pod that ended last; -1: none
    has ended."""
    by_job: dict[str, list[Object]] = {}
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences") or ():
            by_job.setdefault(str(owner.get("uid")), []).append(pod)
    rows = []
    for job in sorted(jobs, key=_order):
        own = by_job.get(str(job["metadata"]["uid"]), [])
        rows += _indexed(job, own) if (job.get("spec") or {}).get("completionMode") == "Indexed" else [_row(job, own)]
    return rows


def _order(job: Object) -> tuple[int, str]:
    """Names end in the variant's number."""
    name = str(job["metadata"]["name"])
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) < 6 else 0, name


def _row(job: Object, pods: Sequence[Object]) -> dict[str, Any]:
    metadata, status = job["metadata"], job.get("status") or {}
    seen = [_pod(one) for one in pods]
    ended = sorted((one for one in seen if one["ended_at"]), key=lambda one: str(one["ended_at"]))
    state, finished = _state(job)
    return {
        "variant": str((metadata.get("labels") or {}).get(VARIANT) or metadata["name"]),
        "job": str(metadata["name"]),
        "state": state,
        "exit_code": ended[-1]["exit_code"] if ended else -1,
        "started_at": _time(status.get("startTime")),
        "ended_at": _time(status.get("completionTime") or finished.get("lastTransitionTime")),
        "message": str(finished.get("message") or "") if state == "failed" else "",
        "pods": seen,
    }


def _indexed(job: Object, pods: Sequence[Object]) -> list[dict[str, Any]]:
    whole = _row(job, pods)
    rows = []
    succeeded = _indexes((job.get("status") or {}).get("completedIndexes"))
    for index in range(int((job.get("spec") or {}).get("completions") or 0)):
        own = [one for one in pods if (one["metadata"].get("labels") or {}).get(INDEX) == str(index)]
        row = {**_row(job, own), "variant": str(index)}
        times = [str(one["started_at"]) for one in row["pods"] if one["started_at"]]
        ends = [str(one["ended_at"]) for one in row["pods"] if one["ended_at"]]
        state = "succeeded" if index in succeeded else whole["state"]
        if state == "running" and not own:
            state = "waiting"
        rows.append(
            {
                **row,
                "state": state,
                "started_at": min(times, default=""),
                "ended_at": max(ends, default="") if state in ("succeeded", "failed") else "",
                "message": whole["message"] if state == "failed" else "",
            }
        )
    return rows


def _indexes(text: Any) -> set[int]:
    """Of ``0,2-4``."""
    found: set[int] = set()
    for part in str(text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return found


def _state(job: Object) -> tuple[str, Object]:
    """And the condition that says so."""
    for kind, state in (("Complete", "succeeded"), ("Failed", "failed")):
        found = condition(job, kind)
        if found.get("status") == "True":
            return state, found
    return ("running" if (job.get("status") or {}).get("active") else "waiting"), {}


def _pod(pod: Object) -> dict[str, Any]:
    status = pod.get("status") or {}
    main = main_container(pod)
    state: Mapping[str, Any] = next(
        (one.get("state") or {} for one in status.get("containerStatuses") or () if one.get("name") == main), {}
    )
    terminated = state.get("terminated") or {}
    waiting = state.get("waiting") or {}
    return {
        "pod": str(pod["metadata"]["name"]),
        "state": str(status.get("phase") or "Pending").lower(),
        "exit_code": int(terminated.get("exitCode", -1)),
        "started_at": _time((state.get("running") or terminated).get("startedAt")),
        "ended_at": _time(terminated.get("finishedAt")),
        "restarts": sum(int(one.get("restartCount") or 0) for one in status.get("containerStatuses") or ()),
        "reason": str(terminated.get("reason") or waiting.get("reason") or status.get("reason") or ""),
    }


def _time(text: Any) -> str:
    found = moment_of(text)
    return found[1] if found is not None else ""

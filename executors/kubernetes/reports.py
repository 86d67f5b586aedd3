"""Quotas, events and measured use, from objects that were read, as plain rows: ``status.quotas``, ``.events``, ``.usage``.

Words of the executor's own for translations. Pure: nothing is asked of a server, and nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uici_executors.kubernetes.readings import Object, amount, moment_of
from uici_executors.kubernetes.rollouts import NEVER


def quotas(quotas: Sequence[Object]) -> list[dict[str, Any]]:
    """``exhausted``: of something that it bounds nothing is left."""
    found = []
    for one in quotas:
        status = one.get("status") or {}
        hard, used = dict(status.get("hard") or {}), dict(status.get("used") or {})
        # In thousandths, so that 500m and 1 can be compared.
        full = [name for name, most in hard.items() if amount(used.get(name, "0"), 1000) >= amount(most, 1000)]
        found.append({"quota": str(one["metadata"]["name"]), "hard": hard, "used": used, "exhausted": bool(full)})
    return found


def events(events: Sequence[Object]) -> list[dict[str, Any]]:
    """The newest first."""
    rows = []
    for one in events:
        about, series = one.get("involvedObject") or one.get("regarding") or {}, one.get("series") or {}
        at = series.get("lastObservedTime") or one.get("lastTimestamp") or one.get("eventTime")
        moment = moment_of(at or one["metadata"].get("creationTimestamp"))
        rows.append(
            {
                "at": moment[1] if moment else NEVER,
                "type": str(one.get("type") or ""),
                "kind": str(about.get("kind") or ""),
                "object": str(about.get("name") or ""),
                "reason": str(one.get("reason") or ""),
                "message": str(one.get("message") or one.get("note") or ""),
                "count": int(series.get("count") or one.get("count") or 1),
            }
        )
    return sorted(rows, key=lambda row: str(row["at"]), reverse=True)


def usage(usage: Sequence[Object], status: Mapping[str, Any]) -> dict[str, Any]:
    """What the busiest Pod of a workload uses, by the metrics API. ``status``: one of ``status.workloads``.

    ``cpu_percent`` of one core, ``memory_bytes`` of the container that kubectl would take; 0 where nothing is measured.
    """
    own = {pod["pod"] for pod in status["pods"]}
    measured = [
        (
            amount((container.get("usage") or {}).get("memory")),
            amount((container.get("usage") or {}).get("cpu"), 1_000_000),
        )
        for one in usage
        if one["metadata"]["name"] in own
        for container in one.get("containers") or ()
        if container.get("name") == status["container"]
    ]
    memory, cpu = max(measured, default=(0, 0))
    return {"memory_bytes": memory, "cpu_percent": cpu / 10_000}

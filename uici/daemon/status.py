"""``/healthz``, ``/readyz`` and ``/metrics``: alive, able to work, and counted. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from uici import __version__
from uici.daemon import metrics
from uici.daemon.counts import GAUGES
from uici.daemon.server import Daemon, answer
from uici.daemon.tokens import Caller
from uici.executor import Health
from uici.model import JournalError, rfc3339

_HEALTH_AGE = 5.0
_HEALTH_SECONDS = 3.0


async def get_healthz(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    return answer({"alive": True})


async def get_readyz(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """503 while something keeps it from its work. Names only to who may observe."""
    not_ready, warnings = await readiness(daemon)
    said: dict[str, Any] = {"ready": not not_ready}
    if "observe" in caller.may:
        said |= {"not_ready": not_ready, "warnings": warnings}
    return answer(said, 200 if not not_ready else 503)


async def readiness(daemon: Daemon) -> tuple[dict[str, str], dict[str, str]]:
    """What keeps it from its work, and what works but should be looked at; each name -> problem and cure."""
    not_ready, warnings = dict(daemon.broken), warnings_of(daemon)
    if daemon.stopping:
        not_ready["daemon"] = "it is stopping"
    elif not daemon.started:
        not_ready["engine"] = "it is starting: environments are opened and doubts settled"
    if daemon.watched.failure:
        not_ready["journal"] = daemon.watched.failure
    try:
        waiting = await daemon.journal.waiting_count()
        if waiting >= daemon.catalog.platform.waiting:
            not_ready["waiting"] = f"{waiting} alerts and incidents wait (server.limits.waiting)"
        warnings.update(await pauses_of(daemon))
    except JournalError as error:
        not_ready["journal"] = str(error)
    if daemon.started and not daemon.stopping:
        health = await healths(daemon)
        down = {f"environment {name}": one.message for name, one in health.items() if not one.ok}
        # One engine that is down must not take the daemon out of service for the others.
        (not_ready if down and len(down) == len(health) else warnings).update(down)
    return not_ready, warnings


async def pauses_of(daemon: Daemon) -> dict[str, str]:
    """Where automation is paused; a pause outlives the daemon. Raises JournalError."""
    paused = await daemon.journal.paused()
    return {
        f"paused {name or 'everywhere'}": f"by {by}; `uici resume{f' -e {name}' if name else ''}` lets automation go on"
        for name, by in paused.items()
    }


def warnings_of(daemon: Daemon) -> dict[str, str]:
    """What works but should be looked at, without asking anything of an engine."""
    warnings = dict(daemon.warnings)
    if (untold := daemon.outbox.ready()) is not None:
        warnings["escalate_to"] = untold
    return warnings


async def healths(daemon: Daemon) -> Mapping[str, Health]:
    """Of each environment, at most some seconds old, so that nobody can make UICI pester an engine."""
    async with daemon.health_lock:
        at, known = daemon.health
        if not known or time.monotonic() - at > _HEALTH_AGE:
            try:
                async with asyncio.timeout(_HEALTH_SECONDS):
                    known = await daemon.infrastructure.health()
            except TimeoutError:
                known = {
                    name: known.get(name) or Health(ok=False, message=f"no answer within {_HEALTH_SECONDS:g} s")
                    for name in daemon.catalog.environments
                }
            daemon.health = (time.monotonic(), known)
        return known


async def get_metrics(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    journal = daemon.journal
    numbers = {
        "uici_outbox_waiting": await journal.outbox_size(),
        "uici_alerts_waiting": await journal.waiting_count(),
        "uici_closed_targets": len(await journal.closed_keys()),
        "uici_requests_running": len(daemon.running),
        "uici_journal_seq": await journal.size(),
        "uici_journal_ok": daemon.watched.failure is None,
        "uici_ready": daemon.started and not daemon.broken,
        "uici_warnings": len(warnings_of(daemon)),
    }
    paused: metrics.Values = {(name or "*",): 1.0 for name in await journal.paused()} or {("*",): 0.0}
    up: metrics.Values = {}
    if daemon.started:
        up = {(name,): float(one.ok) for name, one in (await healths(daemon)).items()}
    gauges = [_gauge(name, {(): float(value)}) for name, value in numbers.items()]
    gauges += [_gauge("uici_paused", paused, "environment"), _gauge("uici_environment_up", up, "environment")]
    return web.Response(body=daemon.counts.text(*gauges), headers={"Content-Type": metrics.CONTENT_TYPE})


def _gauge(name: str, values: metrics.Values, *labels: str) -> metrics.Gauge:
    return metrics.Gauge(name, GAUGES[name], lambda: values, labels)


async def get_status(daemon: Daemon, request: web.Request, caller: Caller) -> web.Response:
    """What `uici doctor` wants to know of a daemon."""
    not_ready, warnings = await readiness(daemon)
    return answer(
        {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": rfc3339(daemon.began),
            "listens": daemon.listens,
            "catalog": {"path": str(daemon.catalog.path), "digest": daemon.catalog.digest},
            "caller": {"name": caller.name, "person": caller.person, "may": sorted(caller.may)},
            "ready": not not_ready,
            "not_ready": not_ready,
            "warnings": warnings,
        }
    )

"""``POST /webhooks/alertmanager``: alerts in. 2xx only after the journal's append returned; 503 when saturated.

It must not look for a target, choose a runbook or act: the worker does, from the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from uici.daemon import alertmanager
from uici.daemon.acceptance import Acceptance
from uici.daemon.incidents import environment_of
from uici.daemon.problem import ProblemError, unavailable, wrong_shape
from uici.daemon.server import Daemon, answer, loads, read
from uici.daemon.storm import storm
from uici.daemon.tokens import Caller
from uici.journal import Entry
from uici.model import Environment

if TYPE_CHECKING:
    from uici.catalog import Catalog

SOURCE = "alertmanager"

accepted = Acceptance()


async def post_alertmanager(daemon: Daemon, request: web.Request, caller: Caller) -> web.StreamResponse:
    catalog = daemon.catalog
    platform = catalog.platform
    waiting = await daemon.journal.waiting_count()
    if waiting >= platform.waiting or daemon.stopping:
        raise unavailable(
            "saturated" if not daemon.stopping else "stopping",
            f"{waiting} alerts and incidents wait already (server.limits.waiting in platform.yml); send it again",
        )
    try:
        body = await read(request, platform.body)
    except ProblemError as error:
        if error.status == 413:
            await storm(
                daemon.journal, f"a post of {caller.name} was larger than {platform.body} bytes and was not read"
            )
        raise
    payload = loads(body)
    try:
        post = alertmanager.parse(payload)
    except alertmanager.PayloadError as error:
        raise wrong_shape(error.path, error.message) from None
    if len(post.alerts) + len(post.refused) > platform.alerts_per_post:
        await storm(
            daemon.journal,
            f"a post of {caller.name} had {len(post.alerts) + len(post.refused)} alerts, more than the "
            f"{platform.alerts_per_post} of server.limits.alerts_per_post; none was taken",
        )
        raise ProblemError(
            413,
            "too_many_alerts",
            f"more than {platform.alerts_per_post} alerts in one post; group them by more labels in Alertmanager, "
            "or raise server.limits.alerts_per_post in platform.yml",
        )
    known = daemon.repeats.known(post.alerts)
    entries = _entries(catalog, post, known)
    new = None in known
    if new:
        waiting_for = [alert.fingerprint if id is None else None for alert, id in zip(post.alerts, known, strict=True)]
        await daemon.repeats.append(daemon.journal, waiting_for, entries)
    elif entries:
        await daemon.journal.append(*entries)
    if post.truncated:
        await storm(
            daemon.journal,
            f"Alertmanager left {post.truncated} alerts out of a group for {post.receiver!r} (its max_alerts); "
            "they are not known here",
        )
    if new:
        daemon.wake()
    if not post.refused:
        return accepted(len(post.alerts))
    refused = [{"path": one.path, "message": one.message} for one in post.refused]
    if not post.alerts:
        raise ProblemError(
            422, "schema", "no alert of this post has the right shape; each is recorded as refused", errors=refused
        )
    return answer({"accepted": len(post.alerts), "refused": refused})


def _entries(catalog: Catalog, post: alertmanager.Post, known: Sequence[str | None]) -> list[Entry]:
    environments, entries = catalog.environments, []
    for alert, incident in zip(post.alerts, known, strict=True):
        found = environment_of(alert, environments)
        # None: not exactly one; the worker escalates it with the reason.
        environment = found.name if isinstance(found, Environment) else None
        data = {"alert": alert.to_json(), "environment": environment, "source": SOURCE}
        entries.append(Entry(kind="alert", data=data, incident=incident))
    for one in post.refused:
        data = {"alert": one.alert, "reason": "schema", "message": one.message, "path": one.path}
        entries.append(Entry(kind="alert_refused", data=data))
    return entries

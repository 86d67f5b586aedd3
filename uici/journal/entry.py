"""Entry: one line of the journal, which is the truth; every table beside it can be rebuilt from the entries.

``data`` of each kind (JSON; times RFC 3339; models as their ``to_json``):

==================  ==========================================================================================
``started``         {version, pid, catalog}
``stopped``         {}
``catalog``         {digest, ok, problems}                      a reload; ``ok`` false: the last good one stays
``alert``           {alert, environment, source}                accepted at the webhook; it waits to be joined, unless
                                                                ``incident`` is set: that one knew all of it already
``alert_refused``   {alert, reason, message, path}              one bad alert of a group
``joined``          {alert, fingerprint, more}                  ``alert``: seq of its entry, ``more``: seqs of repeats that say nothing
                                                                new (may be missing); ``incident`` is set; null incident: dropped
``incident``        Incident                                    its whole new state
``request``         Command + {engine, risk, copies}            accepted; frozen; ``copies``: of the operations it will ask
``before``          {answer}
``intent``          {call, index, item, touches, deadline, engine, part, key, environment, operation, risk, redo, seen}
                                                                ``part``: steps, confirm, revert, cancel; ``seen``: as of a result
``outcome``         {intent, status, answer, resources, errors, message}   ``status``: done, rejected, unknown
``settled``         {intent, verdict, message}                  of a doubt: happened, not_happened, unknown
``result``          {result, key, changed, seen, started}       ``changed``: an intent was written; ``seen``: trouble was seen before
``closed``          {key, reason, message}                      closed to automation until a person reopens it
``reopened``        {key, by}
``paused``          {environment, by}                           null environment: all of them
``resumed``         {environment, by}
``cancel``          {by}                                        of the entry's request
``escalation``      {id, reason, title, message, environment, incident, request}      a row of the outbox
``delivery``        {id, ok, message, attempt, next_at}         ``next_at`` null: delivered, or given up
==================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.model.record import dataclass

KINDS = frozenset(
    {
        "started",
        "stopped",
        "catalog",
        "alert",
        "alert_refused",
        "joined",
        "incident",
        "request",
        "before",
        "intent",
        "outcome",
        "settled",
        "result",
        "closed",
        "reopened",
        "paused",
        "resumed",
        "cancel",
        "escalation",
        "delivery",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``seq`` is 0 until the journal has given one. ``at``: seconds since the epoch."""

    kind: str
    data: Mapping[str, Any]
    incident: str | None = None
    request: str | None = None
    at: float = 0.0
    seq: int = 0

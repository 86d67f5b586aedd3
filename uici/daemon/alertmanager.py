"""Alertmanager's webhook payload (version 4) as Alerts, one by one: a bad one of a group does not cost the others.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config . Checked by hand, because this is the
accept path. Labels stay data whatever they hold; nothing here interprets them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from uici.model import Alert, normalised
from uici.model.record import dataclass

_NO_TIME = "0001-01-01T00:00:00"
#: Of what is refused only so much is kept, bytes of JSON.
KEPT = 16 * 1024
LABELS = 256
#: Characters of a time that may be remembered: an alert is posted again and again with the same startsAt.
_TIME = 40
_known_time = lru_cache(1024)(normalised)


@dataclass(frozen=True, slots=True)
class RefusedAlert:
    """One bad alert. ``path``: of the field (``alerts[3].labels.service``)."""

    index: int
    path: str
    message: str
    alert: Any


@dataclass(frozen=True, slots=True)
class Post:
    """What one post said. ``truncated``: alerts that Alertmanager left out (its ``max_alerts``)."""

    alerts: tuple[Alert, ...]
    refused: tuple[RefusedAlert, ...]
    truncated: int
    receiver: str


class PayloadError(ValueError):
    """The payload itself has the wrong shape. ``path``: of the field."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def parse(payload: Any) -> Post:
    """Of parsed JSON; raises PayloadError where not even its alerts can be told apart."""
    if not isinstance(payload, dict):
        raise PayloadError("$", "an object is wanted, as Alertmanager's webhook posts it")
    version = payload.get("version", "4")
    if version != "4":
        raise PayloadError("version", f"{str(version)[:32]!r} is not known; this door reads version 4 of the payload")
    listed = payload.get("alerts")
    if not isinstance(listed, list):
        raise PayloadError("alerts", "a list of alerts is wanted")
    truncated = payload.get("truncatedAlerts", 0)
    if type(truncated) is not int or truncated < 0:
        raise PayloadError("truncatedAlerts", "a whole number, not below 0, is wanted")
    receiver = payload.get("receiver", "")
    if not isinstance(receiver, str):
        raise PayloadError("receiver", "text is wanted")
    alerts: list[Alert] = []
    refused: list[RefusedAlert] = []
    for one in listed:
        try:
            alerts.append(_alert(one))
        except PayloadError as error:
            index = len(alerts) + len(refused)
            path = f"alerts[{index}]" + (f".{error.path}" if error.path else "")
            refused.append(RefusedAlert(index, path, error.message, _kept(one)))
    return Post(tuple(alerts), tuple(refused), truncated, receiver[:256])


def _alert(data: Any) -> Alert:
    if not isinstance(data, dict):
        raise PayloadError("", "an object is wanted")
    status = data.get("status", "firing")
    if status != "firing" and status != "resolved":
        raise PayloadError("status", "firing or resolved is wanted")
    labels = _texts(data.get("labels"), "labels")
    if not labels:
        raise PayloadError("labels", "at least one label is wanted; an alert is known by its labels")
    annotations = data.get("annotations")
    starts_at = _time(data.get("startsAt"), "startsAt")
    if starts_at is None:
        raise PayloadError("startsAt", "the time at which it began to fire is wanted")
    ends_at = _time(data.get("endsAt"), "endsAt")
    if status == "resolved" and ends_at is None:
        raise PayloadError("endsAt", "a resolved alert says when it ended")
    fingerprint = data.get("fingerprint")
    if fingerprint is None:
        fingerprint = _fingerprint(labels)
    elif not isinstance(fingerprint, str) or not 0 < len(fingerprint) <= 128:
        raise PayloadError("fingerprint", "text of 1 to 128 characters is wanted")
    url = data.get("generatorURL", "")
    if not isinstance(url, str):
        raise PayloadError("generatorURL", "text is wanted")
    return Alert(
        labels=labels,
        annotations={} if annotations is None or annotations == {} else _texts(annotations, "annotations"),
        status=status,
        starts_at=starts_at,
        # Alertmanager puts a firing alert's expected end here; only a resolved one's is an end.
        ends_at=ends_at if status == "resolved" else None,
        fingerprint=fingerprint,
        generator_url=url,
    )


def _texts(data: Any, path: str) -> dict[str, str]:
    if not isinstance(data, dict):
        raise PayloadError(path, "an object of texts is wanted")
    if len(data) > LABELS:
        raise PayloadError(path, f"more than {LABELS} of them")
    for value in data.values():
        if type(value) is not str:
            name = next(name for name, value in data.items() if type(value) is not str)
            raise PayloadError(f"{path}.{name[:64]}", "text is wanted")
    if "" in data:
        raise PayloadError(path, "a name is empty")
    return data


def _time(text: Any, path: str) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise PayloadError(path, "an RFC 3339 time is wanted")
    if text.startswith(_NO_TIME):
        return None
    try:
        return _known_time(text) if len(text) <= _TIME else normalised(text)
    except (ValueError, OverflowError):
        raise PayloadError(path, f"{text[:64]!r} is not an RFC 3339 time, such as 2026-11-25T18:20:42Z") from None


def _fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager sends one; for a post by hand it is made of the labels, which are an alert's identity."""
    return hashlib.sha256(orjson.dumps(dict(labels), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _kept(data: Any) -> Any:
    text = orjson.dumps(data)
    return data if len(text) <= KEPT else {"cut": text[:KEPT].decode("utf-8", "replace"), "bytes": len(text)}

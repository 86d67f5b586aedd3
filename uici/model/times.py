"""Times as the catalog's expressions see them: RFC 3339 UTC text with nine decimals, so that they compare as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since the epoch (UTC); ``time.time`` outside the tests."""

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:[.,](\d+))?([Zz]|[+-]\d{2}:?\d{2})?", re.ASCII)
#: As the schema of the catalog has it (``schemas.DURATION``).
_DURATION = re.compile(
    r"(?:(\d{1,2})y)?(?:(\d{1,4})w)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,10})s)?(?:(\d{1,13})ms)?",
    re.ASCII,
)
_SECONDS = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-25T18:20:42.123456000Z``."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "000Z"


def normalised(text: str) -> str:
    """Any RFC 3339 time as UTC text with nine decimals; raises ValueError for what is none."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:64]!r} is not an RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    nanoseconds = ((fraction or "") + "0" * 9)[:9]
    if zone in (None, "Z", "z", "+00:00", "-00:00"):
        datetime.fromisoformat(f"{day}T{clock}")  # raises ValueError for a 13th month
        return f"{day}T{clock}.{nanoseconds}Z"
    sign = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        moved = datetime.fromisoformat(f"{day}T{clock}{sign}").astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text[:64]!r} is outside the years 1 to 9999") from None
    # isoformat, because strftime writes the year 312 with three digits, which no longer compares as text.
    return moved.replace(tzinfo=None).isoformat(timespec="seconds") + f".{nanoseconds}Z"


def epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; raises ValueError."""
    whole, _, fraction = normalised(text)[:-1].partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + int(fraction) / 1e9


def duration(text: str) -> float:
    """Seconds of a Prometheus duration (``1h30m``, ``500ms``); raises ValueError.

    The form is that of https://prometheus.io/docs/prometheus/latest/configuration/configuration/ (``<duration>``).
    """
    match = _DURATION.fullmatch(text)
    if not match or not any(match.groups()):
        if text == "0":
            return 0.0
        raise ValueError(f"{text[:64]!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(int(number) * unit for number, unit in zip(match.groups(), _SECONDS, strict=True) if number)

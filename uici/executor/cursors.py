"""Cursors of logs whose lines begin with their time, as Docker and Kubernetes write them. Pure.

A cursor is the time of the line (``2026-11-25T21:36:29.123456789Z``), then how many lines of that very time came before it.
Two streams of one container may be written a little out of order; a line that is older than the one before it counts as one
of that time. So all are different, and they sort as text in the order of the lines. Whoever reads a log again begins at
``since``, a second before the mark, so that the counts come out the same, and leaves out what is not after the mark.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_CURSOR = re.compile(r"[12]\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{9}Z\+\d{6,12}", re.ASCII)
_WIDTH = len("2026-11-25T21:36:29.123456789Z")


class Cursors:
    """Of the lines of one log, asked in their order."""

    def __init__(self) -> None:
        self._newest, self._number = "", 0

    def of(self, line: str) -> tuple[str, str]:
        """The line's cursor, and its text without the time."""
        time, text = line[:_WIDTH], line[_WIDTH + 1 :]
        if time[-1:] != "Z" or line[_WIDTH : _WIDTH + 1] not in ("", " "):
            time, text = _timed(line) or (self._newest, line)
        if time > self._newest:
            self._newest, self._number = time, 0
        else:
            self._number += 1
        return f"{self._newest}+{self._number:06d}", text


def _timed(line: str) -> tuple[str, str] | None:
    """Of a time with another offset than Z, or fewer decimals; None where there is no time (the engine's own message)."""
    word, _, text = line.partition(" ")
    try:
        moment = datetime.fromisoformat(word).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    fraction = word.partition(".")[2].rstrip("Z").partition("+")[0].partition("-")[0]
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction[:9].ljust(9, '0')}Z", text


def known(mark: str) -> str:
    """The mark; empty where it is no cursor, since whoever comes back can say anything."""
    return mark if _CURSOR.fullmatch(mark) else ""


def since(mark: str) -> datetime:
    """From when a log is read again whose last known line is ``mark``; raises ValueError for what is no such cursor."""
    return datetime.strptime(mark[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC) - timedelta(seconds=1)


__all__ = ["Cursors", "known", "since"]

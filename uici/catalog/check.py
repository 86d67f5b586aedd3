"""The cross-checks, all of them, in order."""

from __future__ import annotations

from uici.catalog.gather import Gathered


def check(gathered: Gathered, *, used_only: bool) -> None:
    """Notes every problem that the files have with each other."""

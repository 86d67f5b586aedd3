"""What an executor may offer beside the contract: asking its engine whether calls, as a catalog writes them, would be taken.

Optional. ``uici check --live`` asks for it. Nothing may be changed by it, and no target is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from uici.model import Call
from uici.model.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """``sure``: the engine itself refuses what is written; else it lacks something that another one may have."""

    call: Call
    message: str
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """``said``: what was asked and what could not be, in one line, so that nobody takes silence for a proof."""

    doubts: tuple[Doubt, ...]
    said: str


@runtime_checkable
class Proves(Protocol):
    """Works between ``open`` and ``close``."""

    async def prove(self, calls: Sequence[Call]) -> Proof:
        """Of calls whose arguments still hold ``${…}``. Raises UnreachableError, ConfigurationError."""
        ...

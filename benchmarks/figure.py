"""A figure and how it is told. Nothing is measured here."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``values`` and ``peer_values``: samples of one unit, told by their medians. ``goal``: as the project states it; ``met``
    decides by (value, ratio)."""

    name: str
    unit: str
    values: Sequence[float]
    peer: str = ""
    peer_values: Sequence[float] = ()
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        return self.value / median(self.peer_values) if self.peer_values else None

    def row(self) -> str:
        peer = f"{self.peer}: {_text(median(self.peer_values))} {self.unit}" if self.peer_values else self.peer
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        met = "" if self.met is None else "yes" if self.met else "**no**"
        value = f"{_text(self.value)} {self.unit}" + (f" ({self.note})" if self.note else "")
        return f"| {self.name} | {value} | {peer} | {ratio} | {self.goal} | {met} |"


HEAD = "| figure | UICI | floor or peer, same run | ratio | goal | met |\n|---|---|---|---|---|---|"


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def say(what: str) -> None:
    """Progress, where it does not get into the table."""
    print(f"bench: {what}", file=sys.stderr, flush=True)

"""Counters, gauges and histograms in Prometheus' text format (version 0.0.4), and nothing else.

Written here because the client library costs 80 ms of the daemon's start and 12 MB (``docs/decisions``); the format is
https://prometheus.io/docs/instrumenting/exposition_formats/ . It must not hold a label that a stranger chooses.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Values = Mapping[tuple[str, ...], float]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


class Counter:
    """``add`` wants one value for each label name, in order."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help, self.labels = name, help, tuple(labels)
        self.values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by

    def lines(self) -> list[str]:
        return [f"{self.name}{_labels(self.labels, key)} {_number(self.values[key])}" for key in sorted(self.values)]


class Gauge:
    """``read`` gives the values at the moment of the scrape. ``kind``: ``counter`` where somebody else does the counting."""

    def __init__(
        self, name: str, help: str, read: Callable[[], Values], labels: Sequence[str] = (), kind: str = "gauge"
    ) -> None:
        self.name, self.help, self.read, self.labels, self.kind = name, help, read, tuple(labels), kind

    def lines(self) -> list[str]:
        values = self.read()
        return [f"{self.name}{_labels(self.labels, key)} {_number(values[key])}" for key in sorted(values)]


class Histogram:
    """Without labels; ``bounds`` in the unit of the name (seconds)."""

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name, self.help, self.bounds = name, help, tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect.bisect_left(self.bounds, value)] += 1
        self._sum += value

    def lines(self) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*self.bounds, None), self._counts, strict=True):
            total += count
            lines.append(f'{self.name}_bucket{{le="{"+Inf" if bound is None else bound}"}} {total}')
        return [*lines, f"{self.name}_sum {_number(self._sum)}", f"{self.name}_count {total}"]


def text(metrics: Sequence[Counter | Gauge | Histogram]) -> bytes:
    """One scrape."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
        lines += metric.lines()
    return ("\n".join(lines) + "\n").encode()

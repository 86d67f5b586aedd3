"""Policies and Platform: the operator's limits, and the settings of the daemon itself. Pure data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.model.record import dataclass
from uici.model.times import duration
from uici.model.words import Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """What nobody may touch. ``name``, ``namespace`` and ``environment`` are shell-style patterns; ``labels`` must all be
    equal."""

    environment: str = "*"
    name: str | None = None
    kind: str | None = None
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """``at_most``: a share of the desired replicas, 0 to 1."""

    min_risk: Risk
    at_most: float
    always_allow: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """``within``: seconds. ``per``: of ``environment``, ``target``, ``operation``."""

    name: str
    min_risk: Risk
    per: tuple[str, ...]
    at_most: int
    within: float
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``effect``: ``allow``, ``require_approval`` or ``deny``; first match wins. ``expires``: seconds."""

    name: str
    when: str
    effect: str
    count: int = 1
    self_: bool = False
    expires: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    protected: tuple[Protected, ...] = ()
    blast_radius: tuple[BlastRadius, ...] = ()
    brakes: tuple[Brake, ...] = ()
    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, definition: Mapping[str, Any]) -> Policies:
        """Of a document that has passed the schema of ``policies.yml``."""
        return cls(
            protected=tuple(
                Protected(
                    environment=one.get("environment", "*"),
                    name=one.get("name"),
                    kind=one.get("kind"),
                    namespace=one.get("namespace"),
                    labels=one.get("labels", {}),
                )
                for one in definition.get("protected", ())
            ),
            blast_radius=tuple(
                BlastRadius(
                    min_risk=Risk(one.get("min_risk", "change")),
                    at_most=float(one["at_most"].removesuffix("%")) / 100,
                    always_allow=one.get("always_allow", 0),
                )
                for one in definition.get("blast_radius", ())
            ),
            brakes=tuple(
                Brake(
                    name=one["name"],
                    min_risk=Risk(one.get("min_risk", "change")),
                    per=tuple(one["per"]),
                    at_most=one["at_most"],
                    within=duration(one["within"]),
                    then=one.get("then", "escalate"),
                )
                for one in definition.get("brakes", ())
            ),
            rules=tuple(
                Rule(
                    name=one["name"],
                    when=one["when"],
                    effect=one["effect"],
                    count=one.get("count", 1),
                    self_=one.get("self", False),
                    expires=duration(one.get("expires", "30m")),
                )
                for one in definition.get("rules", ())
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``token`` is a reference until the daemon fills it in. ``may``: alerts, observe, operate, approve, metrics."""

    name: str
    token: str = field(repr=False)
    may: frozenset[str]
    person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """``keep``, ``settle``: seconds; ``body``: bytes. ``journal_url`` empty: the state directory's default."""

    journal_url: str = ""
    keep: float = 90 * 86400.0
    listen: str = "127.0.0.1:8080"
    tokens: tuple[Token, ...] = ()
    body: int = 1024 * 1024
    alerts_per_post: int = 1000
    waiting: int = 10_000
    incidents_at_once: int = 32
    settle: float = 900.0
    prometheus: str | None = None
    escalate_to: tuple[str, ...] = ()
    depends_on: tuple[Any, ...] = ()
    definition: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, definition: Mapping[str, Any]) -> Platform:
        """Of a document that has passed the schema of ``platform.yml``."""
        journal, server = definition.get("journal", {}), definition.get("server", {})
        limits, worker = server.get("limits", {}), definition.get("worker", {})
        return cls(
            journal_url=journal.get("url", ""),
            keep=duration(journal.get("keep", "90d")),
            listen=server.get("listen", "127.0.0.1:8080"),
            tokens=tuple(
                Token(
                    name=name,
                    token=one["token"],
                    may=frozenset(one["may"]),
                    person=one.get("person", False),
                )
                for name, one in server.get("tokens", {}).items()
            ),
            body=size(limits.get("body", "1MiB")),
            alerts_per_post=limits.get("alerts_per_post", 1000),
            waiting=limits.get("waiting", 10_000),
            incidents_at_once=worker.get("incidents_at_once", 32),
            settle=duration(worker.get("settle", "15m")),
            prometheus=definition.get("monitoring", {}).get("prometheus"),
            escalate_to=tuple(definition.get("escalate_to", ())),
            depends_on=tuple(definition.get("depends_on", ())),
            definition=definition,
        )


_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?", re.ASCII)


def size(text: str | int) -> int:
    """Bytes of ``1MiB``; raises ValueError."""
    match = _SIZE.fullmatch(str(text))
    if not match:
        raise ValueError(f"{str(text)[:64]!r} is not a size such as 512KiB or 1MiB")
    factor: int = 1024 ** ("B", "KiB", "MiB", "GiB").index(match[2] or "B")
    return int(match[1]) * factor

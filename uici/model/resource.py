"""Resource, Call and what a call touches. Plain data; no live SDK object ever lies in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.model.record import dataclass
from uici.model.words import Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One real thing of one engine. Equal by engine, kind and id.

    ``engine``: the engine's own id (Docker's ``info.ID``, supervisord's identification and socket).
    ``id``: immutable where the engine has such (the full container id).
    ``owner``: id of the topmost owner, which the engine runs as one service (``name/web`` for a container: it outlives
    a swap; ``compose/shop/web``); empty: the Resource owns itself. See ``docs/decisions/0002-owner-on-resource.md``.
    ``names``: every name that it answers to, its ids among them.
    """

    engine: str
    kind: str
    id: str
    name: str = field(compare=False)
    namespace: str | None = field(default=None, compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    owner: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What locks, brakes, incidents and history are keyed by: the engine's id and the topmost owner's."""
        return f"{self.engine}|{self.owner or f'{self.kind}/{self.id}'}"

    def to_json(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "kind": self.kind,
            "id": self.id,
            "name": self.name,
            "namespace": self.namespace,
            "names": list(self.names),
            "labels": dict(self.labels),
            "owner": self.owner,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resource:
        return cls(
            engine=data["engine"],
            kind=data["kind"],
            id=data["id"],
            name=data["name"],
            namespace=data["namespace"],
            names=tuple(data["names"]),
            labels=dict(data["labels"]),
            owner=data["owner"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One SDK call as data.

    ``on``: the Resource whose method it is (``Container.restart``), or None for a call of the SDK's client.
    ``path``: the SDK's own words, the receiver's type first where there is one (``containers.get``, ``Container.restart``).
    ``timeout``: seconds that the call may take; the executor bounds its reads by it.
    """

    on: Resource | None
    path: str
    arguments: Mapping[str, Any]
    risk: Risk
    timeout: float = 60.0

    def to_json(self) -> dict[str, Any]:
        return {
            "on": self.on.to_json() if self.on else None,
            "path": self.path,
            "arguments": dict(self.arguments),
            "risk": self.risk.value,
            "timeout": self.timeout,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Call:
        return cls(
            on=Resource.from_json(data["on"]) if data["on"] else None,
            path=data["path"],
            arguments=data["arguments"],
            risk=Risk(data["risk"]),
            timeout=data["timeout"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One resource that a call would touch.

    ``healthy`` and ``desired`` count the replicas of its topmost owner; ``takes`` is how many *healthy* ones the call
    makes unavailable at one time (0 for one that is down already, or that is merely read or used).
    ``managed_by``: who else manages the fields that the call writes (``argo-cd``), or None.
    ``spare``: how many healthy replicas the engine's own budget (``spare_by``: a PodDisruptionBudget) lets go now; None:
    it has none, or enforces it itself when the call arrives (an eviction).
    """

    resource: Resource
    healthy: int = 0
    desired: int = 0
    takes: int = 0
    managed_by: str | None = None
    spare: int | None = None
    spare_by: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "resource": self.resource.to_json(),
            "healthy": self.healthy,
            "desired": self.desired,
            "takes": self.takes,
            "managed_by": self.managed_by,
            "spare": self.spare,
            "spare_by": self.spare_by,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Touch:
        return cls(**{**data, "resource": Resource.from_json(data["resource"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A Call made exact, and all that it touches. ``unknown`` says why that cannot be told; such a call is refused."""

    call: Call
    touches: tuple[Touch, ...] = ()
    unknown: str | None = None

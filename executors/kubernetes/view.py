"""What a cluster has now, asked for one ``resolve`` and kept for no longer: objects, their owners, their Touches.

Reads only. What may not be read raises UnreachableError with the server's own reason, so that nothing is decided on half
of what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Resource, Touch
from uici_executors.kubernetes import budget
from uici_executors.kubernetes.connection import Server
from uici_executors.kubernetes.fields import Object
from uici_executors.kubernetes.owners import Owners
from uici_executors.kubernetes.resources import KINDS, NAMED, Kind, controller, named, owner_key, referred, resource
from uici_executors.kubernetes.selectors import picks, selects

#: Kinds that make Pods, with where their Pod template lies.
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


class View:
    """``own``: of the last identity, what UICI is and needs."""

    def __init__(self, server: Server, engine: str, own: Sequence[Resource]) -> None:
        self.server = server
        self.engine = engine
        self.own = own
        self.owners = Owners(server)
        self._lists: dict[tuple[str, str | None, str], asyncio.Task[list[dict[str, Any]]]] = {}

    async def read(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """One object; None where there is none."""
        found = await self.server.get(kind.path(namespace, name))
        if found is not None:
            found["kind"] = kind.name or found.get("kind") or kind.plural
            self.owners.learn(found)
        return found

    async def all(self, kind: str, namespace: str | None, **query: str) -> list[dict[str, Any]]:
        """Every object of a kind in a namespace (None: in all of them), listed once for one look."""
        key = (kind, namespace, str(sorted(query.items())))
        if key not in self._lists:
            self._lists[key] = asyncio.ensure_future(self._listed(kind, namespace, query))
        return await self._lists[key]

    async def _listed(self, kind: str, namespace: str | None, query: Mapping[str, str]) -> list[dict[str, Any]]:
        found = await self.server.items(KINDS[kind].path(namespace), **query)
        for one in found:
            one["kind"] = kind
        self.owners.learn(*found)
        return found

    async def names(self, kind: str, namespace: str | None) -> list[dict[str, Any]]:
        """The metadata of every object of a kind, without what is in them."""
        found = await self.server.names(KINDS[kind].path(namespace))
        for one in found:
            one["kind"] = kind
        return found

    # Touches

    def of(self, kind: str, namespace: str | None, name: str) -> Touch:
        """Of a kind that others know by its name alone; it need not be there, and is not read."""
        return Touch(resource=named(self.engine, kind, namespace, name))

    async def of_object(self, one: Object, takes: int = 0) -> Touch:
        """An object, with the replicas of what the cluster runs as one service."""
        key, top = await self.owners.top(one)
        counted = budget.replicas(top)
        if counted.desired == 0 and top is not one:
            counted = budget.replicas(one)
        return Touch(
            resource=resource(self.engine, one, key), healthy=counted.healthy, desired=counted.desired, takes=takes
        )

    async def chain(self, one: Object) -> list[Touch]:
        """All that owns an object, told by the references of those between that can be read."""
        found: list[Touch] = []
        above: Object | None = one
        namespace = one["metadata"].get("namespace")
        key, _ = await self.owners.top(one)
        while above is not None and len(found) < 8:
            reference = controller(above)
            if reference is None:
                break
            kind = str(reference["kind"])
            above = await self.owners.read(kind, namespace, reference["name"]) if kind in KINDS else None
            if above is not None and above["metadata"].get("uid") == reference.get("uid"):
                found.append(Touch(resource=resource(self.engine, above, key)))
                continue
            found.append(Touch(resource=referred(self.engine, namespace, reference, key)))
            break
        return found

    async def pod(self, one: Object, *, goes: bool, evicted: bool = False) -> list[Touch]:
        """A Pod with all that owns it. ``evicted``: the server itself asks the budgets, right when it happens."""
        takes = int(goes and budget.ready(one))
        touch = await self.of_object(one, takes)
        if takes and not evicted:
            touch = await self.spared(touch, one["metadata"].get("labels") or {})
        return [touch, *await self.chain(one)]

    async def pods(self, some: Iterable[Object], *, goes: bool) -> list[Touch]:
        found = await asyncio.gather(*(self.pod(one, goes=goes) for one in some))
        return [touch for touches in found for touch in touches]

    async def spared(self, touch: Touch, labels: Mapping[str, str]) -> Touch:
        """With what PodDisruptionBudgets let go of Pods with these labels."""
        budgets = await self.all("PodDisruptionBudget", touch.resource.namespace)
        allowed, by = budget.spare(budgets, labels)
        return replace(touch, spare=allowed, spare_by=by)

    async def workload(self, one: Object, takes: int = 0) -> list[Touch]:
        """Something that makes Pods, and what owns it."""
        touch = await self.of_object(one, takes)
        if takes:
            touch = await self.spared(touch, template_of(one).get("metadata", {}).get("labels") or {})
        return [touch, *await self.chain(one)]

    async def selected(self, selector: Mapping[str, Any] | None, namespace: str | None) -> list[dict[str, Any]]:
        """Pods that a LabelSelector selects."""
        if selector is None:
            return []
        pods = await self.all("Pod", namespace)
        return [one for one in pods if selects(selector, one["metadata"].get("labels") or {})]

    async def picked(self, selector: Mapping[str, str] | None, namespace: str | None) -> list[dict[str, Any]]:
        """Pods that a Service's selector picks."""
        if not selector:
            return []
        pods = await self.all("Pod", namespace)
        return [one for one in pods if picks(selector, one["metadata"].get("labels") or {})]

    def everything(self) -> list[Touch]:
        """All that UICI is and needs: what reaches as far as the cluster reaches that too."""
        return [Touch(resource=one) for one in self.own]

    def owns(self, kind: str, id_: str) -> bool:
        return any(one.kind == kind and one.id == id_ for one in self.own)

    def new(self, kind: Kind, namespace: str | None, name: str, labels: Mapping[str, str]) -> Touch:
        """Something that is not there yet: its name and labels, for locks and for what is protected."""
        if kind.name in NAMED:
            return Touch(resource=named(self.engine, kind.name, namespace, name, labels))
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels), "uid": f"new:{namespace}/{name}"}
        return Touch(
            resource=replace(
                resource(self.engine, {"kind": kind.name, "metadata": metadata}),
                owner=owner_key(kind.name, namespace, name),
            )
        )


def template_of(one: Object) -> Mapping[str, Any]:
    """The Pod template of something that makes Pods; a Pod is its own; else empty."""
    if one["kind"] == "Pod":
        return one
    found: Any = one if one["kind"] in TEMPLATES else {}
    for part in TEMPLATES.get(one["kind"], ()):
        found = found.get(part) or {} if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}

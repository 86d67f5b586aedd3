"""KubernetesExecutor: plain data to the official client and back. It decides nothing, repeats nothing, lets no live object out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from uici.executor import (
    Changed,
    Checked,
    Diff,
    Facts,
    Health,
    Identity,
    JSONSchema,
    Line,
    Marks,
    Outcome,
    Permission,
    Settings,
    StepToCheck,
    Target,
)
from uici.model import Call, DeniedError, Environment, Pinned, Resource, Risk, UnreachableError
from uici_executors.kubernetes import checks, permissions, risks
from uici_executors.kubernetes.login import in_cluster

if TYPE_CHECKING:
    from uici.executor.proves import Proof
    from uici_executors.kubernetes.connection import Server

# What asks a cluster is imported where one is asked: a check asks none, and aiohttp alone takes a tenth of a second.

#: Watches and logs that may be open at one time.
FOLLOWED = 1024


class KubernetesExecutor:
    """One cluster, by one login."""

    dialects: ClassVar[tuple[str, ...]] = ("kubernetes",)
    settings: ClassVar[JSONSchema] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kubeconfig": {
                "type": "string",
                "description": "Path of a kubeconfig. Missing: the service account in a Pod, else $KUBECONFIG, else ~/.kube/config.",
            },
            "context": {
                "type": "string",
                "description": "A context of the kubeconfig by its name; missing: its current one.",
            },
            "connections": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1024,
                "default": 64,
                "description": "How many requests may be under way at one time.",
            },
        },
    }

    def __init__(self) -> None:
        self._environment: Environment | None = None
        self._opened: Server | None = None
        self._follower: Server | None = None
        #: Of the last identity: what an object with too much reach is held to touch.
        self._own: tuple[Resource, ...] = ()

    # Before ``open``

    def detect(self) -> Settings | None:
        """In a Pod with a service account: that. A kubeconfig tells what a person can reach, not what this machine is."""
        return {} if in_cluster() else None

    def check(self, step: StepToCheck) -> Checked:
        return checks.check(step)

    def risk(self, pinned: Pinned) -> Risk:
        return risks.risk_of(pinned)

    # The cluster

    async def open(self, environment: Environment) -> None:
        """Does not wait for the API server, which may come up later, nor for the client's import, which goes on beside it."""
        from uici_executors.kubernetes import calls
        from uici_executors.kubernetes.connection import Server

        # Nobody waits for this thread: who needs what it imports waits at Python's own import lock.
        threading.Thread(target=calls.prepare, name="uici-kubernetes-client", daemon=True).start()

        self._environment = environment
        self._opened = Server(environment.settings)
        self._follower = Server({**environment.settings, "connections": FOLLOWED}, self._opened.access)

    async def close(self) -> None:
        for server in (self._opened, self._follower):
            if server is not None:
                await server.close()
        self._opened = self._follower = None

    @property
    def _server(self) -> Server:
        if self._opened is None:
            raise UnreachableError("the Kubernetes executor is not open")
        return self._opened

    @property
    def _following(self) -> Server:
        """What goes on for long has connections of its own, so that it keeps none from a call."""
        if self._follower is None:
            raise UnreachableError("the Kubernetes executor is not open")
        return self._follower

    async def engine_id(self) -> str:
        """The uid of ``kube-system``, asked for now: what was told once may be another cluster's by now."""
        return await self._server.engine_now()

    async def locate(self, target: Target) -> list[Resource]:
        """By exact name or uid: a service is a Deployment, StatefulSet or DaemonSet; a Pod is located through its owners."""
        from uici_executors.kubernetes import locate

        namespaces = self._environment.namespaces if self._environment is not None else ()
        return await locate.locate(self._server, target, namespaces)

    async def identity(self, facts: Facts) -> Identity:
        """What of this cluster is UICI's own; kept, because what reaches all of the cluster touches that too."""
        from uici_executors.kubernetes.identity import identity

        name = self._environment.name if self._environment is not None else ""
        namespaces = self._environment.namespaces if self._environment is not None else ()
        found = await identity(self._server, facts, name, namespaces)
        self._own = found.resources
        return found

    async def resolve(self, call: Call) -> Pinned:
        """With the uid and the resourceVersion of what it is about, and all that it touches."""
        from uici_executors.kubernetes import touches

        return await touches.pin(self._server, call, self._own)

    async def preview(self, call: Call) -> Diff | None:
        """The server's own dry run of a pinned call, as a diff."""
        from uici_executors.kubernetes.preview import preview

        return await preview(self._server, call)

    async def run(self, call: Call) -> Outcome:
        """One call; its reads end at ``call.timeout``. Over when its connection is."""
        from uici_executors.kubernetes import bounds

        return await bounds.run(self._server, call, self._environment)

    def stream(
        self, call: Call, *, after: Marks | None = None, until: asyncio.Event | None = None
    ) -> AsyncIterator[Line]:
        """Lines of one Pod's log, or of all Pods of a selector (``pods.logs``)."""
        from uici_executors.kubernetes import bounds, logs

        why = bounds.outside(call, self._environment) if self._environment is not None else None
        if why is not None:
            raise DeniedError(why)
        return logs.stream(self._following, call, after, until)

    def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        """What the API server says of these and of their Pods, as it happens."""
        from uici_executors.kubernetes import watch

        return watch.changes(self._following, resources)

    async def health(self) -> Health:
        try:
            version = await self._server.get("/version")
            engine = await self._server.engine()
        except UnreachableError as error:
            return Health(ok=False, message=str(error))
        return Health(ok=True, message=f"Kubernetes {(version or {}).get('gitVersion', '?')}, cluster {engine}")

    def permissions(self, calls: Sequence[Call]) -> list[Permission]:
        """What these calls and UICI's own reads need, in RBAC's words (``apps/deployments patch in shop``)."""
        namespaces = self._environment.namespaces if self._environment is not None else ()
        return permissions.of_calls(calls, namespaces, os.environ.get("POD_NAMESPACE", ""))

    async def missing(self, permissions: Sequence[Permission]) -> list[Permission]:
        """Those that the cluster itself says this login lacks (SelfSubjectAccessReview, which every login may ask)."""
        from uici_executors.kubernetes import reviews

        return await reviews.missing(self._server, permissions)

    async def prove(self, calls: Sequence[Call]) -> Proof:
        """Whether this cluster serves these calls and can read their bodies; see uici.executor.proves."""
        from uici_executors.kubernetes import live

        namespaces = self._environment.namespaces if self._environment is not None else ()
        return await live.prove(self._server, calls, namespaces)

    def roles(self, environment: Environment, calls: Sequence[Call], name: str, own: str = "") -> list[dict[str, Any]]:
        """ClusterRole and Roles; see uici.executor.grants."""
        rights = [right for call in calls for right in permissions.of_call(call.path, call.arguments)]
        return permissions.role([*rights, *permissions.own_reads(own)], name, environment.namespaces)

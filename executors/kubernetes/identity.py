"""What of one cluster UICI is and needs: its Pod and all that carries it, its node, and where its store answers.

Evidence only: the service account's token, control groups and mounts (``Facts``), the nodes' machine ids, addresses. Where
they do not suffice, or may not be read, ``unknown`` with its cure; never a guess that nothing is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from uici.executor import Facts, Identity
from uici.model import Resource, UnreachableError
from uici_executors.kubernetes.connection import AnswerError, Server
from uici_executors.kubernetes.needs import needed
from uici_executors.kubernetes.reach import host_path, lies, used
from uici_executors.kubernetes.resources import KINDS, SERVICES, WORDS, Kind, named, owner_key, referred, resource
from uici_executors.kubernetes.view import TEMPLATES, View


async def identity(server: Server, facts: Facts, environment: str, namespaces: Sequence[str] = ()) -> Identity:
    """Asked of the cluster now. ``namespaces``: the environment's patterns. Raises UnreachableError."""
    if not (facts.pids or facts.containers or facts.machine_id or facts.hostname or facts.pod):
        return Identity(unknown="nothing is known of UICI's own process, so nobody can tell whether it runs here")
    look = Look(server, await server.engine(), facts, namespaces)
    try:
        shows = await look.own()
        for address in facts.needs:
            await needed(look, address)
        for name in facts.names:
            if name.get("environment") in (None, environment):
                await look.called(name)
    except UnreachableError as error:
        return Identity(unknown=f"{error}: so it cannot be told what here is UICI's own")
    return Identity(resources=tuple(look.found), shows=shows)


class Look:
    """One look at the cluster. ``found``: what is UICI's own; ``node``: where it runs; ``mine``: its Pod."""

    def __init__(self, server: Server, engine: str, facts: Facts, namespaces: Sequence[str]) -> None:
        self.facts = facts
        self.engine = engine
        self.view = View(server, engine, ())
        self.found: dict[Resource, None] = {}
        self.mine: dict[str, Any] | None = None
        self.node = ""
        exact = [one for one in namespaces if not set("*?[") & set(one)]
        self._namespaces = exact if len(exact) == len(namespaces) else []

    async def own(self) -> str:
        """The Pod or the node that UICI runs in or on, if any; the words that show it."""
        self.mine = await self._pod()
        if self.mine is not None:
            metadata = self.mine["metadata"]
            await self.carrier(self.mine)
            self.node = str(self.mine["spec"].get("nodeName") or "")
            if self.node:
                self.add(named(self.engine, "Node", None, self.node))
            # What every Pod reaches the API server through.
            self.add(named(self.engine, "Service", "default", "kubernetes"))
            return f"UICI runs in the Pod {metadata['namespace']}/{metadata['name']} on the node {self.node}"
        nodes = await self.view.all("Node", None)
        for one in nodes:
            if self._is_here(one):
                self.node = one["metadata"]["name"]
                self.add(named(self.engine, "Node", None, self.node))
                await self._beside()
                return f"UICI's process runs on the node {self.node} (its machine id or boot id), in none of its Pods"
        pod = self.facts.pod
        where = "lies in no container: its cgroups and mounts name none"
        if pod:
            where = (
                f"lies in the Pod {pod.get('namespace', '?')}/{pod.get('name', '?')}, which is none of this cluster's"
            )
        elif self.facts.containers:
            where = f"lies in the container {self.facts.containers[0][:12]}, which is no Pod's of this cluster"
        return f"UICI's process {self.facts.pids[:1]} {where}; its machine is none of the {len(nodes)} nodes"

    async def _pod(self) -> dict[str, Any] | None:
        pod = self.facts.pod
        self._tells_which(pod)
        if pod.get("namespace") and pod.get("name"):
            found = await self.view.read(KINDS["Pod"], pod["namespace"], pod["name"])
            if found is None or pod.get("uid") not in (None, found["metadata"]["uid"]):
                return None
            return found
        if not pod.get("uid") and not self.facts.containers:
            return None
        for one in await self.everywhere("Pod"):
            statuses = one.get("status") or {}
            ids = {
                str(status.get("containerID") or "").rpartition("/")[2]
                for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
                for status in statuses.get(key) or ()
            }
            if one["metadata"]["uid"] == pod.get("uid") or ids & set(self.facts.containers):
                return one
        return None

    def _tells_which(self, pod: Mapping[str, str]) -> None:
        """Raises UnreachableError where UICI runs in a Pod, of whatever cluster, and nothing says in which: in a sandbox of its own
        (gVisor, Kata) neither control group nor mounts do."""
        named = pod.get("uid") or (pod.get("namespace") and pod.get("name")) or self.facts.containers
        if not named and (pod or self.facts.environment_variables.get("KUBERNETES_SERVICE_HOST")):
            raise UnreachableError(
                "UICI runs in a Pod, and neither a service account's token nor its control group or mounts say in which: mount "
                "the token, or give it POD_NAME and POD_NAMESPACE by the downward API"
            )

    def _is_here(self, node: Mapping[str, Any]) -> bool:
        info = (node.get("status") or {}).get("nodeInfo") or {}
        ids = {str(info.get(key) or "").replace("-", "").lower() for key in ("machineID", "systemUUID")} - {""}
        machine = self.facts.machine_id.replace("-", "").lower()
        if machine in ids:
            return True
        # A node in a container (kind, minikube) shares this machine's kernel and is another machine all the same.
        nested = bool(machine) and bool(ids) and not self.facts.containers
        return info.get("bootID") == self.facts.boot_id != "" and not nested

    async def _beside(self) -> None:
        """A process of a node: its files; and where it lies in a container that is no Pod's, the Pods that may hold that."""
        for path in self.facts.paths:
            if path.startswith("/"):
                for place in dict.fromkeys((path, await asyncio.to_thread(os.path.realpath, path))):
                    self.add(host_path(self.engine, place))
        if not self.facts.containers:
            return
        for one in await self.view.all("Pod", None, fieldSelector=f"spec.nodeName={self.node}"):
            contexts = [
                part.get("securityContext") or {}
                for key in ("containers", "initContainers")
                for part in one["spec"].get(key) or ()
            ]
            if any(context.get("privileged") for context in contexts):
                await self.carrier(one)

    def add(self, *some: Resource) -> None:
        self.found.update(dict.fromkeys(some))

    async def everywhere(self, kind: str, **query: str) -> list[dict[str, Any]]:
        """Of every namespace; where that may not be read and the environment names its namespaces, of those: the guard
        refuses whatever touches others."""
        try:
            return await self.view.all(kind, None, **query)
        except UnreachableError as error:
            forbidden = isinstance(error.__cause__, AnswerError) and error.__cause__.status == 403
            if not forbidden or not self._namespaces:
                raise
        return [one for place in self._namespaces for one in await self.view.all(kind, place, **query)]

    async def carrier(self, pod: Mapping[str, Any]) -> None:
        """A Pod that UICI is or needs, with all that would take it down."""
        namespace = str(pod["metadata"]["namespace"])
        one = await self.view.owners.resource(self.engine, pod)
        if one in self.found:
            return
        await self._owned(pod)
        self.add(one, named(self.engine, "Namespace", None, namespace))
        await self._used(pod, namespace)

    async def _owned(self, one: Mapping[str, Any]) -> None:
        """Whatever owns it, at every height, and be it only for the garbage collector: what goes takes it with it."""
        chain = [touch.resource for touch in await self.view.chain(one)]
        self.add(*chain)
        namespace = one["metadata"].get("namespace")
        for owned in (one, *(self.view.owners.known(above.kind, namespace, above.name) for above in chain)):
            for reference in ((owned or {}).get("metadata") or {}).get("ownerReferences") or ():
                self.add(referred(self.engine, namespace, reference))

    async def _used(self, pod: Mapping[str, Any], namespace: str) -> None:
        for kind, name in used(pod):
            if (kind, name) == ("ServiceAccount", "default") and pod is not self.mine:
                continue  # of what UICI needs, and of everybody else there; it gives no rights over it
            self.add(named(self.engine, kind, namespace, name))
            if kind == "PersistentVolumeClaim":
                await self._kept(namespace, name)
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            if volume.get("hostPath"):
                self.add(host_path(self.engine, str(volume["hostPath"].get("path"))))

    async def _kept(self, namespace: str, claim: str) -> None:
        """Where a claim's data lies: its volume, and what that is of a node, which others may mount by its path."""
        found = await self.view.owners.read("PersistentVolumeClaim", namespace, claim) or {}
        volume = str((found.get("spec") or {}).get("volumeName") or "")
        if not volume:
            return  # not bound: nothing lies anywhere yet
        self.add(named(self.engine, "PersistentVolume", None, volume))
        for path in lies(await self.view.owners.read("PersistentVolume", None, volume)):
            self.add(host_path(self.engine, path))

    async def service(self, one: Mapping[str, Any]) -> None:
        """A Service that UICI needs, and the Pods that answer behind it."""
        metadata, spec = one["metadata"], one.get("spec") or {}
        self.add(resource(self.engine, {**one, "kind": "Service"}))
        for pod in await self.view.picked(spec.get("selector"), metadata["namespace"]):
            await self.carrier(pod)
        if not spec.get("selector"):
            endpoints = await self.view.read(KINDS["Endpoints"], metadata["namespace"], metadata["name"]) or {}
            for part in endpoints.get("subsets") or ():
                for address in [*(part.get("addresses") or ()), *(part.get("notReadyAddresses") or ())]:
                    aim = address.get("targetRef") or {}
                    if aim.get("kind") == "Pod":
                        place = aim.get("namespace") or metadata["namespace"]
                        found = await self.view.read(KINDS["Pod"], place, aim["name"])
                        if found is not None:
                            await self.carrier(found)

    async def called(self, wanted: Mapping[str, Any]) -> None:
        """What platform.yml says that no SDK can tell."""
        name, uid = str(wanted.get("name") or ""), str(wanted.get("id") or "")
        word = str(wanted.get("kind") or "service").lower()
        kinds = [WORDS[word]] if word in WORDS else []
        if word == "service":
            kinds = [*(KINDS[kind] for kind in SERVICES), KINDS["Service"], KINDS["Pod"]]
        elif word == "path" and name.startswith("/"):
            self.add(host_path(self.engine, name))
        for kind in kinds:
            for one in await self._of(kind, wanted.get("namespace"), name, uid):
                await self._needs(kind, one)

    async def _of(self, kind: Kind, namespace: Any, name: str, uid: str) -> list[dict[str, Any]]:
        if name and (namespace or not kind.namespaced):
            found = await self.view.read(kind, namespace, name)
            return [found] if found is not None else []
        listed = await (self.everywhere(kind.name) if kind.namespaced else self.view.all(kind.name, None))
        names = (name, uid) if uid or name else ()
        return [
            one
            for one in listed
            if (one["metadata"]["uid"] in names or one["metadata"]["name"] in names)
            and namespace in (None, one["metadata"].get("namespace"))
        ]

    async def _needs(self, kind: Kind, one: dict[str, Any]) -> None:
        namespace = one["metadata"].get("namespace")
        if kind.name == "Pod":
            await self.carrier(one)
        elif kind.name == "Service":
            await self.service(one)
        elif kind.name in TEMPLATES:
            key = owner_key(kind.name, namespace, one["metadata"]["name"])
            self.add(await self.view.owners.resource(self.engine, one))
            await self._owned(one)
            for pod in await self.view.all("Pod", namespace):
                if (await self.view.owners.top(pod))[0] == key:
                    await self.carrier(pod)
        else:
            self.add(await self.view.owners.resource(self.engine, one))

"""Kubernetes' objects as Resources, and where each kind lies in the API. Nothing here asks a server or decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uici.model import Resource

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: where its objects are (``/apis/apps/v1``, ``deployments``), and whether they lie in namespaces."""

    name: str
    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Of one object, of one namespace's objects, or of all."""
        place = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        return f"{self.api}{place}/{self.plural}" + (f"/{name}" if name is not None else "")


_CORE, _APPS, _BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind("Pod", _CORE, "pods"),
        Kind("Service", _CORE, "services"),
        Kind("Endpoints", _CORE, "endpoints"),
        Kind("ConfigMap", _CORE, "configmaps"),
        Kind("Secret", _CORE, "secrets"),
        Kind("ServiceAccount", _CORE, "serviceaccounts"),
        Kind("PersistentVolumeClaim", _CORE, "persistentvolumeclaims"),
        Kind("ResourceQuota", _CORE, "resourcequotas"),
        Kind("LimitRange", _CORE, "limitranges"),
        Kind("ReplicationController", _CORE, "replicationcontrollers"),
        Kind("Event", _CORE, "events"),
        Kind("Node", _CORE, "nodes", namespaced=False),
        Kind("Namespace", _CORE, "namespaces", namespaced=False),
        Kind("PersistentVolume", _CORE, "persistentvolumes", namespaced=False),
        Kind("Deployment", _APPS, "deployments"),
        Kind("StatefulSet", _APPS, "statefulsets"),
        Kind("DaemonSet", _APPS, "daemonsets"),
        Kind("ReplicaSet", _APPS, "replicasets"),
        Kind("ControllerRevision", _APPS, "controllerrevisions"),
        Kind("Job", _BATCH, "jobs"),
        Kind("CronJob", _BATCH, "cronjobs"),
        Kind("PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets"),
        Kind("HorizontalPodAutoscaler", "/apis/autoscaling/v2", "horizontalpodautoscalers"),
        Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies"),
        Kind("Ingress", "/apis/networking.k8s.io/v1", "ingresses"),
        Kind("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices"),
    )
}
#: What CATALOG.md calls a service here.
SERVICES = ("Deployment", "StatefulSet", "DaemonSet")
#: Controllers that the engine runs as one; whatever owns them (an operator, Argo CD, Flux) merely groups or manages them.
TOPMOST = frozenset({*SERVICES, "CronJob", "ReplicationController"})
#: Words that a target may ask for -> the kind: singular, plural, in lower case.
WORDS: Mapping[str, Kind] = {word: one for one in KINDS.values() for word in (one.name.lower(), one.plural)}


#: What Pods and others name, and what therefore is what it is by its name: made anew under that name it is the same to
#: them. So the id of these is ``namespace/name``, and nobody has to read a Secret to tell which it is.
NAMED = frozenset(
    "ConfigMap Namespace Node PersistentVolume PersistentVolumeClaim Secret Service ServiceAccount".split()
)


def owner_key(kind: str, namespace: str | None, name: str) -> str:
    """What locks, brakes and history are keyed by: it outlives the uid of a Deployment that is made anew."""
    return f"{kind.lower()}/{namespace or ''}/{name}"


def controller(one: Object) -> Object | None:
    """The ownerReference of what controls it. A Node owns the mirror of a static Pod, and does not control it."""
    for reference in one["metadata"].get("ownerReferences") or ():
        if reference.get("controller") and reference.get("kind") != "Node":
            return reference  # type: ignore[no-any-return]
    return None


def resource(engine: str, one: Object, owner: str = "") -> Resource:
    """``owner``: the key of its topmost owner; its own where it is that itself."""
    metadata = one["metadata"]
    kind, name, namespace = str(one["kind"]), str(metadata["name"]), metadata.get("namespace")
    full = f"{namespace}/{name}" if namespace else name
    return Resource(
        engine=engine,
        kind=kind,
        id=full if kind in NAMED else str(metadata.get("uid") or full),
        name=name,
        namespace=namespace,
        names=tuple(dict.fromkeys((name, full, str(metadata.get("uid") or full)))),
        labels=dict(metadata.get("labels") or {}),
        owner=owner or owner_key(kind, namespace, name),
    )


def named(
    engine: str, kind: str, namespace: str | None, name: str, labels: Mapping[str, str] | None = None
) -> Resource:
    """One of ``NAMED`` without a look at it."""
    return resource(engine, {"kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels or {}}})


def referred(engine: str, namespace: str | None, reference: Object, owner: str = "") -> Resource:
    """What an ownerReference tells of an owner, of whatever kind, without a look at it."""
    kind, name = str(reference["kind"]), str(reference["name"])
    known = KINDS.get(kind)
    place = namespace if known is None or known.namespaced else None
    metadata = {"name": name, "namespace": place, "uid": str(reference.get("uid") or "")}
    return resource(engine, {"kind": kind, "metadata": metadata}, owner)

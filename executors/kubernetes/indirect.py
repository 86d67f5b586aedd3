"""Objects that select, bound, route to or are used by others: a change of one touches those, before *and* after.

What is of the whole cluster reaches all of it, UICI's own too. Fills in a Change. It reads, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Touch
from uici_executors.kubernetes import budget, managed
from uici_executors.kubernetes.change import Change, Handler
from uici_executors.kubernetes.fields import Object
from uici_executors.kubernetes.places import HANDLERS as PLACES
from uici_executors.kubernetes.reach import Reach, uses
from uici_executors.kubernetes.resources import KINDS
from uici_executors.kubernetes.view import template_of

_RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def itself(change: Change) -> Touch:
    """The object; one that is not there yet by its name and labels."""
    if change.before is None:
        labels = ((change.after or {}).get("metadata") or {}).get("labels") or {}
        return change.view.new(change.kind, change.namespace, change.name, labels)
    by = managed.manager(change.before, change.paths, whole=change.deletes)
    return replace(await change.view.of_object(change.before), managed_by=by)


def _spec(one: Object) -> Mapping[str, Any]:
    return one.get("spec") or {}


async def service(change: Change) -> None:
    change.touches.append(await itself(change))
    for one in change.sides:
        change.touches += await change.view.pods(
            await change.view.picked(_spec(one).get("selector"), change.namespace), goes=False
        )
    if change.after is not None and _spec(change.after).get("externalIPs") and change.writes("spec", "externalIPs"):
        change.everything("it takes addresses for its own that may be anybody's (externalIPs)")


async def endpoints(change: Change) -> None:
    """Where a Service's traffic goes."""
    change.touches.append(await itself(change))
    for one in change.sides:
        metadata = one.get("metadata") or {}
        if change.kind.name == "Endpoints":
            name, parts = change.name, one.get("subsets") or ()
        else:
            name, parts = (metadata.get("labels") or {}).get("kubernetes.io/service-name", ""), [one]
        await _service(change, str(name))
        for part in parts:
            for key in ("addresses", "notReadyAddresses", "endpoints"):
                for address in part.get(key) or ():
                    aim = address.get("targetRef") or {}
                    if aim.get("kind") == "Pod":
                        found = await change.view.read(
                            KINDS["Pod"], aim.get("namespace") or change.namespace, aim["name"]
                        )
                        change.touches += await change.view.pod(found, goes=False) if found else []


async def _service(change: Change, name: str) -> None:
    found = await change.view.owners.read("Service", change.namespace, name) if name else None
    if found is not None:
        change.touches.append(await change.view.of_object(found))
        pods = await change.view.picked(_spec(found).get("selector"), change.namespace)
        change.touches += await change.view.pods(pods, goes=False)


async def ingress(change: Change) -> None:
    change.touches.append(await itself(change))
    for one in change.sides:
        spec = _spec(one)
        backends = [spec.get("defaultBackend") or {}]
        for rule in spec.get("rules") or ():
            backends += [path.get("backend") or {} for path in (rule.get("http") or {}).get("paths") or ()]
        for name in dict.fromkeys((backend.get("service") or {}).get("name") for backend in backends):
            await _service(change, str(name or ""))


async def selecting(change: Change) -> None:
    """A NetworkPolicy or a PodDisruptionBudget: the Pods that it selects."""
    change.touches.append(await itself(change))
    key = "podSelector" if change.kind.name == "NetworkPolicy" else "selector"
    for one in change.sides:
        selector = _spec(one).get(key)
        if selector is None and change.kind.name == "NetworkPolicy":
            selector = {}
        change.touches += await change.view.pods(await change.view.selected(selector, change.namespace), goes=False)


async def bounding(change: Change) -> None:
    """A ResourceQuota or a LimitRange: whatever runs in its namespace, and would not be made anew."""
    change.touches.append(await itself(change))
    change.touches += await change.view.pods(await change.view.all("Pod", change.namespace), goes=False)
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        for one in await change.view.all(kind, change.namespace):
            change.touches += await change.view.workload(one)


async def autoscaler(change: Change) -> None:
    change.touches.append(await itself(change))
    for one in change.sides:
        aim = _spec(one).get("scaleTargetRef") or {}
        kind = KINDS.get(str(aim.get("kind")))
        if kind is None:
            change.unbounded.append(f"it scales a {str(aim.get('kind'))[:60]}, which nothing here knows")
            continue
        found = await change.view.read(kind, change.namespace, str(aim.get("name")))
        if found is not None:
            most = _spec(one).get("maxReplicas")
            takes = budget.fewer(found, int(most)) if one is change.after and most is not None else 0
            change.touches += await change.view.workload(found, takes)


async def used(change: Change) -> None:
    """A ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim: the Pods and workloads that name it."""
    change.touches.append(await itself(change))
    kind = change.kind.name
    for one in await change.view.all("Pod", change.namespace):
        if uses(one, kind, change.name):
            change.touches += await change.view.pod(one, goes=False)
    for maker in ("Deployment", "StatefulSet", "DaemonSet", "CronJob"):
        for one in await change.view.all(maker, change.namespace):
            if uses(template_of(one), kind, change.name):
                change.touches += await change.view.workload(one)
    for side in change.sides:
        annotations = (side.get("metadata") or {}).get("annotations") or {}
        account = annotations.get("kubernetes.io/service-account.name")
        if kind == "Secret" and account:
            change.touches.append(change.view.of("ServiceAccount", change.namespace, account))
        for source in ("dataSource", "dataSourceRef"):
            origin = _spec(side).get(source) or {}
            if origin.get("kind") == "PersistentVolumeClaim":
                place = origin.get("namespace") or change.namespace
                change.touches.append(change.view.of("PersistentVolumeClaim", place, str(origin.get("name"))))
        volume = _spec(side).get("volumeName")
        if kind == "PersistentVolumeClaim" and volume:
            change.touches.append(change.view.of("PersistentVolume", None, str(volume)))
            lies = await change.view.owners.read("PersistentVolume", None, str(volume))
            claim = _spec(lies or {}).get("claimRef") or {}
            if claim.get("name"):  # it may be another's already
                place = str(claim.get("namespace"))
                change.touches.append(change.view.of("PersistentVolumeClaim", place, str(claim["name"])))


async def volume(change: Change) -> None:
    """A PersistentVolume: whose claim it is, and where it lies."""
    change.touches.append(await itself(change))
    reach = Reach(change.view, None)
    for one in change.sides:
        claim = _spec(one).get("claimRef") or {}
        if claim.get("name"):
            place, name = claim.get("namespace"), str(claim["name"])
            change.touches.append(change.view.of("PersistentVolumeClaim", place, name))
            for user in await change.view.all("Pod", place):
                if uses(user, "PersistentVolumeClaim", name):
                    change.touches += await change.view.pod(user, goes=False)
        if one is change.after and change.writes("spec"):
            reach.volume(one)
    change.touches += reach.touches
    change.unbounded += reach.unbounded


async def role(change: Change) -> None:
    """A Role or RoleBinding: all that lies in its namespace, and whose rights these are."""
    change.touches += [await itself(change), change.view.of("Namespace", None, str(change.namespace))]
    bindings: Sequence[Object] = change.sides
    if change.kind.name == "Role":
        listed = await change.view.server.items(f"{_RBAC}/namespaces/{change.namespace}/rolebindings")
        bindings = [
            one for one in listed if (one["roleRef"].get("kind"), one["roleRef"].get("name")) == ("Role", change.name)
        ]
    for binding in bindings:
        for subject in binding.get("subjects") or ():
            name, place = str(subject.get("name")), subject.get("namespace") or change.namespace
            if subject.get("kind") == "ServiceAccount":
                change.touches.append(change.view.of("ServiceAccount", place, name))
            for one in change.view.own:
                everybody = name in ("system:authenticated", "system:serviceaccounts")
                if one.kind == "ServiceAccount" and (everybody or name in _names_of(one)):
                    change.touches.append(Touch(resource=one))


def _names_of(account: Any) -> tuple[str, str]:
    """What RBAC calls a service account, and the group of all in its namespace."""
    return (
        f"system:serviceaccount:{account.namespace}:{account.name}",
        f"system:serviceaccounts:{account.namespace}",
    )


async def cluster_wide(change: Change) -> None:
    """What holds for every namespace and node: all of the cluster, so what UICI is and needs too."""
    change.touches.append(await itself(change))
    change.everything()


async def alone(change: Change) -> None:
    """What nothing else rests on."""
    change.touches.append(await itself(change))


async def history(change: Change) -> None:
    """A ControllerRevision: what a StatefulSet or a DaemonSet goes back to."""
    change.touches.append(await itself(change))
    change.touches += [
        touch for one in change.sides if "uid" in one["metadata"] for touch in await change.view.chain(one)
    ]


async def template(change: Change) -> None:
    """A PodTemplate, which makes nothing by itself."""
    change.touches.append(await itself(change))
    if change.after is not None:
        reach = Reach(change.view, change.namespace)
        await reach.of(change.after.get("template") or {})
        change.touches += reach.touches
        change.unbounded += reach.unbounded


HANDLERS: Mapping[str, Handler] = {
    "services": service,
    "endpoints": endpoints,
    "endpointslices": endpoints,
    "ingresses": ingress,
    "networkpolicies": selecting,
    "poddisruptionbudgets": selecting,
    "resourcequotas": bounding,
    "limitranges": bounding,
    "horizontalpodautoscalers": autoscaler,
    "configmaps": used,
    "secrets": used,
    "serviceaccounts": used,
    "serviceaccounts/token": used,
    "persistentvolumeclaims": used,
    "persistentvolumes": volume,
    "roles": role,
    "rolebindings": role,
    "events": alone,
    "controllerrevisions": history,
    "podtemplates": template,
    **dict.fromkeys(
        """
        apiservices clusterrolebindings clusterroles csidrivers csinodes customresourcedefinitions deviceclasses
        flowschemas ingressclasses mutatingadmissionpolicies mutatingadmissionpolicybindings
        mutatingwebhookconfigurations prioritylevelconfigurations priorityclasses runtimeclasses servicecidrs
        storageclasses validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations
        volumeattachments volumeattributesclasses
        """.split(),
        cluster_wide,
    ),
    **PLACES,
}

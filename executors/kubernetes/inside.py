"""What is done inside a Pod, or through the API server to whatever answers there: nobody can foresee it.

It is always ``unknown``; what can be told of it is listed, so that a declared ``touches`` still meets what is UICI's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from uici_executors.kubernetes.change import Change, Handler
from uici_executors.kubernetes.reach import Reach

_WHY = "cannot be foreseen; declare `touches:` for this step if you know it"


async def pod(change: Change) -> None:
    """A command in a container, its ports, a container beside its own."""
    if change.before is not None:
        change.touches += await change.view.pod(change.before, goes=False)
        for one in change.sides:
            reach = Reach(change.view, change.namespace)
            await reach.of(one)
            change.touches += reach.touches
            change.unbounded += reach.unbounded
    change.unbounded.append(f"what is done inside a container {_WHY}")


async def service(change: Change) -> None:
    if change.before is not None:
        change.touches.append(await change.view.of_object(change.before))
        selector = (change.before.get("spec") or {}).get("selector")
        change.touches += await change.view.pods(await change.view.picked(selector, change.namespace), goes=False)
    change.unbounded.append(f"what answers there, and what it does, {_WHY}")


async def node(change: Change) -> None:
    """The kubelet runs commands in every container of its node."""
    if change.before is not None:
        change.touches.append(await change.view.of_object(change.before))
    change.everything(f"what a node is asked to do {_WHY}")


async def status(change: Change) -> None:
    """What controllers decide by."""
    if change.before is not None:
        change.touches += [await change.view.of_object(change.before), *await change.view.chain(change.before)]
    if change.namespace is None:
        change.everything()
    change.unbounded.append("what controllers make of a status that they did not write cannot be foreseen")


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(("pods/attach", "pods/ephemeralcontainers", "pods/exec", "pods/portforward", "pods/proxy"), pod),
    "services/proxy": service,
    "nodes/proxy": node,
    **{
        f"{plural}/status": status
        for plural in (
            "cronjobs daemonsets deployments horizontalpodautoscalers ingresses jobs namespaces nodes "
            "persistentvolumeclaims persistentvolumes poddisruptionbudgets pods replicasets replicationcontrollers "
            "resourcequotas services statefulsets"
        ).split()
    },
}

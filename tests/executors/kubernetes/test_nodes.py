"""Nodes by the starter's operations on a real cluster: cordoned, drained Pod by Pod, and given back."""

from __future__ import annotations

import pytest

from tests.executors.kubernetes.place import Place
from uici.model import Reason, Status

pytestmark = pytest.mark.engine("kubernetes")


async def test_a_node_is_cordoned_and_taken_back(place: Place) -> None:
    node = place.cluster.node
    try:
        result = await place.ask("cordon_node", node=node)
        assert result.answer == {"node": node, "unschedulable": True}, result.message
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is True
        again = await place.ask("cordon_node", node=node)
        assert (again.status, again.reason) == (Status.DONE, Reason.NOTHING_TO_DO), again.message
        result = await place.ask("uncordon_node", node=node)
        assert result.answer == {"node": node, "unschedulable": False}, result.message
    finally:
        place.cluster.kubectl("uncordon", node)


async def test_a_node_is_drained_pod_by_pod(place: Place) -> None:
    if not place.cluster.private:
        pytest.skip("others may have Pods on a cluster that was lent")
    node = place.cluster.node
    # None of them serves, and there is no other node to serve from: nobody loses anything.
    place.workload("web", replicas=2, readinessProbe={"exec": {"command": ["false"]}})
    place.workload("agent", kind="DaemonSet")
    place.up("agent", "daemonset")
    place.cluster.until("deployment/web", lambda one: one["status"].get("unavailableReplicas") == 2, place.namespace)
    try:
        result = await place.ask("drain_node", node=node)
        assert result.status is Status.DONE, (result.message, result.undo, result.evidence[-8:])
        own = [one for one in result.answer["evicted"] if one.startswith(f"{place.namespace}/")]
        assert len(own) == 2
        assert all("/web-" in one for one in own), "what a DaemonSet runs would be put back"
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is True
    finally:
        place.cluster.kubectl("uncordon", node)


async def test_a_drain_ends_where_too_many_would_be_gone_and_the_node_is_given_back(place: Place) -> None:
    if not place.cluster.private:
        pytest.skip("others may have Pods on a cluster that was lent")
    node = place.cluster.node
    place.workload("web", replicas=3)
    place.up("web")
    try:
        result = await place.ask("drain_node", node=node)
        assert (result.status, result.reason) == (Status.FAILED, Reason.BLAST_RADIUS), result.message
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        assert (await place.ask("node_status", node=node)).answer["unschedulable"] is False
    finally:
        place.cluster.kubectl("uncordon", node)
    place.up("web")

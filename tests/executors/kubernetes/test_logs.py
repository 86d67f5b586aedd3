"""Logs of real Pods: every line once, whatever ends, restarts, comes late or goes away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engines.kubernetes import BUSYBOX, Cluster
from uici.executor import Line
from uici.model import Call, ConfigurationError, Environment, Risk, UnreachableError
from uici_executors.kubernetes import KubernetesExecutor

pytestmark = pytest.mark.engine("kubernetes")
SECONDS = 60.0


def pod(name: str, script: str, *, label: str = "talk", restart: str = "Never", variant: str = "") -> dict[str, Any]:
    container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
    labels = {"app": label, **({"variant": variant} if variant else {})}
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def counting(first: int, last: int, *, then: str = "") -> str:
    return f"i={first}; while [ $i -lt {last} ]; do echo line $i; i=$((i+1)); done; {then}"


def of_all(namespace: str, **more: Any) -> Call:
    arguments = {"namespace": namespace, "label_selector": "app=talk", **more}
    return Call(on=None, path="pods.logs", arguments=arguments, risk=Risk.OBSERVE)


def of_one(namespace: str, name: str, **more: Any) -> Call:
    arguments = {"namespace": namespace, "name": name, **more}
    return Call(on=None, path="CoreV1Api.read_namespaced_pod_log", arguments=arguments, risk=Risk.OBSERVE)


async def gathered(lines: AsyncIterator[Line], enough: Any = None) -> list[Line]:
    found: list[Line] = []
    async with asyncio.timeout(SECONDS):
        async for line in lines:
            found.append(line)
            if enough is not None and enough(found):
                break
    return found


def now() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_a_pod_is_followed_to_its_end(executor: KubernetesExecutor, cluster: Cluster, namespace: str) -> None:
    """Asked for before its container runs; many lines within one moment; the last one without a newline."""
    await asyncio.to_thread(cluster.apply, pod("one", counting(0, 5000, then="echo -n end")), namespace=namespace)
    found = await gathered(executor.stream(of_one(namespace, "one", follow=True)))
    assert [line.text for line in found] == [f"line {number}" for number in range(5000)] + ["end"]
    cursors = [line.cursor for line in found]
    assert cursors == sorted(set(cursors)), "they sort as text, and no two are the same"
    assert {line.source for line in found} == {"one/main"}


async def test_pods_that_appear_later_are_followed_too(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    until = asyncio.Event()
    await asyncio.to_thread(cluster.apply, pod("first", counting(0, 100), variant="fast"), namespace=namespace)
    lines = executor.stream(of_all(namespace, name_label="variant"), until=until)
    found = await gathered(lines, lambda seen: len(seen) == 100)
    assert {(line.source, line.name) for line in found} == {("first/main", "fast")}
    await asyncio.to_thread(cluster.apply, pod("second", counting(0, 100), variant="slow"), namespace=namespace)
    await asyncio.to_thread(cluster.apply, pod("other", counting(0, 9), label="silent"), namespace=namespace)
    found = await gathered(lines, lambda seen: len(seen) == 100)
    assert {(line.source, line.name) for line in found} == {("second/main", "slow")}
    until.set()
    assert await gathered(lines) == [], "its end gives what is left, and nothing was"


@pytest.mark.parametrize("had", [0, 1, 57, 999, 1000])
async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str, had: int
) -> None:
    await asyncio.to_thread(cluster.apply, pod("one", counting(0, 1000)), namespace=namespace)
    await asyncio.to_thread(cluster.wait, "pod/one", "jsonpath={.status.phase}=Succeeded", namespace)
    everything = await gathered(executor.stream(of_all(namespace), until=now()))
    assert len(everything) == 1000
    mark = {"one/main": everything[had - 1].cursor} if had else {}
    again = await gathered(executor.stream(of_all(namespace), after=lambda source: mark.get(source, ""), until=now()))
    assert again == everything[had:]


async def test_lines_of_before_a_restart_are_not_lost(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    """Nobody looked while the container died and came back: what it said before is still on the node."""
    script = f"[ -e /seen/it ] && {{ {counting(10, 20)} sleep 600; }}; touch /seen/it; {counting(0, 10)} exit 1"
    made = pod("one", script, restart="OnFailure")
    made["spec"]["volumes"] = [{"name": "seen", "emptyDir": {}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "seen", "mountPath": "/seen"}]
    await asyncio.to_thread(cluster.apply, made, namespace=namespace)
    path = "jsonpath={.status.containerStatuses[0].restartCount}=1"
    await asyncio.to_thread(cluster.wait, "pod/one", path, namespace)
    found = await gathered(executor.stream(of_all(namespace)), lambda seen: len(seen) == 20)
    assert [line.text for line in found] == [f"line {number}" for number in range(20)]
    half = found[4].cursor
    again = await gathered(executor.stream(of_all(namespace), after=lambda _: half), lambda seen: len(seen) == 15)
    assert again == found[5:]


async def test_a_restart_under_a_follower_loses_nothing(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    await asyncio.to_thread(
        cluster.apply, pod("one", "echo up $$; sleep 1; echo down", restart="Always"), namespace=namespace
    )
    lines = executor.stream(of_all(namespace))
    found = await gathered(lines, lambda seen: len(seen) == 4)
    assert [line.text.split()[0] for line in found] == ["up", "down", "up", "down"]


async def test_an_api_server_that_goes_away_loses_no_line(
    executor: KubernetesExecutor, cluster: Cluster, namespace: str
) -> None:
    script = counting(0, 400, then="sleep 0").replace("echo line $i;", "echo line $i; sleep 0.02;")
    until = asyncio.Event()
    await asyncio.to_thread(cluster.apply, pod("one", script), namespace=namespace)
    lines = executor.stream(of_all(namespace), until=until)
    found = await gathered(lines, lambda seen: len(seen) >= 20)
    await asyncio.to_thread(cluster.kill)
    found += await gathered(lines, lambda seen: len(seen) + len(found) >= 400)
    until.set()
    found += await gathered(lines)
    assert [line.text for line in found] == [f"line {number}" for number in range(400)]


async def test_its_end_gives_what_is_left(executor: KubernetesExecutor, cluster: Cluster, namespace: str) -> None:
    """``until`` is set while nothing was read yet."""
    await asyncio.to_thread(cluster.apply, pod("one", counting(0, 3000, then="sleep 600")), namespace=namespace)
    until = asyncio.Event()
    lines = executor.stream(of_all(namespace), until=until)
    found = await gathered(lines, lambda seen: len(seen) == 1)
    until.set()
    found += await gathered(lines)
    assert len(found) == 3000


async def test_the_last_lines_alone(executor: KubernetesExecutor, cluster: Cluster, namespace: str) -> None:
    await asyncio.to_thread(cluster.apply, pod("one", counting(0, 50)), namespace=namespace)
    await asyncio.to_thread(cluster.wait, "pod/one", "jsonpath={.status.phase}=Succeeded", namespace)
    found = await gathered(executor.stream(of_one(namespace, "one", tail_lines=2)))
    assert [line.text for line in found] == ["line 48", "line 49"]


async def test_what_may_not_be_read_is_said(executor: KubernetesExecutor, cluster: Cluster, namespace: str) -> None:
    await asyncio.to_thread(cluster.kubectl, "create", "serviceaccount", "nobody", f"--namespace={namespace}")
    kubeconfig = await asyncio.to_thread(cluster.kubeconfig_for, "nobody", namespace)
    other = KubernetesExecutor()
    settings = {"kubeconfig": str(kubeconfig)}
    await other.open(Environment.parse("test", {"executor": "kubernetes", "settings": settings, "alerts": []}))
    try:
        with pytest.raises(UnreachableError, match="forbidden"):
            await gathered(other.stream(of_all(namespace)))
    finally:
        await other.close()


@pytest.mark.parametrize("name", ["", "../../secrets", "a?follow=true", "x#y"])
async def test_a_name_that_would_lead_elsewhere_is_refused(executor: KubernetesExecutor, name: str) -> None:
    with pytest.raises(ConfigurationError):
        await gathered(executor.stream(of_one("default", name)))

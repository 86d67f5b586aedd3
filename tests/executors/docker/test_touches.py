"""What each call would touch, told by a real engine, as data; what nobody can bound is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call, opened
from uici.executor import Executor, Facts, Target
from uici.model import Resource, Risk

pytestmark = pytest.mark.engine("docker")

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/docker/touches.yml").read_text())


@pytest.fixture(scope="module")
def scene(shared: Docker) -> Iterator[Docker]:
    docker = shared
    docker.network("shop")
    docker.volume("lonely")
    data = docker.volume("data").name
    web = docker.create("web", network="shop", volumes={data: {"bind": "/data"}})
    docker.client.networks.get("shop").disconnect(web)
    docker.client.networks.get("shop").connect(web, aliases=["www"])
    web.start()
    docker.run("db", network="shop")
    docker.run("side", network_mode="container:web")
    docker.run("watcher", pid_mode="container:web")
    docker.run("boss", volumes={docker.base_url.removeprefix("unix://"): {"bind": "/s.sock"}})
    for number in (1, 2):
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "cart"}
        docker.run(f"cart-{number}", labels=labels)
    docker.create("idle")
    docker.create("waiting", network="shop")
    docker.create("db.uici-old-x")
    yield docker
    docker.clean()


async def on(executor: Executor, name: str | None) -> Resource | None:
    if name is None:
        return None
    kind, slash, rest = name.partition("/")
    [found] = await executor.locate(Target(kind=kind if slash else "container", name=rest if slash else name))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_touches(scene: Docker, case: dict[str, Any]) -> None:
    executor = await opened(scene.settings)
    identity = await executor.identity(Facts(pids=(4711,), hostname="elsewhere", paths=("/srv/uici",)))
    arguments = yaml.safe_load(yaml.safe_dump(case.get("arguments", {})).replace("SOCKET", scene.base_url[7:]))
    target = await on(executor, case.get("of"))
    pinned = await executor.resolve(call(case["path"], target, **arguments))
    assert case.get("unknown", "") in (pinned.unknown or ""), pinned.unknown
    assert (pinned.unknown is None) == ("unknown" not in case), pinned.unknown
    found = {f"{one.resource.kind}/{one.resource.name}".replace("//", "/") + "!" * one.takes for one in pinned.touches}
    if "touches" in case:
        left_out = {"container/db.uici-old-x"} if case["path"].endswith(".prune") else set()
        assert found - left_out == set(case["touches"])
    assert set(case.get("touches_some", ())) <= found
    if "own" in case:
        assert set(identity.resources) <= {one.resource for one in pinned.touches}
    for key in ("desired", "healthy"):
        if key in case:
            assert getattr(pinned.touches[0], key) == case[key]
    if "owner" in case:
        assert pinned.touches[0].resource.owner == case["owner"]
    if "pinned" in case:
        assert len(pinned.call.arguments[case["pinned"]]) == 64
    if pinned.unknown is None and case["path"].startswith("containers."):
        assert executor.risk(pinned) is Risk.CHANGE
    await executor.close()

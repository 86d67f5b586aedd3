"""`locate` matches exactly: a container by name or full id, a Compose service by its labels, nothing by a prefix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.docker import Docker
from uici.executor import Executor, Target

pytestmark = pytest.mark.engine("docker")


def compose(project: str, service: str, **more: str) -> dict[str, Any]:
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    return {"labels": {**labels, "com.docker.compose.oneoff": "False", **more}}


async def found(executor: Executor, name: str, kind: str = "service", namespace: str | None = None) -> list[Any]:
    return await executor.locate(Target(kind=kind, name=name, namespace=namespace))


async def test_a_container(docker: Docker, executor: Executor) -> None:
    web = docker.create("web")
    [one] = await found(executor, "web")
    assert (one.kind, one.id, one.name, one.owner, one.namespace) == ("container", web.id, "web", "name/web", None)
    assert one.engine == await executor.engine_id()
    assert {web.id, web.id[:12], "web"} <= set(one.names)
    assert await found(executor, web.id) == [one]


@pytest.mark.parametrize("kind", ["service", "container", "network", "volume", "image", "pod"])
@pytest.mark.parametrize("name", ["we", "webx", "WEB", "/web", "web\n", "../web", "web?all=1", "", "*", "${web}"])
async def test_nothing_but_the_exact_name(docker: Docker, executor: Executor, name: str, kind: str) -> None:
    docker.create("web")
    assert await found(executor, name, kind) == []


async def test_no_prefix_of_an_id(docker: Docker, executor: Executor) -> None:
    web = docker.create("web")
    for length in (1, 4, 12, 63):
        assert await found(executor, web.id[:length]) == []


async def test_a_compose_service_is_one_thing_with_all_its_containers(docker: Docker, executor: Executor) -> None:
    first = docker.create("shop-cart-1", **compose("shop", "cart", **{"com.docker.compose.depends_on": "db:x:false"}))
    second = docker.create("shop-cart-2", **compose("shop", "cart"))
    docker.create("shop-cart-run-1", **compose("shop", "cart", **{"com.docker.compose.oneoff": "True"}))
    docker.create("shop-cart-1.uici-old-x1", **compose("shop", "cart"))
    [one] = await found(executor, "cart")
    assert (one.kind, one.id, one.name, one.namespace) == ("compose_service", "shop/cart", "cart", "shop")
    assert one.owner == "compose/shop/cart"
    assert {name for name in one.names if len(name) == 64} == {first.id, second.id}
    assert await found(executor, "shop/cart") == [one]
    # One of several containers is itself, with the service as its owner.
    [part] = await found(executor, "shop-cart-1")
    assert (part.kind, part.id, part.key) == ("container", first.id, one.key)


async def test_the_only_container_of_a_compose_service_is_that_service(docker: Docker, executor: Executor) -> None:
    docker.create("shop-db-1", **compose("shop", "db"))
    assert [one.id for one in await found(executor, "shop-db-1")] == ["shop/db"]


async def test_two_projects_are_ambiguous_until_one_is_named(docker: Docker, executor: Executor) -> None:
    docker.create("a-api-1", **compose("a", "api"))
    docker.create("b-api-1", **compose("b", "api"))
    assert sorted(one.id for one in await found(executor, "api")) == ["a/api", "b/api"]
    assert [one.id for one in await found(executor, "api", namespace="b")] == ["b/api"]
    assert await found(executor, "api", namespace="c") == []


async def test_a_container_and_a_compose_service_of_one_name_are_ambiguous(docker: Docker, executor: Executor) -> None:
    docker.create("api")
    docker.create("a-api-1", **compose("a", "api"))
    assert sorted(one.kind for one in await found(executor, "api")) == ["compose_service", "container"]


async def test_a_container_named_like_its_own_service_is_that_service(docker: Docker, executor: Executor) -> None:
    docker.create("api", **compose("a", "api"))
    assert [one.id for one in await found(executor, "api")] == ["a/api"]


async def test_other_kinds(docker: Docker, executor: Executor) -> None:
    network, _ = docker.network("net-x"), docker.volume("vol-x")
    assert [one.id for one in await found(executor, "net-x", "network")] == [network.id]
    assert [one.id for one in await found(executor, "vol-x", "volume")] == ["vol-x"]
    [image] = await found(executor, docker.image(), "image")
    assert image.id.startswith("sha256:")

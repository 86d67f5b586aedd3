"""What of an engine UICI is and needs, as data: facts on a real scene -> resources, or unknown."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.executors.docker.conftest import opened
from uici.executor import Facts

pytestmark = pytest.mark.engine("docker")

BASE: dict[str, Any] = {"pids": (4711,), "hostname": "elsewhere", "machine_id": "m"}


@pytest.fixture(scope="module")
def scene(shared: Docker) -> Iterator[Docker]:
    shared.network("net")
    labels = {"com.docker.compose.project": "ops", "com.docker.compose.service": "uici"}
    shared.run("ops-uici-1", network="net", labels=labels, volumes={"state": {"bind": "/state", "mode": "rw"}})
    shared.run("db", network="net")
    shared.run("other")
    # busybox' nc serves one connection after another in the host's network.
    shared.run("host-web", ["sh", "-c", "nc -lk -p 0 -e true 2>/dev/null || sleep 600"], network_mode="host")
    yield shared
    shared.clean()
    for volume in shared.client.volumes.list():
        volume.remove(force=True)


async def identity(docker: Docker, **facts: Any) -> tuple[set[str], str | None]:
    executor = await opened(docker.settings)
    found = await executor.identity(Facts(**{**BASE, **facts}))
    await executor.close()
    assert found.unknown is not None or found.shows
    return {f"{one.kind}/{one.name}" for one in found.resources}, found.unknown


async def test_nothing_known_of_itself_is_unknown(scene: Docker) -> None:
    found, unknown = await identity(scene, pids=(), hostname="", machine_id="")
    assert (found, unknown is None) == (set(), False)


async def test_outside_of_any_container_nothing_is_its_own_but_its_paths(scene: Docker) -> None:
    assert await identity(scene, paths=("/srv/journal.db",)) == ({"path//srv/journal.db"}, None)


async def test_in_a_container_of_another_engine(scene: Docker) -> None:
    assert await identity(scene, containers=("f" * 64,)) == (set(), None)


@pytest.mark.parametrize("how", ["containers", "hostname"])
async def test_in_a_container_of_this_engine(scene: Docker, how: str) -> None:
    uici = scene.client.containers.get("ops-uici-1")
    facts = {"containers": (uici.id,)} if how == "containers" else {"hostname": uici.id[:12]}
    found, _ = await identity(scene, **facts)
    image = "image/uici-test/busybox:1"
    assert found == {"container/ops-uici-1", "compose_service/uici", "network/net", "volume/state", image}


async def test_a_prefix_that_is_no_whole_short_id_is_no_proof(scene: Docker) -> None:
    uici = scene.client.containers.get("ops-uici-1")
    assert await identity(scene, hostname=uici.id[:11]) == (set(), None)


@pytest.mark.parametrize("need", ["db:5432", "tcp://db:5432", "ADDRESS:5432", "http://ADDRESS/", "postgresql://u@db/x"])
async def test_what_answers_at_an_address_that_it_needs(scene: Docker, need: str) -> None:
    address = scene.client.containers.get("db").attrs["NetworkSettings"]["Networks"]["net"]["IPAddress"]
    found, _ = await identity(scene, needs=(need.replace("ADDRESS", address),))
    assert {"container/db", "network/net"} <= found
    assert "container/other" not in found


async def test_a_published_port_at_a_name_of_this_machine(scene: Docker) -> None:
    """An address by yet another name leads where it leads: one of a hosts file, or a short form, which is looked up too."""
    store = scene.run("store", network="net", ports={"5432/tcp": ("127.0.0.1", None)})
    other = scene.run("another", network="net", ports={"5432/tcp": ("127.0.0.1", None)})
    try:
        port = store.attrs["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"]
        found, _ = await identity(scene, needs=(f"postgresql://u@127.1:{port}/uici",))
        assert "container/store" in found
        assert "container/another" not in found
    finally:
        store.remove(force=True)
        other.remove(force=True)


async def test_a_name_that_means_a_container_means_no_other_of_its_port(scene: Docker) -> None:
    uici = scene.client.containers.get("ops-uici-1")
    other = scene.run("another", network="net", ports={"5432/tcp": None})
    try:
        port = other.attrs["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"]
        address = scene.client.containers.get("db").attrs["NetworkSettings"]["Networks"]["net"]["IPAddress"]
        found, _ = await identity(scene, containers=(uici.id,), needs=(f"{address}:{port}",))
        assert "container/db" in found
        assert "container/another" not in found
    finally:
        other.remove(force=True)


@pytest.mark.parametrize("need", ["front:5432", "ADDRESS:5432", "127.0.0.1:PORT"])
async def test_what_answers_in_the_network_of_another_container(scene: Docker, need: str) -> None:
    """A store behind a VPN's or a proxy's container bears neither its address nor its ports."""
    front = scene.run("front", network="net", ports={"5432/tcp": ("127.0.0.1", None)})
    behind = scene.run("behind", network_mode=f"container:{front.id}")
    try:
        settings = front.attrs["NetworkSettings"]
        address, port = settings["Networks"]["net"]["IPAddress"], settings["Ports"]["5432/tcp"][0]["HostPort"]
        found, _ = await identity(scene, needs=(need.replace("ADDRESS", address).replace("PORT", port),))
        assert {"container/front", "container/behind"} <= found
        assert "container/other" not in found
    finally:
        behind.remove(force=True)
        front.remove(force=True)


async def test_what_platform_yml_names(scene: Docker) -> None:
    names = (
        {"name": "other"},
        {"kind": "volume", "name": "state"},
        {"kind": "network", "name": "net", "environment": "x"},
    )
    found, _ = await identity(scene, names=names)
    assert found == {"container/other", "volume/state", "image/uici-test/busybox:1"}


async def test_a_port_of_the_host_that_another_process_serves(scene: Docker) -> None:
    """A container in the host's network might serve it; /proc tells that it does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found, _ = await identity(scene, needs=(f"127.0.0.1:{server.getsockname()[1]}",))
    assert found == set()


async def test_a_port_of_the_host_that_a_container_serves(scene: Docker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    web = scene.run("served", ["httpd", "-f", "-p", f"127.0.0.1:{port}"], network_mode="host")
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        found, _ = await identity(scene, needs=(f"http://127.0.0.1:{port}/",))
        assert "container/served" in found
        assert "container/host-web" not in found
    finally:
        web.remove(force=True)

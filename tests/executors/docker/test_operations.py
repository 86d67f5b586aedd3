"""The starter's operations on a real dockerd, through the whole engine: what they answer, change, verify and undo."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from tests.engines.docker import IMAGE, RUNS, Docker
from tests.executors.whole import ELSEWHERE, running, starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.journal import open_journal
from uici.model import Environment, Origin, Reason, Request, Result, Status, Verification

pytestmark = pytest.mark.engine("docker")

NEXT = "uici-test/busybox:2"


class Place:
    def __init__(self, interface: UniversalInfrastructureInterface) -> None:
        self.interface = interface

    async def do(self, operation: str, **parameters: Any) -> Result:
        request = Request(operation=operation, parameters=parameters, environment="docker", confirm=True)
        return await self.interface.execute(request, Origin("human", "anna"))


@pytest.fixture(scope="module")
def catalog(shared: Docker, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    inventory = {"services": {"probed": {"probe": "http://127.0.0.1:9/"}}}
    folder = tmp_path_factory.mktemp("docker") / "catalog"
    return UniversalConfigLoader(starter(folder, "docker", shared.settings, inventory=inventory)).load()


@pytest.fixture
async def place(docker: Docker, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Place]:
    async with running(catalog, tmp_path, faster=10.0) as interface:
        yield Place(interface)


def tagged(docker: Docker, name: str = NEXT) -> str:
    repository, _, tag = name.partition(":")
    docker.client.images.get(docker.image()).tag(repository, tag)
    return name


def broken(docker: Docker, script: str) -> str:
    """An image whose ``sh`` does something else."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        busybox = Path(shutil.which("busybox") or "/bin/busybox").resolve()
        tar.add(busybox, "bin/busybox")
        entry = tarfile.TarInfo("bin/sh")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script.encode()))
    docker.client.api.import_image_from_data(data.getvalue(), repository="uici-test/broken", tag="1")
    return "uici-test/broken:1"


def compose(service: str, **more: str) -> dict[str, str]:
    return {"com.docker.compose.project": "shop", "com.docker.compose.service": service, **more}


def names(docker: Docker) -> dict[str, str]:
    return {one.name: one.status for one in docker.client.containers.list(all=True)}


async def test_what_is_seen(docker: Docker, place: Place) -> None:
    docker.run("web", mem_limit="64m")
    docker.run("probed")
    for number in (1, 2):
        docker.run(
            f"shop-cart-{number}", labels=compose("cart", **{"com.docker.compose.depends_on": "db:x:false,mq:y:z"})
        )
    docker.run("crashed", ["sh", "-c", "echo no space left on device; exit 3"]).wait()
    docker.run("finished", ["true"]).wait()
    docker.run("frozen").pause()
    ill = {"test": ["CMD", "false"], "interval": 50_000_000, "retries": 1}
    docker.run("ill", healthcheck=ill)
    executor_waits = docker.client.events(decode=True, filters={"event": "health_status"})
    next(executor_waits)
    executor_waits.close()

    listed = (await place.do("list_services")).answer["services"]
    assert {(one["service"], one["state"], one["health"]) for one in listed} == {
        ("web", "running", "unknown"),
        ("probed", "running", "unknown"),
        ("cart", "running", "unknown"),
        ("crashed", "failed", "unknown"),
        ("finished", "stopped", "unknown"),
        ("frozen", "paused", "unknown"),
        ("ill", "running", "unhealthy"),
    }
    only = (await place.do("list_services", namespace="shop")).answer["services"]
    assert [(one["service"], one["namespace"]) for one in only] == [("cart", "shop")] * 2
    unhealthy = (await place.do("list_unhealthy_services")).answer["services"]
    assert {one["service"] for one in unhealthy} == {"crashed", "frozen", "ill", "probed"}
    health = (await place.do("environment_health")).answer
    assert (health["ok"], health["services"], health["running"], health["unhealthy"]) == (True, 8, 5, 2)

    expected = {
        "web": ("running", "unknown", 1, 1),
        "probed": ("running", "unhealthy", 1, 0),
        "cart": ("running", "unknown", 2, 2),
        "crashed": ("failed", "unknown", 1, 0),
        "finished": ("stopped", "unknown", 1, 0),
        "frozen": ("paused", "unknown", 1, 0),
        "ill": ("running", "unhealthy", 1, 0),
    }
    for service, answer in expected.items():
        status = (await place.do("service_status", service=service)).answer
        assert (status["state"], status["health"], status["replicas"], status["ready"]) == answer, service
    assert (await place.do("service_status", service="cart")).answer["depends_on"] == ["db", "mq"]
    assert (await place.do("service_status", service="web")).answer["memory_limit_bytes"] == 64 * 1024 * 1024

    logs = (await place.do("service_logs", service="crashed")).answer
    assert logs["lines"] == ["no space left on device"]
    assert [(one["name"], one["count"]) for one in logs["patterns"]] == [("disk_full", 1)]
    assert (await place.do("service_logs", service="finished")).answer["lines"] == []
    assert len((await place.do("service_logs", service="cart", lines=5)).answer["lines"]) == 2
    metrics = (await place.do("service_metrics", service="web")).answer
    assert 0 < metrics["memory_bytes"] < metrics["memory_limit_bytes"] == 64 * 1024 * 1024
    assert metrics["cpu_percent"] >= 0
    assert (await place.do("service_metrics", service="crashed")).answer["memory_bytes"] == 0


async def test_start_stop_unpause_and_remove(docker: Docker, place: Place) -> None:
    docker.create("web")
    docker.run("frozen").pause()
    for operation, service, state in (
        ("start_service", "web", "running"),
        ("unpause_service", "frozen", "running"),
        ("stop_service", "web", "stopped"),
    ):
        result = await place.do(operation, service=service)
        assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
        assert result.answer == {"service": service, "state": state}
    result = await place.do("stop_service", service="web")
    assert (result.status, result.reason) == (Status.DONE, Reason.NOTHING_TO_DO)
    assert (await place.do("remove_service", service="frozen")).status is Status.DONE
    assert names(docker) == {"web": "exited"}


async def test_what_never_started_and_what_compose_ran_once_are_listed_as_what_they_are(
    docker: Docker, place: Place
) -> None:
    docker.create("fresh")
    with pytest.raises(APIError):
        docker.run("broken", ["/no/such/program"])
    docker.run("shop-cart-1", labels=compose("cart"))
    once = compose("cart", **{"com.docker.compose.oneoff": "True"})
    docker.run("shop-cart-run-1", ["sh", "-c", "exit 3"], labels=once).wait()
    listed = (await place.do("list_services", namespace="shop")).answer["services"]
    assert {one["service"]: one["state"] for one in listed} == {"cart": "running", "shop-cart-run-1": "failed"}
    listed = (await place.do("list_services")).answer["services"]
    assert {"fresh": "stopped", "broken": "failed"}.items() <= {one["service"]: one["state"] for one in listed}.items()
    unhealthy = {one["service"]: one for one in (await place.do("list_unhealthy_services")).answer["services"]}
    assert sorted(unhealthy) == ["broken", "shop-cart-run-1"]
    assert unhealthy["broken"]["state"] == "failed"
    assert "/no/such/program" in unhealthy["broken"]["reason"]
    assert (await place.do("environment_health")).answer["unhealthy"] == 2
    result = await place.do("remove_service", service="cart", namespace="shop")
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message


async def test_a_start_waits_for_what_the_health_check_says(docker: Docker, place: Place) -> None:
    """Two seconds of the real clock are twenty of the engine's: running for three is not enough."""
    docker.create("web", healthcheck={"test": ["CMD-SHELL", "false"], "interval": 2_000_000_000, "retries": 1})
    result = await place.do("start_service", service="web")
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message


async def test_a_restart_of_a_compose_service_restarts_each_container_once(docker: Docker, place: Place) -> None:
    before = {}
    for number in (1, 2):
        before[docker.run(f"shop-cart-{number}", labels=compose("cart")).id] = number
    other = docker.run("shop-db-1", labels=compose("db"))
    since = time.time()
    result = await place.do("restart_service", service="cart", grace_seconds=2)
    assert result.status is Status.DONE, result.message
    events = docker.client.events(since=since, until=time.time(), decode=True, filters={"event": "restart"})
    assert sorted(one["Actor"]["ID"] for one in events) == sorted(before)
    assert docker.client.containers.get(other.id).attrs["State"]["StartedAt"] == other.attrs["State"]["StartedAt"]


async def test_a_deployment_keeps_what_belongs_to_the_service(docker: Docker, place: Place) -> None:
    network, second, volume = docker.network("shop"), docker.network("backend"), docker.volume("data")
    old = docker.create(
        "web",
        environment={"PASSWORD": "hunter2-the-secret", "MODE": "fast"},
        network="shop",
        volumes={volume.name: {"bind": "/data", "mode": "rw"}},
        labels={"tier": "front"},
        mem_limit="64m",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 3},
        user="0:0",
    )
    network.disconnect(old)
    network.connect(old, aliases=["www"])
    second.connect(old, aliases=["inner"])
    old.start()
    old.reload()
    result = await place.do("deploy_service", service="web", image=tagged(docker))
    assert result.status is Status.DONE, result.message
    assert result.answer == {"service": "web", "image": NEXT, "previous_image": IMAGE}
    assert names(docker) == {"web": "running"}, "the old one goes once the new one is verified"
    new = docker.client.containers.get("web")
    assert new.id != old.id
    config, host = new.attrs["Config"], new.attrs["HostConfig"]
    assert config["Env"] == old.attrs["Config"]["Env"]
    assert config["Cmd"] == old.attrs["Config"]["Cmd"]
    assert (config["Labels"]["tier"], config["User"], config["Image"]) == ("front", "0:0", NEXT)
    assert {**host, "Binds": sorted(host["Binds"])} == {**old.attrs["HostConfig"], "Binds": ["data:/data:rw"]}
    aliases = {name: end["Aliases"] for name, end in new.attrs["NetworkSettings"]["Networks"].items()}
    assert "www" in aliases["shop"]
    assert "inner" in aliases["backend"]
    # A secret in its environment is in no journal entry, whatever was recorded on the way.
    entries = [entry.data for entry in await place.interface.journal.entries()]
    assert entries
    assert "hunter2" not in repr(entries)

    result = await place.do("rollback_service", service="web")
    assert (result.status, result.answer) == (Status.DONE, {"service": "web", "image": IMAGE}), result.message
    assert docker.client.containers.get("web").attrs["Config"]["Image"] == IMAGE


async def test_the_new_image_brings_its_own_defaults(docker: Docker, place: Place) -> None:
    for number, word in ((3, "three"), (4, "four")):
        made = docker.create(f"made-{number}")
        made.commit(
            repository="uici-test/busybox",
            tag=str(number),
            conf={
                "Cmd": ["sh", "-c", f"trap exit TERM; echo {word}; while :; do sleep 1 & wait; done"],
                "Env": [f"WORD={word}"],
            },
        )
        made.remove()
    docker.run("web", None, image="uici-test/busybox:3", environment={"OWN": "yes"})
    result = await place.do("deploy_service", service="web", image="uici-test/busybox:4")
    assert result.status is Status.DONE, result.message
    assert (await place.do("service_logs", service="web")).answer["lines"] == ["four"]
    assert sorted(docker.client.containers.get("web").attrs["Config"]["Env"]) == ["OWN=yes", "WORD=four"]


async def test_a_compose_service_is_deployed_with_all_its_containers(docker: Docker, place: Place) -> None:
    for number in (1, 2):
        docker.run(f"shop-cart-{number}", labels=compose("cart"))
    result = await place.do("deploy_service", service="cart", namespace="shop", image=tagged(docker))
    assert result.status is Status.DONE, result.message
    assert names(docker) == {"shop-cart-1": "running", "shop-cart-2": "running"}
    status = (await place.do("service_status", service="cart")).answer
    assert (status["image"], status["replicas"], status["ready"]) == (NEXT, 2, 2)


async def test_a_compose_service_is_deployed_where_its_project_is_the_only_namespace(
    docker: Docker, place: Place, catalog: Catalog
) -> None:
    docker.run("shop-cart-1", labels=compose("cart"), network=docker.network("shop").name)
    docker.run("cron")
    environment = Environment.parse("docker", {**catalog.environments["docker"].definition, "namespaces": ["shop"]})
    await place.interface.replace(dataclasses.replace(catalog, environments={"docker": environment}))
    result = await place.do("deploy_service", service="cart", image=tagged(docker))
    assert result.status is Status.DONE, result.message
    assert names(docker) == {"shop-cart-1": "running", "cron": "running"}
    result = await place.do("restart_service", service="cron")
    assert (result.status, result.reason) == (Status.REFUSED, Reason.UNKNOWN_TARGET), result.message


@pytest.mark.parametrize(
    "script", ["#!/no/such/program\n", "#!/bin/busybox false\n"], ids=["cannot start", "ends at once"]
)
async def test_a_deployment_that_does_not_work_is_swapped_back(docker: Docker, place: Place, script: str) -> None:
    old = docker.run("web")
    result = await place.do("deploy_service", service="web", image=broken(docker, script))
    assert result.status in (Status.FAILED, Status.UNVERIFIED), result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert names(docker) == {"web": "running"}
    assert docker.client.containers.get("web").id == old.id


@pytest.mark.parametrize("operation", ["deploy_service", "rollback_service"])
async def test_what_its_engine_restarts_goes_on_being_restarted_where_another_image_did_not_help(
    docker: Docker, place: Place, operation: str
) -> None:
    """It may wait for its database, and would run once that is back: stopped it would not."""
    ends, again = ["sh", "-c", "sleep 0.2; exit 1"], {"Name": "always"}
    docker.run("web", ends, restart_policy=again, labels={"uici.previous-image": tagged(docker)})
    events = docker.client.events(decode=True, filters={"event": "die"})
    for _ in range(4):  # by then it is waited longer for the next start than a look takes
        next(events)
    events.close()
    old = docker.client.containers.get("web")
    result = await place.do(operation, service="web", **({"image": NEXT} if operation == "deploy_service" else {}))
    assert (result.verification, (result.undo or {}).get("status")) == (Verification.NOT_RECOVERED, "done"), result
    after = docker.client.containers.get("web")
    assert after.id == old.id
    assert after.status in ("running", "restarting")


@pytest.mark.parametrize("bad", [False, True], ids=["well", "ill"])
async def test_a_deployment_waits_for_what_the_health_check_says(docker: Docker, place: Place, bad: bool) -> None:
    old = docker.run("web", healthcheck={"test": ["CMD-SHELL", '[ -z "$BAD" ]'], "interval": 500_000_000, "retries": 3})
    made = docker.create("made")
    made.commit(repository="uici-test/busybox", tag="5", conf={"Env": ["BAD=yes" if bad else "GOOD=yes"]})
    made.remove()
    began = time.monotonic()
    result = await place.do("deploy_service", service="web", image="uici-test/busybox:5")
    new = docker.client.containers.get("web")
    assert names(docker) == {"web": "running"}
    if not bad:
        assert (result.status, new.attrs["State"]["Health"]["Status"]) == (Status.DONE, "healthy"), result.message
        return
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    assert (result.undo or {}).get("status") == "done", result.undo
    assert new.id == old.id
    assert time.monotonic() - began < 10, "it ends when the health check gives up"


async def test_a_restart_waits_for_what_the_health_check_says(docker: Docker, place: Place) -> None:
    """Of two containers, one is ill since its restart."""
    script = f'[ -e /once ] && [ "$ILL" ] && touch /bad; touch /once; {RUNS[-1]}'
    for number in (1, 2):
        docker.run(
            f"shop-cart-{number}",
            ["sh", "-c", script],
            labels=compose("cart"),
            environment={"ILL": "yes" if number == 2 else ""},
            healthcheck={"test": ["CMD-SHELL", "[ ! -e /bad ]"], "interval": 500_000_000, "retries": 2},
        )
    status = (await place.do("service_status", service="cart")).answer
    assert (status["state"], status["health"], status["starting"], status["unhealthy"]) == ("running", "unknown", 2, 0)
    result = await place.do("restart_service", service="cart", grace_seconds=2)
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    status = (await place.do("service_status", service="cart")).answer
    assert (status["state"], status["health"], status["unhealthy"]) == ("running", "unhealthy", 1)


async def test_a_deployment_of_an_image_that_is_nowhere_changes_nothing(docker: Docker, place: Place) -> None:
    old = docker.run("web")
    result = await place.do("deploy_service", service="web", image="localhost:9/nowhere:1")
    assert result.status is Status.FAILED
    assert names(docker) == {"web": "running"}
    docker.client.containers.get("web").reload()
    assert docker.client.containers.get("web").attrs["State"]["StartedAt"] == old.attrs["State"]["StartedAt"]


async def test_a_rollback_without_an_earlier_deployment_is_refused(docker: Docker, place: Place) -> None:
    docker.run("web")
    result = await place.do("rollback_service", service="web")
    assert (result.status, result.reason) == (Status.REFUSED, Reason.NOT_OFFERED), result.message


async def test_a_memory_limit_and_its_bounds(docker: Docker, place: Place) -> None:
    docker.run("web", mem_limit="64m")
    result = await place.do("update_memory_limit", service="web", memory_bytes=128 * 1024 * 1024)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert docker.client.containers.get("web").attrs["HostConfig"]["Memory"] == 128 * 1024 * 1024
    result = await place.do("update_memory_limit", service="web", memory_bytes=1024)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.SCHEMA)


@pytest.mark.parametrize(("swap", "after"), [(64, 96), (128, 192), (80, 120), (-1, -1)])
async def test_a_memory_limit_leaves_swap_in_proportion(docker: Docker, place: Place, swap: int, after: int) -> None:
    mib = 1024 * 1024
    docker.run("web", mem_limit=64 * mib, memswap_limit=swap if swap < 0 else swap * mib)
    result = await place.do("update_memory_limit", service="web", memory_bytes=96 * mib)
    assert result.status is Status.DONE, result.message
    host = docker.client.containers.get("web").attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (96 * mib, after if after < 0 else after * mib)


async def test_a_memory_limit_where_there_was_none_is_taken_back(docker: Docker, place: Place) -> None:
    """Docker takes no limit away: the whole of the host's memory is as good as none."""
    docker.run("probed")  # its probe never answers, so nothing helps it
    result = await place.do("update_memory_limit", service="probed", memory_bytes=64 * 1024 * 1024)
    assert (result.status, result.verification) == (Status.UNVERIFIED, Verification.NOT_RECOVERED), result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    host = docker.client.containers.get("probed").attrs["HostConfig"]
    assert host["Memory"] == docker.client.info()["MemTotal"]


async def test_an_engine_whose_clock_runs_ahead_is_not_skipped(
    docker: Docker, catalog: Catalog, tmp_path: Path
) -> None:
    """Its containers seem to have been started after the request."""
    web = docker.run("web")
    journal = await open_journal(f"sqlite:///{tmp_path}/behind.db")
    behind = UniversalInfrastructureInterface(
        catalog,
        journal,
        facts=ELSEWHERE,
        clock=lambda: time.time() - 3600,
    )
    await behind.start()
    result = await Place(behind).do("restart_service", service="web", grace_seconds=2)
    await behind.close(grace=5)
    await journal.close()
    assert (result.status, result.reason) == (Status.DONE, None), result.message
    assert docker.client.containers.get("web").attrs["State"]["StartedAt"] > web.attrs["State"]["StartedAt"]


async def test_labels_and_names_that_match_more_than_their_own_touch_nothing_else(docker: Docker, place: Place) -> None:
    """Docker's filter by id is a regular expression, and a container may bear another one's id as its name."""
    other = docker.run("other")
    docker.run(other.id, labels={"com.docker.compose.project": "|x", "com.docker.compose.service": "trap"})
    result = await place.do("restart_service", service="trap", grace_seconds=1)
    assert result.status is Status.DONE, result.message
    assert docker.client.containers.get("other").attrs["State"]["StartedAt"] == other.attrs["State"]["StartedAt"]


async def test_prune_tells_what_went_and_what_did_not(docker: Docker, place: Place) -> None:
    images = []
    for number in (1, 2):
        made = docker.create(f"made-{number}", ["true"])
        images.append(made.commit(conf={"Env": [f"N={number}"]}).id)
        made.remove()
    holds = docker.create("holds", ["true"], image=images[0])
    result = await place.do("prune_unused", kinds=["images"])
    assert result.status is Status.DONE, result.message
    assert images[1] in result.answer["removed"]
    assert images[0] not in result.answer["removed"]
    holds.remove()
    docker.client.images.remove(images[0])


async def test_a_command_is_data(docker: Docker, place: Place) -> None:
    docker.run("web")
    result = await place.do("run_command_in_service", service="web", command=["echo", "$(id)", "${HOME}", "{{x}}"])
    assert result.answer == {"service": "web", "exit_code": 0, "output": "$(id) ${HOME} {{x}}\n"}, result.message


@pytest.mark.skipif("UICI_TEST_DOCKER_HOST" in os.environ, reason="what others left on an engine that was lent stays")
async def test_prune_takes_what_is_unused_and_nothing_else(docker: Docker, place: Place) -> None:
    docker.create("old")
    docker.run("web")
    docker.volume("kept")
    docker.network("empty")
    result = await place.do("prune_unused", kinds=["containers", "networks"])
    assert result.status is Status.DONE, result.message
    assert set(result.answer["removed"]) == {"old", "empty"}
    assert names(docker) == {"web": "running"}
    assert docker.client.volumes.get("kept")

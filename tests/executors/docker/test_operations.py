"""The starter's operations on a real dockerd, through the whole engine: what they answer, change, verify and undo."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from docker.errors import APIError

from tests.engines.docker import RUNS, Docker
from tests.executors.docker.shop import Place, compose, names
from tests.executors.whole import ELSEWHERE
from uici.catalog import Catalog
from uici.engine import UniversalInfrastructureInterface
from uici.journal import open_journal
from uici.model import Reason, Status, Verification

pytestmark = pytest.mark.engine("docker")


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

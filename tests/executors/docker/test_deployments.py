"""The starter's deployments and rollbacks on a real dockerd, through the whole engine."""

from __future__ import annotations

import dataclasses
import time

import pytest

from tests.engines.docker import IMAGE, Docker
from tests.executors.docker.shop import NEXT, Place, broken, compose, names, tagged
from uici.catalog import Catalog
from uici.model import Environment, Reason, Status, Verification

pytestmark = pytest.mark.engine("docker")


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

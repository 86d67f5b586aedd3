"""A Compose service of several containers: another image of it never takes more of them away at a time than may go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.docker import IMAGE, Docker
from tests.executors.docker.shop import NEXT, Place, broken, compose, names, tagged
from uici.model import Origin, Reason, Request, Result, Status

pytestmark = pytest.mark.engine("docker")


def started(docker: Docker) -> dict[str, str]:
    return {one.name: one.attrs["State"]["StartedAt"] for one in docker.client.containers.list()}


def cart(docker: Docker, count: int, **more: Any) -> dict[str, str]:
    for number in range(1, count + 1):
        docker.run(f"shop-cart-{number}", labels=compose("cart"), **more)
    return started(docker)


def calls(result: Result, *paths: str) -> list[str]:
    return [one.name for one in result.evidence if one.kind == "call" and one.verdict == "done" and one.name in paths]


@pytest.mark.parametrize("operation", ["deploy_service", "rollback_service"])
async def test_successors_run_before_any_container_goes(docker: Docker, place: Place, operation: str) -> None:
    number = 3
    before = cart(docker, number)
    if operation == "rollback_service":
        deployed = await place.do("deploy_service", service="cart", image=tagged(docker))
        assert deployed.status is Status.DONE, deployed.message
    more = {"image": tagged(docker)} if operation == "deploy_service" else {}
    result = await place.do(operation, service="cart", **more)
    assert result.status is Status.DONE, result.message
    assert calls(result, "Container.start", "Container.stop") == [
        *["Container.start"] * number,
        *["Container.stop"] * number,
    ]
    assert names(docker) == dict.fromkeys(before, "running")
    image = NEXT if operation == "deploy_service" else IMAGE
    assert {one.attrs["Config"]["Image"] for one in docker.client.containers.list()} == {image}


async def test_a_dry_run_of_several_containers_waits_for_none(docker: Docker, place: Place) -> None:
    before = cart(docker, 2)
    request = Request(
        operation="deploy_service",
        parameters={"service": "cart", "image": tagged(docker)},
        environment="docker",
        dry_run=True,
    )
    result = await place.interface.execute(request, Origin("human", "anna"))
    assert result.status is Status.DONE, result.message
    would = [one.name for one in result.evidence if one.kind == "call" and one.verdict == "would"]
    assert would[:2] == ["api.create_container_from_config"] * 2
    assert "item.stop" in would or "Container.stop" in would
    assert started(docker) == before


@pytest.mark.parametrize(
    "script", ["#!/no/such/program\n", "#!/bin/busybox false\n"], ids=["cannot start", "ends at once"]
)
async def test_where_no_successor_runs_no_container_was_touched(docker: Docker, place: Place, script: str) -> None:
    before = cart(docker, 2)
    result = await place.do("deploy_service", service="cart", image=broken(docker, script))
    assert result.status is Status.FAILED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert started(docker) == before
    assert names(docker) == dict.fromkeys(before, "running")


async def test_successors_that_do_not_help_go_once_the_others_are_back(docker: Docker, place: Place) -> None:
    """Its probe answers from neither, so the deployment is verified not to help."""
    for number in (1, 2):
        docker.run(f"shop-probed-{number}", labels=compose("probed"))
    result = await place.do("deploy_service", service="probed", image=tagged(docker))
    assert (result.status, result.reason) == (Status.UNVERIFIED, Reason.VERIFICATION), result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert names(docker) == {"shop-probed-1": "running", "shop-probed-2": "running"}
    assert {one.attrs["Config"]["Image"] for one in docker.client.containers.list()} == {IMAGE}


async def test_a_service_that_is_down_is_deployed_and_taken_back(docker: Docker, place: Place) -> None:
    for number in (1, 2, 3):
        docker.run(f"shop-probed-{number}", labels=compose("probed")).stop(timeout=0)
    result = await place.do("deploy_service", service="probed", image=tagged(docker))
    assert result.status is Status.UNVERIFIED, result.message
    assert result.undo is not None
    assert result.undo["status"] == "done", result.undo
    assert set(names(docker).values()) == {"exited"}
    assert sorted(names(docker)) == ["shop-probed-1", "shop-probed-2", "shop-probed-3"]

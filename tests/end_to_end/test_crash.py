"""``kill -9`` of the daemon at four points of one restart; the next daemon settles by evidence, and nothing is done twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.end_to_end.place import WAIT, Place, firing, place
from tests.end_to_end.proxy import AFTER, BEFORE, SENT, proxy

if TYPE_CHECKING:
    from tests.engines.docker import Docker

pytestmark = [pytest.mark.engine("docker"), pytest.mark.xdist_group("end_to_end")]

STARTER = Path(__file__).parents[2] / "infrastructure" / "config" / "operations.yml"
RESTART = r"^POST \S+/restart"


@dataclass(frozen=True)
class Point:
    """``pattern`` and ``where``: of the request that is held when the daemon is killed. ``forwarded``: restarts that dockerd got
    until then. ``verdict``: how the doubt is settled, None where there is none."""

    pattern: str
    where: str
    intents: int
    forwarded: int
    verdict: str | None


POINTS = {
    "before-the-intent": Point(r"^GET \S+/containers/", BEFORE, 0, 0, None),
    "between-intent-and-call": Point(RESTART, BEFORE, 1, 0, "not_happened"),
    "during-the-call": Point(RESTART, SENT, 1, 1, "happened"),
    "between-call-and-outcome": Point(RESTART, AFTER, 1, 1, "happened"),
}


def quick(uici: Place) -> None:
    """The starter's restart with a shorter time, because a doubt is settled only after the call's deadline."""
    restart: dict[str, Any] = yaml.safe_load(STARTER.read_text())["operations"]["restart_service"]
    restart["timeout"] = "6s"
    restart["parameters"]["properties"]["grace_seconds"] |= {"maximum": 2, "default": 1}
    uici.write("operations", {"version": 1, "include": ["starter"], "operations": {"restart_service": restart}})


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_a_killed_daemon_forgets_nothing_and_does_nothing_twice(engine: Docker, tell: str, point: Point) -> None:
    web = engine.run(engine.name("web"))
    with proxy(engine.base_url) as docker, place(docker.url, escalate_to=tell) as uici:
        quick(uici)
        with uici.serving() as daemon:
            uici.ready()
            web.kill()
            with docker.holding(point.pattern, point.where) as hold:
                uici.alert(firing(web.name))
                assert hold.reached.wait(WAIT), uici.story()
                daemon.kill()
                daemon.wait()
        assert len(uici.entries("alert")) == 1
        assert uici.restarts() == point.intents
        assert uici.entries("outcome") == []
        assert sum("/restart" in line for line in docker.changes()) == point.forwarded

        with uici.serving():
            incident = uici.incident("watching", service=web.name)
        assert [one["verdict"] for one in uici.entries("settled")] == ([point.verdict] if point.verdict else [])
        assert sum("/restart" in line for line in docker.changes()) == 1
        assert [one["verification"] for one in incident["tried"] if one["changed"]] == ["recovered"]
    web.reload()
    assert web.status == "running"

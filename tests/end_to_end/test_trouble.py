"""What UICI does when its own ground gives way: a dead or frozen dockerd, a catalog broken under a running daemon."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.place import WAIT, firing, place, until
from tests.end_to_end.proxy import BEFORE, proxy
from tests.end_to_end.test_crash import RESTART, quick
from tests.engines.process import answers
from tests.monitoring.shipped import Listener

if TYPE_CHECKING:
    from tests.engines.docker import Docker

pytestmark = [pytest.mark.engine("docker"), pytest.mark.xdist_group("end_to_end")]


@pytest.fixture
def own() -> Iterator[Docker]:
    """A dockerd that this test may stop and freeze."""
    from tests.engines.docker import docker

    with docker(private=True) as one:
        yield one


def test_a_dead_dockerd_is_told_to_people_and_the_daemon_lives_on(own: Docker, people: Listener, tell: str) -> None:
    lost, found = own.run(own.name("lost")), own.run(own.name("found"))
    with place(own.base_url, escalate_to=tell) as uici, uici.serving() as daemon:
        uici.ready()
        own.kill()
        uici.alert(firing(lost.name))
        incident = uici.incident("escalated")
        assert incident["reason"] == "unreachable"
        _, letter = people.posts.get(timeout=WAIT)
        assert "local" in str(letter)
        assert answers(f"{uici.url}/healthz")
        assert uici.restarts() == 0

        own.start()
        found.reload()
        if found.status == "running":  # without its shim's engine it may have died with it
            found.kill()
        uici.alert(firing(found.name))
        uici.incident("watching", service=found.name)
        assert daemon.poll() is None
    found.reload()
    assert found.status == "running"


def test_a_dockerd_that_freezes_during_a_call_leaves_a_doubt_and_a_person_is_asked(
    own: Docker, people: Listener, tell: str
) -> None:
    web = own.run(own.name("web"))
    with proxy(own.base_url) as docker, place(docker.url, escalate_to=tell) as uici:
        quick(uici)
        with uici.serving() as daemon:
            uici.ready()
            web.kill()
            with docker.holding(RESTART, BEFORE) as hold:
                uici.alert(firing(web.name))
                assert hold.reached.wait(WAIT), uici.story()
                own.freeze()
                hold.let_pass()
                incident = uici.incident("escalated", service=web.name)
            own.thaw()
            assert incident["reason"] == "in_doubt"
            (outcome,) = [one for one in uici.entries("outcome") if one["status"] == "unknown"]
            assert outcome["message"]
            _, letter = people.posts.get(timeout=WAIT)
            assert web.name in str(letter)
            assert answers(f"{uici.url}/healthz")
            assert daemon.poll() is None
            assert sum("/restart" in line for line in docker.changes()) == 1


def test_a_catalog_broken_under_a_running_daemon_leaves_the_last_good_one(engine: Docker, tell: str) -> None:
    web = engine.run(engine.name("web"))
    with place(engine.base_url, escalate_to=tell) as uici, uici.serving() as daemon:
        uici.ready()
        good = (uici.catalog / "runbooks.yml").read_text()
        (uici.catalog / "runbooks.yml").write_text("version: 1\nrunbooks: [{name: broken, match: [}]\n")
        daemon.send_signal(signal.SIGHUP)
        until(
            lambda: [one for one in uici.entries("catalog") if not one["ok"]] or None,
            lambda: f"the broken catalog is recorded; {uici.story()}",
        )
        web.kill()
        uici.alert(firing(web.name))
        uici.incident("watching", service=web.name)

        (uici.catalog / "runbooks.yml").write_text(good)
        daemon.send_signal(signal.SIGHUP)
        until(
            lambda: uici.entries("catalog")[-1]["ok"] or None, lambda: f"the mended catalog is recorded; {uici.story()}"
        )
        assert daemon.poll() is None
    web.reload()
    assert web.status == "running"

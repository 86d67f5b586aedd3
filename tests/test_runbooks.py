"""The starter's runbooks with the real daemon on real engines: each usual alert, what is done about it, and what is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.place import Place, firing, place, until
from tests.engines.docker import RUNS, Docker, docker
from tests.engines.process import free_port
from tests.engines.supervisord import STAYS, supervisord

MIB = 1024 * 1024
#: Takes 38 MiB and keeps them.
TAKES_38 = ["sh", "-c", "mkfifo /p; sleep 1000 <>/p & exec dd if=/dev/zero bs=38M count=1 of=/p"]


@pytest.fixture
def engine() -> Iterator[Docker]:
    with docker() as one:
        yield one


@pytest.fixture
def uici(engine: Docker) -> Iterator[Place]:
    with place(engine.base_url) as one, one.serving():
        one.ready()
        yield one


def changed(uici: Place) -> list[str]:
    """The changing calls, in order."""
    return [one["call"]["path"] for one in uici.entries("intent")]


def ends(uici: Place, *states: str) -> dict[str, Any]:
    """The only incident, once it is in one of these states."""

    def seen() -> dict[str, Any] | None:
        found = uici.incidents()
        return found[0] if found and found[0]["state"] in states else None

    return until(seen, lambda: f"{' or '.join(states)}; {uici.story()}")


@pytest.mark.engine("docker")
def test_paused_is_continued(engine: Docker, uici: Place) -> None:
    name = f"web-{engine.mark}"
    container = engine.run(name)
    container.pause()
    uici.alert(firing(name, "ContainerPaused"))
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["runbook"]) == ("watching", "paused"), uici.story()
    assert changed(uici) == ["Container.unpause"]
    container.reload()
    assert container.status == "running"


@pytest.mark.engine("docker")
def test_an_alert_about_trouble_that_is_not_there_changes_nothing(engine: Docker, uici: Place) -> None:
    name = f"web-{engine.mark}"
    engine.run(name)
    uici.alert(firing(name, "ContainerKilled"))
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["reason"]) == ("watching", "nothing_to_do")
    assert changed(uici) == []


@pytest.mark.engine("docker")
@pytest.mark.parametrize("alert", ["ContainerKilled", "ServiceDown"])
def test_what_ran_once_and_ended_well_is_not_run_again_because_its_container_is_gone(
    engine: Docker, uici: Place, alert: str
) -> None:
    """A migration or a backup; that a service which should answer does not is another matter."""
    name = f"migrate-{engine.mark}"
    engine.run(name, ["true"]).wait(timeout=30)
    uici.alert(firing(name, alert))
    if alert == "ServiceDown":
        assert until(lambda: changed(uici), uici.story) == ["Container.restart"]
        return
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["reason"]) == ("watching", "nothing_to_do"), uici.story()
    assert changed(uici) == []


@pytest.mark.engine("docker")
def test_out_of_memory_gets_half_as_much_again_and_runs(engine: Docker, uici: Place) -> None:
    name = f"web-{engine.mark}"
    container = engine.run(name, TAKES_38, mem_limit=32 * MIB)
    container.wait(timeout=30)
    container.reload()
    if not container.attrs["State"]["OOMKilled"]:
        pytest.skip(f"this kernel does not tell of a kill for want of memory: {container.attrs['State']}")
    uici.alert(firing(name, "ContainerOomKilled"))
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["runbook"]) == ("watching", "out-of-memory"), uici.story()
    assert changed(uici) == ["Container.update", "Container.start"]
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 48 * MIB
    assert container.status == "running"


@pytest.mark.engine("docker")
def test_high_memory_gets_half_as_much_again_and_is_not_restarted(engine: Docker, uici: Place) -> None:
    name = f"web-{engine.mark}"
    container = engine.run(name, TAKES_38, mem_limit=44 * MIB)
    until(lambda: container.stats(stream=False)["memory_stats"].get("usage", 0) > 37 * MIB or None, "38 MiB taken")
    before = container.attrs["State"]["StartedAt"]
    uici.alert(firing(name, "ContainerHighMemoryUsage", severity="warning"))
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["runbook"]) == ("watching", "high-memory"), uici.story()
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 66 * MIB
    assert container.attrs["State"]["StartedAt"] == before


@pytest.mark.engine("docker")
def test_a_crash_loop_is_not_restarted_in_vain(engine: Docker, uici: Place) -> None:
    name = f"web-{engine.mark}"
    loop = ["sh", "-c", "echo 'panic: no such table'; exit 1"]
    container = engine.run(name, loop, restart_policy={"Name": "always"})

    def restarted() -> bool | None:
        container.reload()
        return container.attrs["RestartCount"] >= 3 or None

    until(restarted, "three restarts")
    uici.alert(firing(name, "ContainerRestartingOften", severity="warning"))
    incident = ends(uici, "watching", "escalated")
    assert (incident["state"], incident["runbook"]) == ("escalated", "crash-loop"), uici.story()
    assert changed(uici) == [], "no previous image is known, and a restart is in vain"
    assert "no such table" in incident["message"], "it says what it found"


@pytest.mark.engine("docker")
@pytest.mark.parametrize(("alert", "policy"), [("ContainerRestartingOften", "always"), ("ServiceDown", "no")])
@pytest.mark.parametrize("hours", [1, 30])
def test_an_image_is_blamed_for_a_day(engine: Docker, uici: Place, alert: str, policy: str, hours: int) -> None:
    """What ran for longer before its trouble began is not gone back from."""
    name = f"web-{engine.mark}"
    loop = ["sh", "-c", "echo ModuleNotFoundError; exit 1"]
    container = engine.run(name, loop, restart_policy={"Name": policy}, labels={"uici.previous-image": engine.image()})
    if policy == "no":
        container.wait(timeout=30)
    else:
        until(lambda: container.reload() or container.attrs["RestartCount"] >= 3 or None, "three restarts")
    began = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    uici.alert({**firing(name, alert), "startsAt": began})
    back = "api.create_container_from_config"
    if hours == 1:
        until(lambda: back in changed(uici) or None, uici.story)
    else:
        ends(uici, "watching", "escalated")
        assert back not in changed(uici)


@pytest.mark.engine("docker")
def test_a_full_disk_is_for_a_person_who_is_told_what_there_is(engine: Docker, uici: Place) -> None:
    broken = engine.run(f"ill-{engine.mark}", ["sh", "-c", "exit 3"])
    broken.wait(timeout=30)
    uici.alert(firing("", "HostOutOfDiskSpace", instance="host:9100", mountpoint="/", severity="warning"))
    incident = ends(uici, "escalated")
    assert incident["runbook"] == "disk-full"
    assert broken.name in incident["message"]
    assert changed(uici) == []


@pytest.mark.engine("docker")
@pytest.mark.parametrize("known", [True, False])
def test_the_last_resort_looks_and_tells(engine: Docker, uici: Place, known: bool) -> None:
    name = f"web-{engine.mark}"
    engine.run(name, ["sh", "-c", f"echo something odd; {RUNS[2]}"])
    uici.alert(firing(name if known else "nobody", "ChecksumsDiffer"))
    incident = ends(uici, "escalated")
    assert incident["runbook"] == "last-resort"
    assert "environment_health" in incident["message"]
    assert ("something odd" in incident["message"]) == known
    assert changed(uici) == []


@pytest.mark.engine("supervisord")
def test_a_service_whose_dependency_is_down_is_not_restarted_in_vain() -> None:
    with (
        supervisord(
            {"web": {"command": STAYS, "autostart": "false"}, "db": {"command": STAYS, "autostart": "false"}}
        ) as one,
        place(one.url, executor="supervisor") as uici,
    ):
        uici.write(
            "environments",
            {
                "version": 1,
                "environments": {
                    "local": {
                        "executor": "supervisor",
                        "settings": {"url": one.url},
                        "alerts": ['cluster="local"'],
                        "autonomy": "change",
                        "inventory": {"services": {"web": {"depends_on": ["db"]}}},
                    }
                },
            },
        )
        with uici.serving():
            uici.ready()
            uici.alert(firing("web"))
            incident = until(
                lambda: next((found for found in uici.incidents() if found["reason"] == "dependency"), None),
                uici.story,
            )
            assert "web depends on db, which is stopped" in incident["message"]
            assert changed(uici) == []
            assert one.info("web")["statename"] == "STOPPED"
            # Its cause can be healed: the dependency's own alert.
            uici.alert(firing("db"))
            uici.incident("watching", service="db")
            assert one.info("db")["statename"] == "RUNNING"


@pytest.mark.engine("supervisord")
def test_a_hanging_process_is_seen_by_its_probe_and_restarted() -> None:
    port = free_port()
    service = Path(__file__).parent.parent / "uici/cli/demo_service.py"
    with (
        supervisord({"web": f"{sys.executable} {service} web {port}"}) as one,
        place(one.url, executor="supervisor") as uici,
    ):
        probe = f"http://127.0.0.1:{port}/"
        environment = {
            "executor": "supervisor",
            "settings": {"url": one.url},
            "autonomy": "change",
            "inventory": {"services": {"web": {"probe": probe}}},
        }
        uici.write("environments", {"version": 1, "environments": {"local": environment}})
        with uici.serving():
            uici.ready()
            one.call("supervisor.signalProcess", "web", "USR1")
            uici.alert(firing("web", "BlackboxProbeFailed", instance=probe))
            incident = ends(uici, "watching", "escalated")
            assert (incident["state"], incident["runbook"]) == ("watching", "unhealthy"), uici.story()
            assert changed(uici) == ["supervisor.stopProcess", "supervisor.startProcess"]

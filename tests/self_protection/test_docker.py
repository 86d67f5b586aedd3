"""UICI in a container of the engine that it controls: no way of asking it to stop itself, or what it needs, succeeds.

The container runs the real code that gathers the facts about itself. Everything else that could refuse is switched off:
a person asks and confirms, the environment lets everything be done, and no policy protects anything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.docker import RUNS, Docker, host_python
from tests.engines.docker import docker as engine
from tests.executors.whole import running
from tests.self_protection import attacks
from uici.catalog import UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts
from uici.model import Reason, Request, Status

pytestmark = [pytest.mark.engine("docker"), pytest.mark.xdist_group("self_protection_docker")]

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE.parent / "cases/self_protection_docker.yml").read_text())
FACTS = """
import dataclasses, json
from uici.engine import gather
print(json.dumps(dataclasses.asdict(gather(listens=["0.0.0.0:8080"], needs=["db:5432", "127.0.0.1:6379"],
                                           paths=["/var/lib/uici/journal.db"], depends_on=["cold"]))))
"""


NAMES = (
    "ops-uici-1", "ops-store-1", "ops-dns-1", "ops-metrics-1", "ops-proxy-1", "sidecar", "anchor", "cold", "peer", "web", "boss",
    "understudy",
)  # fmt: skip


FIRST = (
    "a command in a container that has Docker's socket",
    "a file into a container that has Docker's socket",
    "stop by name",
)


@dataclass(frozen=True)
class Scene:
    docker: Docker
    facts: Facts
    words: dict[str, str]

    def state(self) -> dict[str, Any]:
        """All that no attack may change."""
        client = self.docker.client
        seen: dict[str, Any] = {}
        for name in NAMES:
            attrs = client.containers.get(name).attrs
            limits = {key: attrs["HostConfig"][key] for key in ("Memory", "CpuQuota", "RestartPolicy")}
            networks = {key: end["Aliases"] for key, end in attrs["NetworkSettings"]["Networks"].items()}
            seen[name] = (attrs["Id"], attrs["State"]["StartedAt"], attrs["State"]["Status"], limits, networks)
        seen["containers"] = sorted(one["Id"] for one in client.api.containers(all=True))
        seen["volumes"] = sorted(one.id for one in client.volumes.list())
        seen["networks"] = sorted(one.id for one in client.networks.list())
        seen["images"] = sorted((one.id, *one.tags) for one in client.images.list())
        return seen


def compose(service: str, **more: str) -> dict[str, str]:
    return {"com.docker.compose.project": "ops", "com.docker.compose.service": service, **more}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    link = tmp_path_factory.mktemp("links") / "harmless"
    with engine(private="UICI_TEST_DOCKER_HOST" not in os.environ) as docker:
        busybox = docker.client.images.get(docker.image())
        docker.network("ops_net")
        state, data = docker.volume("uici_state").name, docker.volume("store_data").name
        docker.run(
            "ops-store-1", network="ops_net", labels=compose("store"), volumes={data: {"bind": "/data", "mode": "rw"}}
        )
        docker.client.networks.get("ops_net").disconnect("ops-store-1")
        docker.client.networks.get("ops_net").connect("ops-store-1", aliases=["db", "store"])
        docker.create("understudy", network="ops_net")
        docker.client.networks.get("ops_net").disconnect("understudy")
        docker.client.networks.get("ops_net").connect("understudy", aliases=["db"])
        docker.run("ops-dns-1", labels=compose("dns"))
        for name in ("ops-metrics-1", "ops-proxy-1", "peer"):
            docker.run(name, network="ops_net")
        docker.run("anchor")
        docker.create("cold")
        docker.run("web")
        socket = docker.base_url.removeprefix("unix://")
        docker.run("boss", volumes={socket: {"bind": "/s.sock", "mode": "rw"}})
        marked = docker.create("to-mark", ["sh", "-c", "echo uici > /made"])
        marked.start()
        marked.wait()
        image = marked.commit(repository="uici-test/uici", tag="1")
        marked.remove()
        assert image.id != busybox.id
        uici = docker.run(
            "ops-uici-1",
            RUNS,
            image="uici-test/uici:1",
            network="ops_net",
            pid_mode="container:anchor",
            labels=compose("uici", **{"com.docker.compose.depends_on": "store:service_started:false,dns:x:true"}),
            volumes={
                **host_python(),
                state: {"bind": "/var/lib/uici", "mode": "rw"},
                socket: {"bind": "/s.sock", "mode": "rw"},
            },
        )
        docker.run("sidecar", network_mode="container:ops-uici-1")
        docker.create(uici.id)  # bears the other's id as its name, and is listed before it
        python = str(Path(sys.prefix, "bin", "python"))
        ran = uici.exec_run([python, "-c", FACTS], environment={"PATH": "/bin", "PYTHONPATH": str(HERE.parents[1])})
        assert ran.exit_code == 0, ran.output.decode()
        facts = json.loads(ran.output)
        assert uici.id in facts["containers"]
        link.symlink_to(docker.client.volumes.get(state).attrs["Mountpoint"])
        words = {
            "UICI_ID": uici.id,
            "UICI_SHORT": uici.id[:12],
            "NET_SHORT": str(docker.client.networks.get("ops_net").id)[:12],
            "UICI_IMAGE_SHORT": image.id.removeprefix("sha256:")[:12],
            "UICI_IMAGE": image.id,
            "MOUNTPOINT": docker.client.volumes.get(state).attrs["Mountpoint"],
            "ROOT_DIR": docker.client.info()["DockerRootDir"],
            "CHECKOUT": str(HERE.parents[1]),
            "SOCKET": socket,
            "LINK": str(link),
        }
        yield Scene(docker, attacks.facts(facts), words)


def _filled(case: Any, words: dict[str, str]) -> Any:
    text = json.dumps(case)
    for word, value in words.items():
        text = text.replace(word, value)
    return json.loads(text)


@pytest.fixture(scope="module")
def catalog(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's operations and translations, one operation for each attack, and nothing that would refuse it."""
    folder = tmp_path_factory.mktemp("catalog")
    alias = folder / "alias.sock"
    alias.symlink_to(scene.docker.base_url.removeprefix("unix://"))
    settings = {
        name: {"base_url": url}
        for name, url in (
            ("docker", scene.docker.base_url),
            ("alias", f"unix://{alias}"),
            ("proxied", "tcp://ops-proxy-1:2375"),
        )
    }
    monitoring = {"monitoring": {"prometheus": "http://ops-metrics-1:9090"}}
    return attacks.write(folder, "docker", settings, _filled(CASES, scene.words), platform=monitoring)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
async def test_refused(
    scene: Scene, infrastructure: UniversalInfrastructureInterface, number: int, dry_run: bool
) -> None:
    case = _filled(CASES[number], scene.words)
    before = scene.state()
    request = attacks.request(number, case, "docker", dry_run=dry_run)
    result = await infrastructure.execute(request, attacks.ANNA)
    assert result.status is Status.REFUSED, result.message
    reasons = case.get("reasons", [Reason.SELF, Reason.PROTECTED, Reason.UNRESOLVED])
    assert result.reason in reasons, result.message
    assert scene.state() == before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", FIRST)
async def test_refused_as_the_very_first_change_after_a_start(
    scene: Scene, catalog: Path, tmp_path: Path, name: str
) -> None:
    """Nothing has been asked about UICI itself yet."""
    number = [case["name"] for case in CASES].index(name)
    async with running(UniversalConfigLoader(catalog).load(), tmp_path, facts=scene.facts) as interface:
        before = scene.state()
        result = await interface.execute(attacks.request(number, CASES[number], "docker"), attacks.ANNA)
        assert (result.status, result.reason) == (Status.REFUSED, Reason.SELF), result.message
        assert scene.state() == before


def test_there_are_at_least_forty_ways() -> None:
    assert len(CASES) >= 40


BYSTANDERS = [
    ("restart_service", {"service": "web", "grace_seconds": 1}, Status.DONE),
    ("update_memory_limit", {"service": "web", "memory_bytes": 33554432}, Status.DONE),
    ("run_command_in_service", {"service": "web", "command": ["true"]}, Status.DONE),
    ("stop_service", {"service": "boss", "grace_seconds": 1}, Status.DONE),
    ("remove_service", {"service": "web"}, Status.DONE),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("operation", "parameters", "status"), BYSTANDERS, ids=[one[0] for one in BYSTANDERS])
async def test_bystanders_are_not_protected_by_mistake(
    infrastructure: UniversalInfrastructureInterface, operation: str, parameters: dict[str, Any], status: Status
) -> None:
    request = Request(operation=operation, parameters=parameters, environment="docker", confirm=True)
    result = await infrastructure.execute(request, attacks.ANNA)
    assert result.status is status, result.message

"""The demo as a stranger runs it: what it shows, its exit status, and that nothing is left however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.docker import docker
from tests.engines.kubernetes import BUSYBOX, Cluster
from uici.cli import demo

COMMAND = [sys.executable, "-c", "from uici.cli import main; main()", "demo"]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder of its own, short enough for unix sockets, so that what is left is seen."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="uici-t-") as made:
        yield Path(made)


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **more}


def left_in(folder: Path) -> list[str]:
    """Files and processes that are left; a process of the demo has its folder as working directory."""
    found = [str(path) for path in folder.iterdir()]
    for entry in Path("/proc").iterdir():
        try:
            where = str((entry / "cwd").readlink()) if entry.name.isdigit() else ""
        except OSError:
            continue
        if where.startswith(str(folder)):
            found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


CLAIMS = (
    "the restart was verified as recovered",
    "answers again",
    "was alive all the while",
    "its incident is resolved",
    "a restart of UICI itself was refused (self)",
    "an operation that the catalog lacks was refused (unknown_operation)",
    "nothing is left running",
)


@pytest.mark.engine("supervisord")
def test_it_shows_two_recoveries_and_two_refusals_and_leaves_nothing(folder: Path) -> None:
    # A proxy that there is not, as behind a company's wall, and another UICI's settings.
    around = environ(folder, http_proxy="http://127.0.0.1:9", UICI_CONFIG="/nowhere", UICI_SERVER="http://127.0.0.1:9")
    done = subprocess.run(COMMAND, env=around, cwd=folder, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for claim in CLAIMS:
        assert claim in done.stdout, claim
    assert "ServiceDown" in done.stdout
    assert "intent written down, then the call: supervisor.startProcess" in done.stdout
    assert "\x1b" not in done.stdout, "colour is for terminals"
    assert left_in(folder) == []


@pytest.mark.engine("supervisord")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_in_the_middle_it_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        COMMAND, env=environ(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        seen = ""
        for line in process.stdout or ():
            seen += line
            if "incident: acting" in line:
                process.send_signal(number)
                break
        else:
            pytest.fail(f"it never came to act:\n{seen}")
        seen += (process.stdout.read() if process.stdout else "") or ""
        assert process.wait(90) == 130, seen
    assert "interrupted" in seen
    assert left_in(folder) == []


@pytest.mark.engine("supervisord")
def test_what_does_not_hold_ends_it_with_1_and_the_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = demo.write_catalog

    def broken(*arguments: object) -> object:
        config, tokens = write(*arguments)  # type: ignore[arg-type]
        (config / "runbooks.yml").write_text("version: 1\nrunbooks: 5\n")
        return config, tokens

    monkeypatch.setattr(demo, "write_catalog", broken)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert demo.run("supervisor") == 1
    said = capsys.readouterr().err
    assert "The demo failed: UICI's daemon ended at its start" in said
    assert "runbooks.yml:2" in said, "the daemon's own words are shown"
    assert left_in(folder) == []


def test_a_claim_that_does_not_hold_is_not_made() -> None:
    story = demo._Story.__new__(demo._Story)
    story.proven = []
    with pytest.raises(demo.DemoError, match="web answers again"):
        story.claim(False, "web answers again")
    assert story.proven == []


def test_without_a_docker_it_says_so_and_how_to_mend_it(folder: Path) -> None:
    pytest.importorskip("docker")
    gone = environ(folder, DOCKER_HOST=f"unix://{folder}/no.sock")
    done = subprocess.run([*COMMAND, "-e", "docker"], env=gone, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"no Docker answers at unix://{folder}/no.sock" in done.stderr
    assert "docker info must work" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(folder) == []


def test_another_place_is_a_usage_error(folder: Path) -> None:
    done = subprocess.run([*COMMAND, "-e", "moon"], env=environ(folder), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "supervisor, docker, kubernetes" in done.stderr


@pytest.mark.parametrize(
    ("settings", "said", "cure"),
    [
        (None, "there is no kubeconfig with a current context", "kubectl get namespaces must work"),
        ("https://127.0.0.1:1", "no Kubernetes answers at https://127.0.0.1:1", "uici demo"),
    ],
)
def test_without_a_cluster_it_says_so_and_how_to_mend_it(
    folder: Path, tmp_path: Path, settings: str | None, said: str, cure: str
) -> None:
    pytest.importorskip("kubernetes")
    config = tmp_path / "kubeconfig"
    if settings is not None:
        context = {"name": "here", "context": {"cluster": "one", "user": "one"}}
        document = {
            "clusters": [{"name": "one", "cluster": {"server": settings}}],
            "users": [{"name": "one", "user": {"token": "any"}}],
            "contexts": [context],
            "current-context": "here",
        }
        config.write_text(json.dumps(document))
    around = environ(folder, KUBECONFIG=str(config))
    done = subprocess.run([*COMMAND, "-e", "kubernetes"], env=around, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert said in done.stderr
    assert cure in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(folder) == []


HEALED = (
    "the rollback was verified as recovered",
    "the old Pod of web served all the while",
    "web answers again",
    "its incident is resolved",
    "a restart of UICI itself was refused (self)",
    "nothing is left running",
)


def demos(cluster: Cluster) -> list[str]:
    return cluster.kubectl("get", "namespaces", "--selector=uici.demo", "--output=name").split()


@pytest.mark.engine("kubernetes", "supervisord")
def test_a_bad_release_is_rolled_back_on_a_cluster(cluster: Cluster, folder: Path) -> None:
    around = environ(folder, KUBECONFIG=str(cluster.kubeconfig), UICI_DEMO_IMAGE=BUSYBOX)
    done = subprocess.run([*COMMAND, "-e", "kubernetes"], env=around, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    for claim in HEALED:
        assert claim in done.stdout, claim
    assert "AppsV1Api.patch_namespaced_deployment" in done.stdout
    assert demos(cluster) == []
    assert left_in(folder) == []


@pytest.mark.engine("kubernetes", "supervisord")
def test_interrupted_it_leaves_no_namespace(cluster: Cluster, folder: Path) -> None:
    around = environ(folder, KUBECONFIG=str(cluster.kubeconfig))
    command = [*COMMAND, "-e", "kubernetes", "--image", BUSYBOX]
    process = subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process:
        seen = ""
        for line in process.stdout or ():
            seen += line
            if "web runs" in line:
                assert demos(cluster) != []
                process.send_signal(signal.SIGINT)
                break
        seen += (process.stdout.read() if process.stdout else "") or ""
        assert process.wait(100) == 130, seen
    assert demos(cluster) == []
    assert left_in(folder) == []


@pytest.mark.engine("kubernetes")
def test_a_login_that_may_not_is_told_what_it_may_not(cluster: Cluster, folder: Path) -> None:
    with cluster.namespace() as namespace:
        config = cluster.kubeconfig_for("default", namespace)
        around = environ(folder, KUBECONFIG=str(config))
        done = subprocess.run([*COMMAND, "-e", "kubernetes"], env=around, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "does not let this login create a namespace: 403 namespaces is forbidden" in done.stderr
    assert left_in(folder) == []


@pytest.mark.engine("docker", "supervisord")
def test_the_same_on_containers(folder: Path) -> None:
    with docker() as engine:
        images = {tag for image in engine.client.images.list() for tag in image.tags}
        host = environ(folder, DOCKER_HOST=engine.base_url)
        done = subprocess.run(
            [*COMMAND, "-e", "docker"], env=host, cwd=folder, capture_output=True, text=True, timeout=170
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for claim in CLAIMS:
            assert claim in done.stdout, claim
        assert "the call: Container.restart" in done.stdout
        assert engine.client.containers.list(all=True, filters={"label": "uici.demo"}) == []
        left = {tag for image in engine.client.images.list() for tag in image.tags} - images
        assert not [tag for tag in left if "demo" in tag]
    assert left_in(folder) == []

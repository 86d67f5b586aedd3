"""Whether this machine is a Docker host, before any engine is asked: a socket that is there, as ``DOCKER_HOST`` names it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from uici_executors.docker.executor import DockerExecutor

CASES = [
    ("unix://{there}", "unix://{there}"),
    ("unix://{there}.not", None),
    ("unix://{file}", None),
    ("tcp://127.0.0.1:2375", "unix://{usual}"),
    ("ssh://somewhere", "unix://{usual}"),
    ("", "unix://{usual}"),
]


@pytest.mark.parametrize(("named", "found"), CASES)
def test_detect(named: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"there": tmp_path / "d.sock", "usual": tmp_path / "docker.sock", "file": tmp_path / "file"}
    places["file"].write_text("")
    monkeypatch.setattr("uici_executors.docker.executor.DEFAULT_SOCKET", str(places["usual"]))
    monkeypatch.setenv("DOCKER_HOST", named.format(**places))
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as there, socket.socket(socket.AF_UNIX) as usual:
        there.bind("d.sock")
        usual.bind("docker.sock")
        said = DockerExecutor().detect()
    assert said == (None if found is None else {"base_url": found.format(**places)})

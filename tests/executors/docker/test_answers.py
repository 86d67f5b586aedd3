"""What is recorded of an answer: plain data, no values of variables, times that compare as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call
from uici.executor import Done, Executor, Target
from uici_executors.docker import answers, listeners


@pytest.mark.engine("docker")
@pytest.mark.parametrize("path", ["containers.get", "containers.list", "api.inspect_container"])
async def test_values_of_variables_stay_with_the_engine(docker: Docker, executor: Executor, path: str) -> None:
    secret = "hunter2=${x}"
    web = docker.create("web", environment={"PASSWORD": secret, "EMPTY": ""})
    given: dict[str, Any] = {
        "containers.get": {"container_id": web.id},
        "containers.list": {"all": True, "filters": {"id": [web.id]}},
        "api.inspect_container": {"container": web.id},
    }[path]
    outcome = await executor.run(call(path, **given))
    assert isinstance(outcome, Done)
    recorded = json.dumps(outcome.answer)
    assert "hunter2" not in recorded
    assert f"PASSWORD=${{docker:{web.id}:PASSWORD}}" in recorded
    # A call that carries the reference gets the value again, right before it is sent.
    config = {"Image": docker.image(), "Cmd": ["true"], "Env": [f"PASSWORD=${{docker:{web.id}:PASSWORD}}"]}
    made = await executor.run(
        call("api.create_container_from_config", config={**config, "HostConfig": {"NetworkMode": "none"}}, name="copy")
    )
    assert isinstance(made, Done), made
    [copy] = await executor.locate(Target(kind="service", name="copy"))
    assert f"PASSWORD={secret}" in docker.client.containers.get(copy.id).attrs["Config"]["Env"]
    docker.client.containers.get(copy.id).remove()


@pytest.mark.engine("docker")
async def test_a_reference_that_somebody_wrote_stays_what_it_is(docker: Docker, executor: Executor) -> None:
    """Only where a recorded configuration carries it is it the executor's own; a parameter's text is never filled in."""
    db = docker.run("db", environment={"PASSWORD": "hunter2"})
    reference = f"${{docker:{db.id}:PASSWORD}}"
    [found] = await executor.locate(Target(kind="service", name="db"))
    said = await executor.run(call("Container.exec_run", found, cmd=["echo", reference]))
    assert isinstance(said, Done)
    assert said.answer == {"exit_code": 0, "output": f"{reference}\n"}
    config = {
        "Image": docker.image(),
        "Cmd": ["echo", reference],
        "Env": [f"OTHER={reference}", f"PASSWORD=x{reference}"],
        "Labels": {"x": reference},
        "HostConfig": {"NetworkMode": "none"},
    }
    made = await executor.run(call("api.create_container_from_config", config=config, name="copy"))
    assert isinstance(made, Done), made
    copy = docker.client.containers.get("copy")
    assert "hunter2" not in json.dumps(copy.attrs)
    copy.remove()


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (b"text\xff", "text\ufffd"),
        ({"ContainerSpec": {"Env": ["A=secret", "B"]}}, {"ContainerSpec": {"Env": ["A=***", "B"]}}),
        ({"Settings": {"Env": ["A=secret"]}}, {"Settings": {"Env": ["A=***"]}}),
        ([b"a", 1, None, (2.5, True)], ["a", 1, None, [2.5, True]]),
        (iter([b"a\n", b"b\n"]), "a\nb\n"),
        (iter([{"status": "x"}]), [{"status": "x"}]),
        ({"StartedAt": "2026-11-25T18:00:00.5Z"}, {"StartedAt": "2026-11-25T18:00:00.500000000Z"}),
        ({"Created": 1795632630}, {"Created": 1795632630}),
        (
            {"FormatAt": "1 o'clock", "Name": "2026-11-25T18:00:00Z"},
            {"FormatAt": "1 o'clock", "Name": "2026-11-25T18:00:00Z"},
        ),
        ({"FinishedAt": "0001-01-01T00:00:00Z"}, {"FinishedAt": "0001-01-01T00:00:00.000000000Z"}),
    ],
    ids=[
        "bytes",
        "a swarm service",
        "a plugin",
        "list",
        "stream of text",
        "stream of data",
        "time",
        "number",
        "no time",
        "never",
    ],
)
def test_plain(given: Any, recorded: Any) -> None:
    assert answers.plain(given) == recorded


def test_a_stream_without_an_end_is_cut() -> None:
    def endless() -> Any:
        while True:
            yield b"x" * 1000

    assert len(answers.plain(endless())) == answers.LONGEST


def test_who_listens_cannot_be_told_without_the_right_to_look(tmp_path: Path) -> None:
    """A port that somebody serves, and no process whose files may be read: nobody can tell."""
    net = tmp_path / "self/net"
    net.mkdir(parents=True)
    (net / "tcp").write_text("head\n 0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n")
    (tmp_path / "12").mkdir()
    assert listeners.serving(8080, tmp_path) is None
    assert listeners.serving(8081, tmp_path) == frozenset()

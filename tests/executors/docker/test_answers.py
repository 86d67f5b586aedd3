"""What is recorded of an answer: plain data, no values of variables, times that compare as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import errors as docker_errors

from tests.engines.docker import Docker
from tests.executors.docker.conftest import call
from uici.executor import Done, Executor, Rejected, Target
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


def scene(docker: Docker) -> dict[str, Any]:
    """What the look-ups below name: a container that runs, one that ended and said something, one with a terminal."""
    web = docker.run("web", environment={"PASSWORD": "x"}, labels={"of": "the test"})
    old = docker.run("old", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    tty = docker.run("tty", ["sh", "-c", "echo seen; exit 0"], tty=True)
    for one in (old, tty):
        one.wait()
    return {"web": web, "old": old, "tty": tty, "image": docker.image()}


LOOKUPS: dict[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "by id": lambda on: ("containers.get", {"container_id": on["web"].id}),
    "by name": lambda on: ("containers.get", {"container_id": "old"}),
    "not there": lambda on: ("containers.get", {"container_id": "nobody"}),
    "all, listed": lambda on: ("containers.list", {"all": True, "sparse": True}),
    "all, whole": lambda on: ("containers.list", {"all": True}),
    "whole, by their ids": lambda on: (
        "containers.list",
        {"all": True, "ignore_removed": True, "filters": {"id": [on["web"].id, on["old"].id]}},
    ),
    "listed, by a label": lambda on: ("containers.list", {"sparse": True, "filters": {"label": ["of=the test"]}}),
    "a filter that is none": lambda on: ("containers.list", {"sparse": True, "filters": {"nonsense": ["x"]}}),
    "an image": lambda on: ("images.get", {"name": on["image"]}),
    "images": lambda on: ("images.list", {}),
    "a network": lambda on: ("networks.get", {"network_id": "bridge"}),
    "networks": lambda on: ("networks.list", {}),
    "low level": lambda on: ("api.inspect_container", {"container": on["old"].id}),
    "version": lambda on: ("version", {}),
    "ping": lambda on: ("ping", {}),
    "a log": lambda on: ("Container.logs", {"tail": 5}),
    "a log of one stream": lambda on: ("Container.logs", {"tail": 5, "stdout": False}),
    "all of a log": lambda on: ("Container.logs", {}),
    "a log with times": lambda on: ("Container.logs", {"tail": 1, "timestamps": True}),
    "a terminal's log": lambda on: ("Container.logs", {"tail": 5}),
    "reload": lambda on: ("Container.reload", {}),
    "diff": lambda on: ("Container.diff", {}),
}


def in_order(look: str, answer: Any) -> Any:
    """Docker lists networks, and images that were made within one second, in any order, and in another one each time."""
    return sorted(answer, key=lambda one: one["Id"]) if look in ("images", "networks") else answer


@pytest.mark.engine("docker")
@pytest.mark.parametrize("look", LOOKUPS)
async def test_a_look_is_answered_as_docker_py_itself_would(docker: Docker, executor: Executor, look: str) -> None:
    """However it was asked for: what is recorded is what docker-py gives, an error its own error's names."""
    on = scene(docker)
    path, arguments = LOOKUPS[look](on)
    name = "tty" if "terminal" in look else "old"
    receiver, _, method = path.rpartition(".")

    def docker_py() -> Any:
        if receiver == "Container":
            model = docker.client.containers.get(on[name].id)
            given = getattr(model, method)(**arguments)
            return answers.plain(model if method == "reload" else given)
        try:
            return answers.plain(
                getattr(getattr(docker.client, receiver) if receiver else docker.client, method)(**arguments)
            )
        except docker_errors.APIError as error:
            return type(error).__name__

    [found] = await executor.locate(Target(kind="service", name=name))
    alike = 0
    while alike < 2:  # once, and again when more is known
        expected = docker_py()
        outcome = await executor.run(call(path, found if receiver == "Container" else None, **arguments))
        if in_order(look, expected) != in_order(look, docker_py()):
            continue  # a second went by, which a listing shows
        alike += 1
        if isinstance(outcome, Done):
            assert in_order(look, outcome.answer) == in_order(look, expected)
        else:
            assert isinstance(outcome, Rejected)
            assert outcome.errors[0] == expected


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


@pytest.mark.engine("docker")
async def test_nothing_is_made_without_the_values_that_it_was_to_have(docker: Docker, executor: Executor) -> None:
    db = docker.run("db", environment={"PASSWORD": "hunter2"})
    for id, name in ((db.id, "TOKEN"), ("0" * 64, "PASSWORD")):
        config = {"Image": docker.image(), "Env": [f"{name}=${{docker:{id}:{name}}}"]}
        made = await executor.run(call("api.create_container_from_config", config=config, name="copy"))
        assert isinstance(made, Rejected), made
        assert f"the value of {name} was to be read from container {id[:12]}" in made.message
    assert [one.name for one in docker.client.containers.list(all=True)] == ["db"]


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (b"text\xff", "text\ufffd"),
        ({"ContainerSpec": {"Env": ["A=secret", "B"]}}, {"ContainerSpec": {"Env": ["A=***", "B"]}}),
        ({"Settings": {"Env": ["A=secret"]}}, {"Settings": {"Env": ["A=***"]}}),
        ({"JoinTokens": {"Worker": "SWMTKN-1-x", "Manager": "y"}}, {"JoinTokens": {"Worker": "***", "Manager": "***"}}),
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
        "a swarm",
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

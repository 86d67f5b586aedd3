"""What is wrong with a step is told without an engine; the tables fit the docker-py that is installed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from uici.executor import StepToCheck
from uici_executors.docker import DockerExecutor, risks, sdk, words

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/docker/check.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_check(case: dict[str, Any]) -> None:
    checked = DockerExecutor().check(
        StepToCheck(
            path=case["path"],
            arguments=case["arguments"],
            dialect="docker",
            accept=tuple(case.get("accept", ())),
            retry=tuple(case.get("retry", ())),
            stream=case.get("stream", False),
        )
    )
    assert [problem.code for problem in checked.problems] == case.get("codes", [])
    assert (checked.risk.value, checked.answer) == (case["risk"], case.get("answer"))
    if "hint" in case:
        assert case["hint"] in checked.problems[0].hint


def test_every_risk_in_the_tables_is_of_a_call_that_exists() -> None:
    unknown = [path for path in risks.OBSERVE | risks.CHANGE if path not in words.METHODS and sdk.find(path) is None]
    assert unknown == []


def test_every_method_with_open_arguments_is_known_by_name() -> None:
    """A docker-py that gives `**kwargs` to one more method has to be looked at."""
    blind = []
    owners = {**sdk.COLLECTIONS, **sdk.MODELS, "": docker.DockerClient}
    for receiver, owner in owners.items():
        for name in dir(owner):
            path = f"{receiver}.{name}" if receiver else name
            if sdk.find(path) is None or path in sdk.BEHIND or path in sdk.EXTRA:
                continue
            kinds = {one.kind for one in inspect.signature(getattr(owner, name)).parameters.values()}
            if inspect.Parameter.VAR_KEYWORD in kinds:
                blind.append(path)
    assert blind == []


def test_the_methods_behind_exist() -> None:
    for path, (method, given) in sdk.BEHIND.items():
        assert given <= set(inspect.signature(getattr(docker.APIClient, method)).parameters), path

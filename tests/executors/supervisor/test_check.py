"""What is said of calls without any supervisord: problems and risks, as cases; and that the table knows every method."""

from __future__ import annotations

import inspect
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
import yaml
from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import Faults

from tests.executors.supervisor.opening import call
from uici.executor import Done, Rejected, StepToCheck, load
from uici.model import Pinned, Risk
from uici_executors.supervisor import calls
from uici_executors.supervisor.faults import REJECTIONS, STARTED_AND_ENDED, judged

FAULTS = yaml.safe_load((Path(__file__).parents[2] / "cases/supervisor/faults.yml").read_text())
CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/supervisor/check.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_step_is_judged_without_a_supervisord(case: dict[str, Any]) -> None:
    step = StepToCheck(
        path=case["path"],
        arguments=case["arguments"],
        dialect="supervisor",
        accept=tuple(case.get("accept", ())),
        retry=tuple(case.get("retry", ())),
        stream=case.get("stream", False),
    )
    checked = load("supervisor")().check(step)
    found = [[one.code, one.argument] if one.argument else one.code for one in checked.problems]
    assert found == [one if isinstance(one, str) else list(one) for one in case.get("problems", [])]
    assert all(one.message and one.hint for one in checked.problems), "each problem says how to mend it"
    if not found:
        assert checked.risk == case["risk"]


def test_the_risk_table_knows_every_method_of_the_sdk_and_no_other() -> None:
    methods = {
        name
        for name, _ in inspect.getmembers(SupervisorNamespaceRPCInterface, inspect.isfunction)
        if not name.startswith("_")
    }
    assert methods == set(calls.METHODS)


def test_every_fault_of_the_sdk_is_judged_on_purpose() -> None:
    faults = {name for name in vars(Faults) if name.isupper()}
    assert faults - REJECTIONS.keys() - STARTED_AND_ENDED == {"ABNORMAL_TERMINATION", "FAILED", "SUCCESS"}


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case['fault']} of {case['method']}")
def test_a_fault_is_judged_by_what_it_proves(case: dict[str, Any]) -> None:
    number = getattr(Faults, case["fault"], 999)
    outcome = judged(call(f"supervisor.{case['method']}", name="web"), xmlrpc.client.Fault(number, case["fault"]))
    assert type(outcome).__name__.lower() == case["outcome"]
    if isinstance(outcome, Rejected):
        assert outcome.reason == case["reason"]
    if isinstance(outcome, Done):
        assert outcome.answer is False


def test_what_is_not_known_is_destroy() -> None:
    executor = load("supervisor")()
    assert executor.risk(Pinned(call=call("supervisor.obliterate", name="web"))) is Risk.DESTROY
    assert executor.risk(Pinned(call=call("system.multicall", calls=[]))) is Risk.DESTROY


def test_real_arguments_count_at_run_time() -> None:
    executor = load("supervisor")()
    assert executor.risk(Pinned(call=call("supervisor.stopProcess", name="shop:web"))) is Risk.CHANGE
    assert executor.risk(Pinned(call=call("supervisor.stopProcess", name="shop:*"))) is Risk.DESTROY
    assert executor.risk(Pinned(call=call("supervisor.signalProcess", name="shop:web", signal="KILL"))) is Risk.DESTROY
    assert executor.risk(Pinned(call=call("supervisor.signalProcess", name="shop:web", signal="USR1"))) is Risk.CHANGE


def test_arguments_are_those_of_the_installed_sdk() -> None:
    found = calls.arguments("supervisor.startProcess")
    assert found == (calls.Argument("name", "string", True), calls.Argument("wait", "boolean", False))

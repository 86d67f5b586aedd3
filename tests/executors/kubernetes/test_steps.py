"""Which steps of the starter's runbook are tried for which trouble of a workload: what is a release's, and what is none of its."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.catalog.expressions import condition
from uici.model import Runbook

ROOT = Path(__file__).parents[3]
CASES: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/cases/kubernetes_steps.yml").read_text())
RUNBOOKS = {
    one["name"]: Runbook.parse(one)
    for one in yaml.safe_load((ROOT / "infrastructure/config/runbooks.yml").read_text())["runbooks"]
}


def tried(name: str, case: dict[str, Any], **more: Any) -> list[str]:
    found = {"cause": case["cause"], "of_newest_revision": case["of"] == "newest"}
    revisions = {"current_seen": case["seen"], "rollback_to": case["to"], "previous": 1}
    roots = {
        "target": {"kind": "Deployment"},
        "alert": {"starts_at": "2026-01-01T00:00:00.000000000Z", "labels": {}},
        "found": {"status": "done", "answer": found},
        "revisions": {"status": "done", "answer": revisions},
        **more,
    }
    return [step.operation for step in RUNBOOKS[name].steps if step.when and condition(step.when, roots)]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case['cause']}" for i, case in enumerate(CASES)])
def test_what_is_tried(case: dict[str, Any]) -> None:
    assert tried("kubernetes-workload", case) == case["tries"]


@pytest.mark.parametrize(
    ("seen", "tries"), [(False, ["rollback_deployment", "restart_service"]), (True, ["restart_service"])]
)
def test_behind_a_service_it_is_the_same(seen: bool, tries: list[str]) -> None:
    case = {"cause": "not_ready", "of": "newest", "seen": seen, "to": 1}
    leads = {"status": "done", "answer": {"cause": "no_endpoints_not_ready", "workload": "web"}}
    assert tried("kubernetes-endpoints", case, leads=leads) == tries


@pytest.mark.parametrize(
    ("seen", "tries"), [(False, ["list_revisions", "rollback_service"]), (True, ["list_revisions"])]
)
def test_a_crash_loop_by_another_name_is_the_same(seen: bool, tries: list[str]) -> None:
    case = {"cause": "crash_exit", "of": "newest", "seen": seen, "to": 1}
    status = {"status": "done", "answer": {}}
    logs = {"status": "done", "answer": {"patterns": []}}
    assert tried("crash-loop", case, status=status, logs=logs) == tries

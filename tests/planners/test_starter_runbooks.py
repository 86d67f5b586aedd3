"""The starter's runbooks by the alerts that people have: which one takes which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.model import Runbook, match_all

ROOT = Path(__file__).parents[2]
RUNBOOKS = [
    Runbook.parse(one) for one in yaml.safe_load((ROOT / "infrastructure/config/runbooks.yml").read_text())["runbooks"]
]
CASES: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/cases/kubernetes_alerts.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["labels"]["alertname"] for case in CASES])
def test_an_alert_gets_its_runbook(case: dict[str, Any]) -> None:
    labels = case["labels"]
    chosen = next(one for one in RUNBOOKS if match_all(one.match, labels))
    assert chosen.name == case["runbook"]
    if chosen.target and "kube" in labels["alertname"].lower() and chosen.name != "disk-full":
        about = set(labels) - {"alertname", "severity", "namespace", "exported_namespace", "container", "reason"}
        assert not about or about & {*chosen.target, "replicaset", "cronjob", "poddisruptionbudget", "condition"}

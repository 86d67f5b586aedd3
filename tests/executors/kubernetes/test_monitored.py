"""Which ReplicaSets the starter believes a monitor to have seen whole, by Prometheus' own evaluation of its query."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.engine("prometheus")

STARTER = Path(__file__).parents[3] / "infrastructure/config"
#: Pods that are ready of those that should be, minute by minute, and whether that counts as seen.
CASES = {
    "web-1whole": ("0 1 2x12 0x20", "2x40", True),
    "web-2moment": ("0 2 0x40", "2x40", False),
    "web-3crashes": ("2 2 2 2 0 2 2 2 2 0 2 2 2 2 0 2 2 2 2 0", "2x40", False),
    "web-4short": ("1x6 stale", "1x6 stale", False),
    "web-5half": ("1x40", "2x40", False),
    "web-6none": ("0x40", "0x40", False),
    "web-other-1whole": ("2x40", "2x40", False),
}


def test_whole_for_ten_minutes_on_end_is_what_counts(tmp_path: Path) -> None:
    translations = yaml.safe_load((STARTER / "command_translations/kubernetes.yml").read_text())["translations"]
    queries = {
        step["with"]["query"]
        for one in translations.values()
        for step in one.get("kubernetes", {}).get("steps", ())
        if step["call"] == "prometheus.query"
    }
    (query,) = queries
    for name, value in (("namespace", "shop"), ("name", "web")):
        query = query.replace(f"${{target.{name}}}", value)
    series = [
        {
            "series": f'kube_replicaset_{metric}{{namespace="shop", replicaset="{name}", instance="{instance}"}}',
            "values": values,
        }
        for name, (ready, wanted, _) in CASES.items()
        for metric, values in (("status_ready_replicas", ready), ("spec_replicas", wanted))
        for instance in ("a", "b")
    ]
    assert query.endswith("[7d:5m])")
    shorter = query.replace("[7d:5m]", "[2h:5m]")  # promtool takes few samples
    seen = [{"labels": f'{{namespace="shop", replicaset="{name}"}}'} for name, (*_, counts) in CASES.items() if counts]
    expected = [{**one, "value": 1} for one in seen]
    question = {"expr": f"count by (namespace, replicaset) ({shorter})", "eval_time": "2h", "exp_samples": expected}
    tests = {
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [question]}],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    ran = subprocess.run(
        ["promtool", "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr

"""``/metrics``: a format that Prometheus' own tool accepts, and numbers that are what happened."""

from __future__ import annotations

import asyncio
import re
import subprocess

import pytest

from tests.daemon.place import Door, alert, payload
from uici.daemon import metrics
from uici.daemon.counts import GAUGES


async def _values(door: Door) -> dict[str, float]:
    _, text = await door.get("/metrics")
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.engine("prometheus")
async def test_promtool_accepts_it(door: Door) -> None:
    await door.post("/api/v1/requests?wait=30s", {"operation": "restart_service", "parameters": {"service": "web"}})
    await door.post("/webhooks/alertmanager", payload(alert(service="nobody"), alert(labels={"a": 1})))
    _, text = await door.get("/metrics")
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b""), checked


async def test_the_numbers_are_what_happened(door: Door) -> None:
    await door.post("/webhooks/alertmanager", payload(alert("UiciDown"), alert(labels={"a": 1})))
    await door.post("/api/v1/requests?wait=30s", {"operation": "list_services"})
    await door.post("/api/v1/requests?wait=30s", {"operation": "dance"})
    async for entry in door.daemon.journal.follow(0):
        if entry.kind == "escalation":
            break
    seen = await _values(door)
    assert seen['uici_alerts_total{verdict="accepted",reason=""}'] == 1
    assert seen['uici_alerts_total{verdict="refused",reason="schema"}'] == 1
    assert seen['uici_requests_total{operation="list_services",status="done",reason=""}'] == 1
    assert seen['uici_requests_total{operation="",status="refused",reason="unknown_operation"}'] == 1
    assert seen['uici_incidents{state="escalated"}'] == 1
    assert seen['uici_environment_up{environment="local"}'] == 1
    assert seen["uici_journal_append_seconds_count"] > 0
    assert seen["uici_ready"] == 1
    names = {re.sub(r"{.*", "", name) for name in seen}
    assert set(GAUGES) <= names


def test_labels_are_escaped_and_buckets_add_up() -> None:
    counter = metrics.Counter("c_total", "With a\nbreak.", ("a",))
    counter.add('x"\\\n')
    histogram = metrics.Histogram("h_seconds", "Time.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    assert metrics.text([counter, histogram]).decode().splitlines() == [
        "# HELP c_total With a\\nbreak.",
        "# TYPE c_total counter",
        'c_total{a="x\\"\\\\\\n"} 1',
        "# HELP h_seconds Time.",
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{le="0.1"} 2',
        'h_seconds_bucket{le="1.0"} 3',
        'h_seconds_bucket{le="+Inf"} 4',
        "h_seconds_sum 7.65",
        "h_seconds_count 4",
    ]

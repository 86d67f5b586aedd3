"""What a real Prometheus is asked about an alert, with a history that was written beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests import engines
from tests.daemon.working import LIMIT, working
from tests.engine.rehearsal import write_world
from tests.engines.prometheus import prometheus
from uici.daemon.prometheus import Prometheus, expression_of, selectors
from uici.model import Alert, IncidentState, rfc3339

#: When the history begins, seconds since the epoch.
BEGIN = (time.time() - 4 * 3600) // 60 * 60
#: `for` + lookback + one evaluation of the rule below.
WINDOW = 60 + 300 + 15

RULES = """
groups:
  - name: services
    interval: 15s
    rules:
      - {alert: ServiceDown, expr: 'service_up{job="shop"} == 0', for: 1m}
      - {alert: ServiceSlow, expr: 'rate(requests[5m]) / on (service) service_up < 2'}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """web is down for 10 minutes, then up for 40, then nothing is heard of it; api is down throughout; short is up for a minute."""
    if missing := engines.availability("prometheus").missing:
        pytest.skip(f"prometheus: {missing}")
    folder = tmp_path_factory.mktemp("prometheus")
    lines = ["# TYPE service_up gauge"]
    for service, rose, ends in (("web", 600, 3000), ("api", 10**9, 3000), ("short", 600, 660)):
        lines += [
            f'service_up{{job="shop",service="{service}"}} {int(at >= rose)} {BEGIN + at:.3f}'
            for at in range(0, ends, 15)
        ]
    (folder / "history").write_text("\n".join([*lines, "# EOF", ""]))
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text("rule_files: [rules.yml]\n")
    write = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "history"), str(folder / "data")]
    subprocess.run(write, check=True, capture_output=True)
    with prometheus(folder / "prometheus.yml", folder) as running:
        yield running.url


@contextlib.asynccontextmanager
async def asked(url: str, after: float) -> AsyncIterator[Prometheus]:
    monitor = Prometheus(url, clock=lambda: BEGIN + after)
    try:
        yield monitor
    finally:
        await monitor.close()


def down(service: str, name: str = "ServiceDown", **more: str) -> Alert:
    labels = {"alertname": name, "job": "shop", "service": service, **more}
    return Alert(labels=labels, starts_at=rfc3339(BEGIN), fingerprint=service)


HISTORY = [
    (down("web"), 500, False, "it fires"),
    (down("web"), 600 + WINDOW - 60, False, "it fired within the window"),
    (down("web"), 600 + WINDOW + 30, True, "empty for the whole window, and its series has fresh samples"),
    (down("api"), 600 + WINDOW + 30, False, "another one fires still"),
    (down("web"), 3000 + WINDOW + 30, None, "empty, because nobody measures any more"),
    (down("nothing"), 2000, None, "no series of it at all"),
    (down("web", "NoSuchRule"), 2000, None, "no such rule"),
]


@pytest.mark.parametrize(("alert", "after", "stayed", "why"), HISTORY, ids=[one[3] for one in HISTORY])
async def test_whether_an_alerts_expression_stayed_empty(
    url: str, alert: Alert, after: float, stayed: bool | None, why: str
) -> None:
    async with asked(url, after) as monitor:
        assert await monitor.stayed_empty(alert) is stayed


async def test_how_long_an_alert_would_take_to_go(url: str) -> None:
    async with asked(url, 100) as monitor:
        assert await monitor.window(down("web")) == WINDOW
        assert await monitor.window(down("web", "NoSuchRule")) == 0


async def test_a_prometheus_that_does_not_answer_knows_nothing() -> None:
    async with asked("http://127.0.0.1:1", 100) as monitor:
        assert await monitor.window(down("web")) == 0
        assert await monitor.stayed_empty(down("web")) is None


def test_an_alerts_own_link_tells_its_expression() -> None:
    link = "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1"
    alert = Alert(labels={"alertname": "X"}, starts_at=rfc3339(0), fingerprint="f", generator_url=link)
    assert expression_of(alert) == "up == 0"


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("up == 0", ["up"]),
        ('up{job="a",x!~"b|}"} == 0', ['up{job="a",x!~"b|}"}']),
        ('{__name__="up"} < 1', ['{__name__="up"}']),
        ("rate(requests[5m:1m] offset 5m) > 1e3", ["requests"]),
        ("sum by (job, service) (rate(a[5m])) / on (job) group_left (team) b unless c offset 1h", ["a", "b", "c"]),
        ("absent(up) or time() - start_seconds > 0x1F and vector(1)", ["up", "start_seconds"]),
        ("histogram_quantile(0.9, sum(rate(h_bucket[1m])) by (le)) > bool 2", ["h_bucket"]),
        ("a + a", ["a"]),
        ("", []),
    ],
)
def test_the_selectors_of_an_expression(expression: str, read: list[str]) -> None:
    assert selectors(expression) == read


LASTS = [
    ("web", 520, "recovered", "its expression stayed empty with fresh samples"),
    ("short", 520, "inconclusive", "its series end while it is watched"),
    ("api", 520, "inconclusive", "its alert is resolved, its expression is not empty"),
]


@pytest.mark.parametrize(("service", "after", "outcome", "why"), LASTS, ids=[one[3] for one in LASTS])
async def test_a_recovery_counts_when_the_prometheus_confirms_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, after: float, outcome: str, why: str
) -> None:
    monkeypatch.setenv("REHEARSAL_WORLD", str(tmp_path / "world.json"))
    write_world(tmp_path / "world.json", {service: {"state": "failed"}})
    asked, ask = asyncio.Event(), Prometheus.stayed_empty

    async def noted(self: Prometheus, alert: Alert) -> bool | None:
        try:
            return await ask(self, alert)
        finally:
            asked.set()

    monkeypatch.setattr(Prometheus, "stayed_empty", noted)
    async with working(tmp_path, prometheus=url, now=BEGIN + after) as work:
        await work.post(work.alert(service=service, job="shop"))
        await work.one(IncidentState.WATCHING)
        work.advance(90)
        await work.post(work.alert(service=service, job="shop", resolved=True))
        await work.joined(2)
        (incident,) = await work.journal.incidents()
        assert (incident.state, incident.firing) == (IncidentState.WATCHING, ())
        over = asyncio.create_task(work.one(IncidentState.RESOLVED))
        while not over.done():
            told = asyncio.create_task(asked.wait())
            await asyncio.wait([over, told], return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT)
            told.cancel()
            asked.clear()
            work.advance(6)
        incident = await over
        assert incident.outcome == outcome
        assert work.effects == [f"Service.restart {service}"]


async def test_one_that_hangs_is_asked_for_its_rules_once_for_many_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uici.daemon.prometheus.LIMIT", 0.3)
    asked: list[str] = []

    async def hangs(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        await asyncio.sleep(LIMIT)
        return web.Response()

    runner = web.ServerRunner(web.Server(hangs), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monitor = Prometheus(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        alerts = [down(f"s{number}") for number in range(20)]
        assert [await monitor.window(alert) for alert in alerts[:10]] == [0.0] * 10
        assert await asyncio.gather(*(monitor.window(alert) for alert in alerts[10:])) == [0.0] * 10
        assert asked == ["/api/v1/rules"]
    finally:
        await monitor.close()
        await runner.cleanup()

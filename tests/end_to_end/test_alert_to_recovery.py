"""Prometheus sees a container die, Alertmanager tells, UICI heals it and proves it: all of it real."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.place import place, until
from tests.engines.alertmanager import alertmanager
from tests.engines.process import free_port
from tests.engines.prometheus import prometheus
from tests.monitoring import shipped

if TYPE_CHECKING:
    from tests.engines.docker import Docker

pytestmark = [pytest.mark.engine("docker", "prometheus", "alertmanager"), pytest.mark.xdist_group("end_to_end")]


def _web(engine: Docker, stem: str) -> tuple[Any, str]:
    """A container whose own httpd serves ``/metrics``, and its address."""
    port = free_port()
    serve = f"echo 'web_up 1' > /www/metrics; exec httpd -f -p 127.0.0.1:{port} -h /www"
    container = engine.run(engine.name(stem), ["sh", "-c", serve], network_mode="host")
    return container, f"127.0.0.1:{port}"


def test_a_container_that_died_runs_again_and_is_proven_well(engine: Docker, tell: str, tmp_path: Path) -> None:
    folder = shipped.copy(tmp_path / "monitoring")
    web, address = _web(engine, "web")
    with place(engine.base_url, escalate_to=tell) as uici, uici.serving():
        uici.ready()
        routes = shipped.alertmanager_configuration(folder, webhook=f"{uici.url}/webhooks/alertmanager")
        with alertmanager(routes, tmp_path / "alertmanager") as notifier:
            scrapes = shipped.prometheus_configuration(
                folder,
                alertmanagers=[notifier.url],
                services={address: {"service": web.name}},
                uici=f"127.0.0.1:{uici.port}",
            )
            with prometheus(scrapes, tmp_path / "prometheus") as monitor:
                until(lambda: len(monitor.query("up == 1")) == 2 or None, "both targets are up")
                web.kill()
                ended = uici.incident("resolved", service=web.name)
        web.reload()
        assert web.status == "running"
        assert [(one["operation"], one["verification"]) for one in ended["tried"] if one["changed"]] == [
            ("restart_service", "recovered")
        ]
        assert uici.restarts() == 1
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=uici.metrics(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert checked.returncode == 0, checked.stderr


def test_ten_targets_in_one_group_are_ten_incidents(engine: Docker, tell: str, tmp_path: Path) -> None:
    folder = shipped.copy(tmp_path / "monitoring")
    webs = [engine.run(engine.name(f"web{number}")) for number in range(10)]
    with place(engine.base_url, escalate_to=tell) as uici, uici.serving():
        uici.ready()
        routes = shipped.alertmanager_configuration(folder, webhook=f"{uici.url}/webhooks/alertmanager")
        text = routes.read_text()
        grouped = text.replace('group_by: ["..."]', "group_by: [alertname]").replace("group_wait: 0s", "group_wait: 1s")
        assert grouped != text
        routes.write_text(grouped)
        for web in webs:
            web.kill()
        with alertmanager(routes, tmp_path / "alertmanager") as notifier:
            notifier.post(
                *({"labels": {"alertname": "ServiceDown", "cluster": "local", "service": web.name}} for web in webs)
            )
            for web in webs:
                uici.incident("watching", service=web.name)
        assert len(uici.incidents()) == 10
        assert uici.restarts() == 10
        assert uici.metrics().count('uici_http_responses_total{door="post_alertmanager",status="200"} 1\n') == 1
    for web in webs:
        web.reload()
        assert web.status == "running"


def test_the_same_alert_from_two_alertmanagers_and_two_alerts_about_one_target_are_one_action(
    engine: Docker, tell: str, tmp_path: Path
) -> None:
    folder = shipped.copy(tmp_path / "monitoring")
    web = engine.run(engine.name("web"))
    with place(engine.base_url, escalate_to=tell) as uici, uici.serving():
        uici.ready()
        routes = shipped.alertmanager_configuration(folder, webhook=f"{uici.url}/webhooks/alertmanager")
        web.kill()
        with alertmanager(routes, tmp_path / "one") as one, alertmanager(routes, tmp_path / "other") as other:
            down = {"alertname": "ServiceDown", "cluster": "local", "service": web.name}
            killed = {"alertname": "ContainerKilled", "cluster": "local", "name": web.name}
            one.post({"labels": down, "startsAt": "2026-01-01T00:00:00Z"})
            other.post({"labels": down, "startsAt": "2026-01-01T00:00:03Z"})
            other.post({"labels": killed})
            until(lambda: len(uici.entries("alert")) == 3 or None, lambda: f"three alerts accepted; {uici.story()}")
            until(
                lambda: [1 for one in uici.incidents() if len(one["alerts"]) == 2],
                lambda: f"two alerts; {uici.story()}",
            )
            incident = uici.incident("watching", service=web.name)
        assert len(uici.incidents()) == 1
        assert {alert["labels"]["alertname"] for alert in incident["alerts"]} == {"ServiceDown", "ContainerKilled"}
        assert uici.restarts() == 1
    web.reload()
    assert web.status == "running"

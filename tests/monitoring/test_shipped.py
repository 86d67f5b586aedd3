"""The monitoring that is shipped: its files are valid, its rules fire when they should, and the whole of it really runs."""

from __future__ import annotations

import queue
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.engines.alertmanager import alertmanager
from tests.engines.prometheus import prometheus
from tests.monitoring import shipped

CASES = Path(__file__).parents[1] / "cases" / "monitoring"
RULES = sorted((shipped.MONITORING / "prometheus" / "rules").glob("*.yml"))
WAIT = 60


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engine("prometheus")
def test_promtool_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    _run("promtool", "check", "config", shipped.copy(tmp_path / "monitoring") / "prometheus" / "prometheus.yml")
    _run("promtool", "check", "rules", *RULES)


@pytest.mark.engine("alertmanager")
def test_amtool_accepts_the_configuration(tmp_path: Path) -> None:
    _run("amtool", "check-config", shipped.copy(tmp_path / "monitoring") / "alertmanager" / "alertmanager.yml")


@pytest.mark.engine("prometheus")
@pytest.mark.parametrize("case", sorted(CASES.glob("*.yml")), ids=lambda case: case.stem)
def test_rules_fire_when_they_should(case: Path) -> None:
    _run("promtool", "test", "rules", case)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    fired = {
        one["alertname"]
        for case in CASES.glob("*.yml")
        for test in yaml.safe_load(case.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one["exp_alerts"]
    }
    shipped_alerts = {
        rule["alert"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    assert shipped_alerts == fired


@pytest.mark.engine("alertmanager")
def test_alerts_about_uici_go_to_people_and_all_others_to_uici(tmp_path: Path) -> None:
    folder = shipped.copy(tmp_path / "monitoring")
    with shipped.listener() as uici, shipped.mailbox() as mail:
        path = shipped.alertmanager_configuration(
            folder, webhook=f"{uici.url}/webhooks/alertmanager", mail=mail.address
        )
        with alertmanager(path, tmp_path / "alertmanager") as engine:
            engine.post(
                {"labels": {"alertname": "UiciDown", "job": "uici"}},
                {"labels": {"alertname": "TargetMissing", "job": "uici"}},
                {"labels": {"alertname": "ServiceDown", "service": "web", "job": "services"}},
            )
            letters = mail.messages.get(timeout=WAIT) + mail.messages.get(timeout=WAIT)
            headers, post = uici.posts.get(timeout=WAIT)
    assert "UiciDown" in letters
    assert "TargetMissing" in letters
    assert headers["Authorization"] == f"Bearer {shipped.TOKEN}"
    assert [alert["labels"]["alertname"] for alert in post["alerts"]] == ["ServiceDown"]
    with pytest.raises(queue.Empty):
        uici.posts.get_nowait()


@pytest.mark.engine("prometheus", "alertmanager")
def test_a_death_reaches_the_webhook_one_post_for_each_alert_and_so_does_the_recovery(tmp_path: Path) -> None:
    folder = shipped.copy(tmp_path / "monitoring")
    with shipped.listener() as uici, shipped.listener() as web:
        services = {
            web.address: {"service": "web", "container": "shop-web-1"},
            "127.0.0.1:1": {"service": "db", "container": "shop-db-1"},
        }
        with alertmanager(
            shipped.alertmanager_configuration(folder, webhook=f"{uici.url}/webhooks/alertmanager"),
            tmp_path / "alertmanager",
        ) as notifier:
            path = shipped.prometheus_configuration(folder, alertmanagers=[notifier.url], services=services)
            with prometheus(path, tmp_path / "prometheus"):
                _, first = uici.posts.get(timeout=WAIT)
                (alert,) = first["alerts"]
                assert alert["labels"] == {
                    "alertname": "ServiceDown",
                    "cluster": "local",  # and no replica
                    "container": "shop-db-1",
                    "instance": "127.0.0.1:1",
                    "job": "services",
                    "service": "db",
                    "severity": "critical",
                }
                web.server.server_close()  # nothing listens there any more
                _, second = uici.posts.get(timeout=WAIT)
                assert [one["labels"]["service"] for one in second["alerts"]] == ["web"]
                assert second["status"] == "firing"

                shipped.prometheus_configuration(folder, alertmanagers=[notifier.url], services={})
                ended = [uici.posts.get(timeout=WAIT)[1] for _ in range(2)]
    assert {post["status"] for post in ended} == {"resolved"}
    assert {alert["labels"]["service"] for post in ended for alert in post["alerts"]} == {"web", "db"}

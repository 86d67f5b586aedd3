"""The command line as processes, with and without a daemon, over a real supervisord."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Uici
from tests.daemon.place import alert, payload
from tests.daemon.test_serve import process
from tests.engines.supervisord import Supervisord
from uici.cli.run import _value

pytestmark = pytest.mark.engine("supervisord")

VALUES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "cli" / "values.yml").read_text())


@pytest.mark.parametrize("case", VALUES, ids=lambda case: f"{case['text']} {json.dumps(case['schema'])}")
def test_values_are_typed_by_the_schema(case: dict[str, Any], tmp_path: Path) -> None:
    text = case["text"]
    if "file" in case:
        (tmp_path / "file").write_text(case["file"])
        text = text.replace("FILE", str(tmp_path / "file"))
    name, value = _value(text, {"properties": {"a": case["schema"]}})
    assert (name, value, type(value)) == ("a", case["value"], type(case["value"]))


RUNS = [
    (["list_services"], 0, "done"),
    (["service_status", "service=web"], 0, "done"),
    (["service_logs", "service=web", "lines=5"], 0, "done"),
    (["restart_service", "service=web", "--reason", "a test"], 0, "done"),
    (["restart_service", "service=web", "--dry-run"], 0, "done"),
    (["service_status", "service=nobody"], 2, "refused"),
    (["service_status", "service=we"], 2, "refused"),
    (["service_status", "servce=web"], 2, "refused"),
    (["service_status"], 2, "refused"),
    (["service_logs", "service=web", "lines=many"], 2, "refused"),
    (["dance"], 2, "refused"),
    (["list_services", "-e", "mars"], 2, "refused"),
    (["stop_service", "service=db"], 3, "refused"),
]


def _same_by(uici: Uici, catalog: Path) -> None:
    for number, (words, code, status) in enumerate(RUNS):
        said = uici("run", *words, "--config", str(catalog), "--json")
        assert said.returncode == code, (words, said.stdout, said.stderr)
        result = json.loads(said.stdout)
        assert result["status"] == status, result
        assert result["origin"].startswith("human:")
        if number % 4 == 0:
            text = uici("run", *words, "--config", str(catalog))
            assert text.returncode == code
            assert text.stdout.startswith(status), text.stdout
            assert "\x1b" not in text.stdout + text.stderr
            assert "Traceback" not in text.stderr


def test_run_without_a_daemon(uici: Uici, catalog: Path) -> None:
    _same_by(uici, catalog)


def test_run_with_the_daemon(uici: Uici, catalog: Path) -> None:
    with process(catalog) as daemon:
        daemon.line("ready")
        _same_by(uici, catalog)
        assert daemon.end() == 0


def test_a_person_confirms_with_yes(uici: Uici, catalog: Path, supervisor: Supervisord) -> None:
    said = uici("run", "stop_service", "service=db", "--yes", "--config", str(catalog))
    assert said.returncode == 0, said.stdout
    assert supervisor.info("db")["statename"] == "STOPPED"
    assert uici("run", "start_service", "service=db", "--config", str(catalog)).returncode == 0


def test_progress_goes_to_stderr_and_the_dry_run_shows_its_calls(uici: Uici, catalog: Path) -> None:
    said = uici("run", "restart_service", "service=web", "--dry-run", "--config", str(catalog))
    assert "gate" in said.stderr
    assert "would call supervisor.stopProcess" in said.stdout
    assert "it would touch process/web" in said.stdout


LOOKS = [["operations"], ["operations", "restart_service"], ["environments"], ["incidents"], ["approvals"]]


def test_looks_are_the_same_with_and_without_a_daemon(uici: Uici, catalog: Path) -> None:
    alone = [uici(*words, "--config", str(catalog), "--json") for words in LOOKS]
    assert [one.returncode for one in alone] == [0] * len(LOOKS), [one.stderr for one in alone]
    with process(catalog) as daemon:
        daemon.line("ready")
        asked = [uici(*words, "--config", str(catalog), "--json") for words in LOOKS]
        assert daemon.end() == 0
    assert [json.loads(one.stdout) for one in asked] == [json.loads(one.stdout) for one in alone]


def test_incidents_tell_what_happened(uici: Uici, catalog: Path) -> None:
    with process(catalog) as daemon:
        address = daemon.line("listening")["address"]
        daemon.line("ready")
        posted = subprocess.run(
            ["curl", "-sS", "--json", json.dumps(payload(alert("UiciDown"))), f"{address}/webhooks/alertmanager"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert json.loads(posted.stdout)["accepted"] == 1
        daemon.line("escalated")
        assert daemon.end() == 0
    listed = json.loads(uici("incidents", "--state", "escalated", "--config", str(catalog), "--json").stdout)
    assert len(listed) == 1
    told = uici("incidents", listed[0]["id"], "--config", str(catalog))
    assert told.returncode == 0
    assert "alertname=UiciDown" in told.stdout
    assert "escalated" in told.stdout
    reopened = uici("reopen", listed[0]["id"], "--config", str(catalog))
    assert reopened.returncode == 0, reopened.stderr
    assert "|" not in reopened.stdout


def test_pause_holds_until_resume(uici: Uici, catalog: Path) -> None:
    config = ["--config", str(catalog)]
    assert uici("pause", "-e", "local", *config).stdout == "paused: local\n"
    state = json.loads(uici("environments", *config, "--json").stdout)[0]["paused"]
    assert state.startswith("human:")
    with process(catalog) as daemon:
        daemon.line("ready")
        warned = [line["problem"] for line in daemon.lines if line.get("about") == "paused local"]
        assert [one.partition("`")[2].partition("`")[0] for one in warned] == ["uici resume -e local"]
        assert uici("resume", "-e", "local", *config).stdout == "resumed: local\n"
        assert uici("pause", "-e", "mars", *config).returncode == 1
        assert "paused by its name" in uici("resume", *config).stdout
        assert daemon.end() == 0
    assert json.loads(uici("environments", *config, "--json").stdout)[0]["paused"] is None


def test_a_broken_catalog_on_disk_keeps_nobody_from_pausing_the_daemon(uici: Uici, catalog: Path) -> None:
    with process(catalog) as daemon:
        daemon.line("ready")
        (catalog / "operations.yml").write_text("version: 1\noperations: [")
        assert uici("check", str(catalog)).returncode == 2
        assert uici("pause", "--config", str(catalog)).stdout == "paused: everywhere\n"
        assert daemon.end() == 0


def test_plan(uici: Uici, catalog: Path, tmp_path: Path, supervisor: Supervisord) -> None:
    (tmp_path / "alert.json").write_text(json.dumps(payload(alert(service="web"))))
    said = uici("plan", "alert.json", "--config", str(catalog))
    assert said.returncode == 0, said.stderr
    assert "environment: local" in said.stdout
    assert "so: nothing_to_do" in said.stdout
    assert "looked    service_status: done; service: web, state: running" in said.stdout
    said = uici("plan", "-", "--config", str(catalog), "--json", stdin=json.dumps({"labels": {"alertname": "Nothing"}}))
    assert json.loads(said.stdout)[0]["environment"] == "local"


def test_a_remote_daemon_wants_its_token(uici: Uici, tmp_path: Path, supervisor: Supervisord, catalog: Path) -> None:
    from tests.daemon.place import write_catalog

    folder = write_catalog(tmp_path / "remote", supervisor.url, journal=tmp_path / "r" / "journal.db", tokens=True)
    with process(folder) as daemon:
        url = daemon.line("listening")["address"]
        daemon.line("ready")
        said = uici("run", "list_services", "--server", url)
        assert (said.returncode, "a token is needed" in said.stderr, "UICI_TOKEN" in said.stderr) == (1, True, True)
        said = uici("run", "list_services", "--json", environ={"UICI_SERVER": url, "UICI_TOKEN": "t-anna"})
        assert json.loads(said.stdout)["origin"] == "human:anna"
        said = uici("doctor", environ={"UICI_SERVER": url, "UICI_TOKEN": "t-anna"})
        assert f"process {daemon.popen.pid}" in said.stdout
        assert daemon.end() == 0


def test_the_journal_may_be_named_by_the_environment(uici: Uici, catalog: Path, tmp_path: Path) -> None:
    platform = json.loads((catalog / "platform.yml").read_text())
    platform["journal"]["url"] = "${env:TEST_JOURNAL}"
    (catalog / "platform.yml").write_text(json.dumps(platform))
    environ = {"TEST_JOURNAL": f"sqlite:///{tmp_path}/named.db"}
    said = uici("run", "list_services", "--config", str(catalog), environ=environ)
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "named.db").exists()
    said = uici("run", "list_services", "--config", str(catalog))
    assert (said.returncode, "TEST_JOURNAL" in said.stderr) == (2, True)

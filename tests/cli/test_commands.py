"""The command line as processes, with and without a daemon, over a real supervisord."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Uici
from tests.daemon.place import alert, payload
from tests.daemon.test_serve import process
from tests.engine.rehearsal import PLUGIN, write_world
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


def test_a_journal_in_use_is_told_with_its_holder(uici: Uici, catalog: Path, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\nfrom uici.journal import open_journal\n"
        "async def hold():\n    await open_journal(sys.argv[1])\n    print('held', flush=True)\n    sys.stdin.read()\n"
        "asyncio.run(hold())"
    )
    url = f"sqlite:///{tmp_path}/state/journal.db"
    with subprocess.Popen(
        [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = uici("run", "list_services", "--config", str(catalog))
        assert said.returncode == 1
        assert f"process {holder.pid}" in said.stderr
        assert "Traceback" not in said.stderr
        holder.kill()


MISTAKES = [
    (["operations"], "uici init DIR"),
    (["operations", "--config", "nowhere"], "nowhere"),
    (["operations", "--config", "something"], "is a file; give the folder"),
    (["operations", "-e", "mars", "--config", "CATALOG"], "there are: local"),
    (["operations", "restart_servce", "--config", "CATALOG"], "did you mean 'restart_service'"),
    (["incidents", "nope", "--config", "CATALOG"], "`uici incidents` lists them"),
    (["reopen", "nope", "--config", "CATALOG"], "`uici incidents` lists them"),
    (["pause", "-e", "mars", "--config", "CATALOG"], "there is no environment 'mars'; there are: local"),
    (["run", "list_services", "--server", "ftp://x"], "https://host:port"),
    (["run", "list_services", "--server", "http://127.0.0.1:1"], "does not answer"),
    (["run", "x", "novalue"], "NAME=VALUE"),
    (["plan", "nofile.json"], "cannot be read"),
    (["schema", "operatons"], "there are:"),
    (["approve", "x"], "not in this version"),
    (["deny", "x"], "not in this version"),
    (["rnu"], "did you mean 'run'"),
    (["check", "nowhere"], "no such folder"),
    (["serve", "--config", "nowhere"], "no such folder"),
    (["init", "."], "not empty"),
]


@pytest.mark.parametrize(
    ("words", "cure"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_mistakes_are_one_line_with_a_cure(uici: Uici, tmp_path: Path, words: list[str], cure: str) -> None:
    (tmp_path / "something").write_text("")
    if words[:2] == ["run", "x"]:
        words = [*words, "--config", str(_broken_free(tmp_path))]
    if "CATALOG" in words:
        words = [str(_broken_free(tmp_path)) if word == "CATALOG" else word for word in words]
    said = uici(*words)
    assert said.returncode in (1, 2)
    assert cure in said.stderr, said.stderr
    assert "Traceback" not in said.stderr


ASKED_OF_A_DAEMON = [
    (["incidents", "nope"], "`uici incidents` lists them"),
    (["reopen", "nope"], "`uici incidents` lists them"),
    (["cancel", "nope"], "there is no request 'nope'"),
    (["pause", "-e", "mars"], "there is no environment 'mars'; there are: local"),
    (["operations", "-e", "mars"], "there are: local"),
]


def test_a_daemon_is_quoted_once_and_in_the_command_lines_words(uici: Uici, catalog: Path) -> None:
    with process(catalog) as daemon:
        daemon.line("ready")
        for words, cure in ASKED_OF_A_DAEMON:
            said = uici(*words, "--config", str(catalog))
            assert said.returncode in (1, 2), words
            assert said.stderr.count(cure) == 1, said.stderr
            assert "/api/v1" not in said.stderr
        assert daemon.end() == 0


def _broken_free(tmp_path: Path) -> Path:
    from tests.daemon.place import write_catalog

    return write_catalog(tmp_path / "c", "unix:///nowhere/s.sock", journal=tmp_path / "j.db")


@pytest.mark.parametrize("more", [[], ["--full"]])
def test_init_gives_a_catalog_that_holds(uici: Uici, tmp_path: Path, more: list[str]) -> None:
    said = uici("init", "shop", "--executor", "supervisor", *more)
    assert said.returncode == 0, said.stderr
    for path in (tmp_path / "shop").rglob("*.yml"):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        schema = json.loads((path.parent / first.partition("=")[2]).read_text())
        assert schema["$schema"].startswith("https://json-schema.org/draft/2020-12/")
    checked = uici("check", "shop")
    assert (checked.returncode, checked.stdout) == (0, "no problems\n"), checked.stdout
    assert uici("operations", "--config", "shop", "--json").returncode == 0


def test_init_names_the_cluster(uici: Uici, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{apiVersion: v1, kind: Config, current-context: shop-eu}\n")
    said = uici("init", "shop", "--executor", "kubernetes", environ={"KUBECONFIG": f"{tmp_path}/none:{config}"})
    assert said.returncode == 0, said.stderr
    assert "a catalog for kubernetes (the context shop-eu of your kubeconfig)" in said.stdout
    environments = (tmp_path / "shop" / "environments.yml").read_text()
    assert 'settings: {context: "shop-eu"}' in environments
    assert "default: kubernetes" in environments
    checked = uici("check", "shop")
    assert (checked.returncode, checked.stdout) == (0, "no problems\n"), checked.stdout


def test_check_formats(uici: Uici, catalog: Path) -> None:
    (catalog / "runbooks.yml").write_text("version: 1\nrunbook: []\n")
    text = uici("check", str(catalog))
    assert text.returncode == 2
    assert "runbooks.yml:2:1" in text.stdout
    as_json = uici("check", str(catalog), "--format", "json")
    assert as_json.returncode == 2
    assert {"file", "line", "column", "code", "message", "hint"} <= set(json.loads(as_json.stdout)[0])
    assert uici("check", str(catalog), "--json").stdout == as_json.stdout
    assert uici("check", str(catalog), "--format", "github").stdout.startswith("::error file=")


def test_schemas(uici: Uici, tmp_path: Path) -> None:
    assert "operations" in uici("schema").stdout
    assert json.loads(uici("schema", "operations").stdout)["title"] == "UICI operations.yml"
    assert uici("schema", "--write", "here").returncode == 0
    assert json.loads((tmp_path / "here" / "runbooks.json").read_text())["title"] == "UICI runbooks.yml"


def test_doctor_finds_what_is_wrong(uici: Uici, catalog: Path) -> None:
    well = uici("doctor", "--config", str(catalog))
    assert well.returncode == 0, well.stdout
    environments = json.loads((catalog / "environments.yml").read_text())
    environments["environments"]["local"]["settings"] = {"url": "${env:NOT_SET_ANYWHERE}"}
    (catalog / "environments.yml").write_text(json.dumps(environments))
    ill = uici("doctor", "--config", str(catalog), "--json")
    assert ill.returncode == 1
    problems = [one for one in json.loads(ill.stdout) if one["verdict"] == "problem"]
    assert any("NOT_SET_ANYWHERE" in one["message"] for one in problems)


def test_doctor_says_where_every_change_would_be_refused(uici: Uici, tmp_path: Path) -> None:
    world = tmp_path / "world.json"
    places = {"environments": {"stage": {"executor": "rehearsal", "settings": {"world": str(world)}}}}
    folder = tmp_path / "rehearsed"
    folder.mkdir()
    for name, data in {"environments": places, "operations": {}, "command_translations": {}}.items():
        (folder / f"{name}.yml").write_text(json.dumps({"version": 1, **data}))
    write_world(world, identity="unknown")
    said = uici("doctor", "--config", str(folder), environ={"PYTHONPATH": PLUGIN})
    (line,) = [line for line in said.stdout.splitlines() if "every change there is refused" in line]
    assert line.startswith("warning  environment stage:")
    assert "the rehearsal does not tell" in line
    write_world(world)
    assert "is refused" not in uici("doctor", "--config", str(folder), environ={"PYTHONPATH": PLUGIN}).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(uici: Uici, shell: str) -> None:
    said = uici("completion", shell)
    assert said.returncode == 0, said.stderr
    assert "_UICI_COMPLETE" in said.stdout
    words = {
        "COMP_WORDS": "uici inc",
        "COMP_CWORD": "inc" if shell == "fish" else "1",
        "_UICI_COMPLETE": f"{shell}_complete",
    }
    assert "incidents" in uici(environ=words).stdout


def _on_a_terminal(words: list[str], environ: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "uici", *words],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **environ},
        ) as started:
            assert started.wait(60) == 0
        return os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_colour_only_on_a_terminal_and_not_under_no_color(catalog: Path) -> None:
    words = ["run", "service_status", "service=web", "--config", str(catalog)]
    assert "\x1b[32mdone" in _on_a_terminal(words, {})
    assert "\x1b" not in _on_a_terminal(words, {"NO_COLOR": "1"})


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom uici.cli.group import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    for heavy in (
        "rich",
        "aiohttp",
        "docker",
        "supervisor",
        "asyncio",
        "yaml",
        "jsonschema",
        "apprise",
        "cel_expr_python",
    ):
        assert f"'{heavy}'" not in said.stderr


def test_what_strangers_say_cannot_move_the_cursor() -> None:
    from uici.cli.show import clean

    assert clean("a\x1b[2Jb\x07\r\nc\u202e") == "a\ufffd[2Jb\ufffd  c\ufffd"


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

"""Mistakes on the command line: one line each, with a cure, from it alone and from a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Uici
from tests.daemon.test_serve import process

pytestmark = pytest.mark.engine("supervisord")


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
    (["run", "list_services", "--server", "host:port"], "https://host:port"),
    (["run", "list_services", "--server", "http://[host"], "https://host:port"),
    (["run", "list_services", "--server", "http://127.0.0.1:1"], "does not answer"),
    (["run", "x", "novalue"], "before it: NAME=novalue"),
    (["run", "restart_service", "web", "--config", "CATALOG"], "before it: service=web"),
    (["run", "restart_service", "service=web", "service=db", "--config", "CATALOG"], "service is given twice"),
    (["run", "restart_service", "service=@web", "--config", "CATALOG"], "service=@@web"),
    (["logs", "nope", "--config", "CATALOG"], "`uici run` and `uici incidents ID` show a request's id"),
    (
        ["doctor", "-e", "mars", "--config", "CATALOG"],
        "permissions in mars: there is no environment 'mars'; there are: local",
    ),
    (["plan", "nofile.json"], "cannot be read"),
    (["plan", "something.json"], "something.json: holds no alert; save what Alertmanager posts"),
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
    (tmp_path / "something.json").write_text("{}")
    if words[:2] == ["run", "x"]:
        words = [*words, "--config", str(_broken_free(tmp_path))]
    if "CATALOG" in words:
        words = [str(_broken_free(tmp_path)) if word == "CATALOG" else word for word in words]
    said = uici(*words)
    assert said.returncode in (1, 2)
    assert cure in (said.stdout if words[0] == "doctor" else said.stderr), said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ({"server": {"tokens": {"anna": {"token": "${env:NO_SUCH}", "may": ["observe"]}}}}, "server.tokens.anna"),
        ({"escalate_to": ["${env:NO_SUCH}"]}, "escalate_to"),
        ({"journal": {"url": "${env:NO_SUCH}"}}, "journal.url"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_secret_that_is_missing_is_named_with_its_place(
    uici: Uici, tmp_path: Path, platform: dict[str, Any], place: str
) -> None:
    folder = _broken_free(tmp_path)
    (folder / "platform.yml").write_text(json.dumps({"version": 1, **platform}))
    said = uici("serve", "--config", str(folder))
    assert said.returncode == 2
    assert f"platform.yml: {place}: ${{env:NO_SUCH}}: the environment has no variable NO_SUCH; set it" in said.stderr


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

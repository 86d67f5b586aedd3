"""``uici run`` and ``uici logs`` of what logs while it runs: with a daemon and without one, on a terminal and in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Uici
from tests.daemon.test_following import write_catalog
from tests.daemon.test_serve import process
from tests.engine.rehearsal import PLUGIN, write_world
from uici.cli import client
from uici.model import DaemonError

SECONDS = 60.0


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "logs").mkdir()
        write_world(folder / "world.json", {"web": {}})
        self.catalog = write_catalog(folder / "catalog", folder / "world.json")

    def say(self, source: str, *lines: str) -> None:
        with (self.folder / "logs" / source).open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))

    def changed(self) -> None:
        """Its change was made; of another process nothing tells that but what it left."""
        deadline = time.monotonic() + SECONDS
        while not json.loads((self.folder / "world.json").read_text())["effects"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def finish(self) -> None:
        self.changed()
        write_world(self.folder / "world.json", {"web": {"image": "finished"}})

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "uici", *words, "--config", str(self.catalog)]

    def started(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **more,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [PLUGIN, os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Place(tmp_path)


def lines_of(one: subprocess.Popen[str], count: int) -> list[str]:
    assert one.stdout is not None
    return [one.stdout.readline().rstrip("\n") for _ in range(count)]


def request_of(text: str) -> str:
    return next(line.split()[-1] for line in text.splitlines() if line.strip().startswith("request:"))


@pytest.fixture(params=["own engine", "daemon"])
def engine(request: pytest.FixtureRequest, place: Place) -> Iterator[str]:
    if request.param == "own engine":
        yield request.param
        return
    with process(place.catalog) as one:
        one.line("listening")
        one.line("ready")
        yield request.param
        one.end()


def test_a_run_shows_its_lines_while_it_runs_and_they_can_be_shown_again(engine: str, place: Place, uici: Uici) -> None:
    with place.started("run", "work", "service=web") as running:
        place.say("fast.1", "line 0", "line 1")
        assert lines_of(running, 2) == ["[fast] line 0", "[fast] line 1"]
        place.say("slow.1", "a line that \x1b[31mpaints")
        assert lines_of(running, 1) == ["[slow] a line that \N{REPLACEMENT CHARACTER}[31mpaints"]
        place.say("fast.1", "last words")
        place.finish()
        out, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, err
    assert out.splitlines()[0] == "[fast] last words"
    assert "done: work web" in out
    assert "sample" not in err, "between its lines nobody wants to hear how often it was looked at"
    again = uici("logs", request_of(out), "-f", "--config", str(place.catalog))
    assert again.returncode == 0
    shown = again.stdout.splitlines()
    assert sorted(shown) == sorted(
        [
            "[fast] line 0",
            "[fast] line 1",
            "[fast] last words",
            "[slow] a line that \N{REPLACEMENT CHARACTER}[31mpaints",
        ]
    )
    assert "done: work" in again.stderr


def test_json_is_for_programs(engine: str, place: Place, uici: Uici) -> None:
    place.say("a.1", "one", "two")
    with place.started("run", "work", "service=web", "--json") as running:
        place.finish()
        out, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, err
    result = json.loads(out)
    assert result["status"] == "done", "the result alone"
    said = uici("logs", result["id"], "--json", "--config", str(place.catalog))
    *lines, end = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(one["source"], one["name"], one["text"]) for one in lines] == [("a.1", "a", "one"), ("a.1", "a", "two")]
    assert end["end"]["problem"] is None


def test_what_cannot_be_followed_is_said(engine: str, place: Place, uici: Uici) -> None:
    said = uici("logs", "nothing", "--config", str(place.catalog))
    assert said.returncode in (1, 2)
    assert "there is no request 'nothing'" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "NO_COLOR"])
def test_each_source_has_a_colour_on_a_terminal(place: Place, environ: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    place.say("a.1", "one")
    place.say("b.1", "one")
    try:
        with subprocess.Popen(
            place.command("run", "work", "service=web"), cwd=place.folder, stdin=subprocess.DEVNULL, stdout=theirs,
            stderr=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm", **environ},
        ) as running:  # fmt: skip
            seen = ""
            while seen.count("one") < 2:
                assert select.select([ours], [], [], SECONDS)[0]
                seen += os.read(ours, 4096).decode()
            place.finish()
            assert running.wait(SECONDS) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    colours = {line.partition("[")[2][:2] for line in seen.splitlines() if line.startswith("\x1b")}
    assert len(colours) == (2 if coloured else 0)
    assert ("\x1b" in seen) is coloured


def test_after_a_daemon_was_killed_the_next_one_shows_every_line_once(place: Place) -> None:
    with process(place.catalog) as one:
        one.line("ready")
        running = place.started("run", "work", "service=web")
        place.say("a.1", *(f"line {number}" for number in range(50)))
        seen = lines_of(running, 50)
        place.changed()  # or the next one waits for the deadline of a call that may have been sent
        one.popen.kill()
        one.popen.wait(SECONDS)
        running.kill()
        running.communicate(timeout=SECONDS)
    place.say("a.1", "more")
    with process(place.catalog) as one:
        one.line("ready")
        shown = subprocess.run(
            place.command("logs", _newest(place)),
            cwd=place.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert shown.stdout.splitlines() == [*seen, "[a] more"]
        place.finish()
        one.end()


def _newest(place: Place) -> str:
    with contextlib.closing(sqlite3.connect(place.folder / "journal.db")) as journal:
        return str(
            journal.execute("select request from entries where kind = 'request' order by seq desc").fetchone()[0]
        )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "ends the logs of r1 again and again"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\n<no>", "answered 502; is UICI there?"),
    ],
    ids=["an empty stream", "a gateway"],
)
def test_what_is_between_and_no_daemon_is_not_followed_for_ever(
    answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        with pytest.raises(DaemonError, match=re.escape(said)):
            list(client.Client(f"http://127.0.0.1:{listening.getsockname()[1]}").lines("r1", follow=True))
        listening.shutdown(socket.SHUT_RDWR)
        serving.join(SECONDS)

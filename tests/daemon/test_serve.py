"""``uici serve`` as a process: its start, its signals, its socket, its logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.place import alert, payload
from tests.engines.supervisord import Supervisord
from uici.cli.client import Client

pytestmark = pytest.mark.engine("supervisord")


class Process:
    """One daemon; ``line(event)`` reads its log until that event."""

    def __init__(self, catalog: Path, *more: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "uici", "serve", "--config", str(catalog), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def line(self, event: str) -> dict[str, Any]:
        assert self.popen.stderr is not None
        for text in self.popen.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"ended without {event!r}: {self.lines}")

    def end(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        self.line("stopped")
        return self.popen.wait(20)


@contextlib.contextmanager
def process(catalog: Path, *more: str) -> Iterator[Process]:
    one = Process(catalog, *more)
    try:
        yield one
    finally:
        if one.popen.poll() is None:
            one.popen.kill()
        one.popen.wait(20)
        assert one.popen.stderr is not None
        one.popen.stderr.close()


def _post(url: str, data: Any) -> int:
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/webhooks/alertmanager", json.dumps(data).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  loopback
        return int(response.status)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_it_serves_the_same_on_either_loop(
    loop: str, catalog: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loop == "asyncio":
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "uvloop.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "without"), *sys.path]))
    else:
        pytest.importorskip("uvloop", reason="there is none for this platform")
    with process(catalog()) as one:
        listening = one.line("listening")
        assert listening["loop"] == loop
        one.line("ready")
        assert _post(listening["address"], payload(alert(service="nobody"))) == 200
        assert Client(Path(listening["socket"])).get("api/v1/status")["version"]
        assert one.end() == 0


def test_start_work_and_stop(catalog: Callable[..., Path], tmp_path: Path) -> None:
    with process(catalog()) as one:
        listening = one.line("listening")
        one.line("ready")
        assert _post(listening["address"], payload(alert(service="nobody"))) == 200
        assert one.line("incident")["incident"]
        local = Path(listening["socket"])
        assert stat.S_IMODE(local.stat().st_mode) == 0o600
        said = Client(local).get("api/v1/status")
        assert said["pid"] == one.popen.pid
        assert said["caller"]["person"] is True
        assert "approve" not in said["caller"]["may"]
        assert one.end() == 0
        assert not local.exists()
    with process(catalog()) as again:
        again.line("ready")
        kinds = [entry["kind"] for entry in _entries(Path(again.lines[0]["socket"]))]
        assert kinds.count("started") == 2
        assert kinds.count("stopped") == 1


def _entries(local: Path) -> list[dict[str, Any]]:
    found = []
    size = None
    for entry in Client(local).events(after=0):
        if entry is None:
            if size is not None:
                break
            size = 0
            continue
        found.append(dict(entry))
        if sum(one["kind"] == "started" for one in found) == 2:
            break
    return found


def test_the_local_socket_is_a_person_of_this_machine(catalog: Callable[..., Path], supervisor: Supervisord) -> None:
    with process(catalog(tokens=True)) as one:
        client = Client(Path(one.line("listening")["socket"]))
        one.line("ready")
        body = {"operation": "restart_service", "parameters": {"service": "web"}}
        said = client.post("api/v1/requests", body)
        ended = client.get(f"api/v1/requests/{said['id']}", wait="60s")
        assert ended["status"] == "done", ended
        assert ended["origin"].startswith("human:")
        logged = one.line("request")
        assert (logged["request"], logged["status"]) == (said["id"], "done")
        assert one.end() == 0


def test_a_broken_catalog_does_not_start(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    (folder / "runbooks.yml").write_text("version: 1\nrunbook: []\n")
    with process(folder) as one:
        assert one.popen.stderr is not None
        said = one.popen.stderr.read()
        assert one.popen.wait(20) == 2
        assert "runbooks.yml:2:1" in said
        assert "Traceback" not in said


def test_a_missing_secret_stops_the_start_with_its_name(catalog: Callable[..., Path], supervisor: Supervisord) -> None:
    settings = {"url": supervisor.url, "password": "${env:UICI_TEST_NOWHERE}"}
    done = subprocess.run(
        [sys.executable, "-m", "uici", "serve", "--config", str(catalog(environment={"settings": settings}))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "UICI_TEST_NOWHERE" in done.stderr
    assert "local" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_that_does_not_pass_keeps_the_last_good_one(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    with process(folder) as one:
        client = Client(Path(one.line("listening")["socket"]))
        one.line("ready")
        before = client.get("api/v1/status")["catalog"]["digest"]
        good = (folder / "operations.yml").read_text()
        (folder / "operations.yml").write_text(good.replace('"include"', '"inclode": [], "include"'))
        one.popen.send_signal(signal.SIGHUP)
        assert any("inclode" in problem for problem in one.line("reload refused")["problems"])
        status = client.get("api/v1/status")
        assert status["catalog"]["digest"] == before
        assert status["ready"] is True
        assert "the last good catalog" in status["warnings"]["catalog"]
        assert client.get("api/v1/operations")["operations"]
        (folder / "operations.yml").write_text(good)
        environments = json.loads((folder / "environments.yml").read_text())
        environments["environments"]["local"]["stage"] = "production"
        (folder / "environments.yml").write_text(json.dumps(environments))
        one.popen.send_signal(signal.SIGHUP)
        one.line("reloaded")
        status = client.get("api/v1/status")
        assert status["catalog"]["digest"] != before
        assert "catalog" not in status["warnings"]
        assert client.get("api/v1/environments")["environments"][0]["stage"] == "production"
        catalogs = [entry["data"]["ok"] for entry in _catalogs(client)]
        assert catalogs == [True, False, True]
        assert one.end() == 0


def _catalogs(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for entry in client.events(after=0, kinds="catalog"):
        if entry is not None:
            found.append(dict(entry))
        if len(found) == 3:
            break
    return found


def test_a_reload_that_opens_the_daemon_to_all_is_refused(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    with process(folder) as one:
        one.line("ready")
        platform = json.loads((folder / "platform.yml").read_text())
        platform["server"]["listen"] = "0.0.0.0:0"
        (folder / "platform.yml").write_text(json.dumps(platform))
        one.popen.send_signal(signal.SIGHUP)
        assert "no server.tokens" in one.line("reload refused")["problems"][0]
        assert one.end() == 0


def test_a_second_daemon_is_told_who_holds_the_journal(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    with process(folder) as first:
        first.line("ready")
        with process(folder) as second:
            assert second.popen.stderr is not None
            said = second.popen.stderr.read()
            assert second.popen.wait(20) == 1
            assert f"process {first.popen.pid}" in said
            assert "Traceback" not in said
        assert Client(Path(first.lines[0]["socket"])).get("api/v1/status")["pid"] == first.popen.pid


def test_an_address_in_use_is_said_in_one_line(catalog: Callable[..., Path], tmp_path: Path) -> None:
    folder = catalog()
    with process(folder) as first:
        address = first.line("listening")["address"].removeprefix("http://")
        platform = json.loads((folder / "platform.yml").read_text())
        platform["journal"]["url"] = f"sqlite:///{tmp_path}/other.db"
        (folder / "platform.yml").write_text(json.dumps(platform))
        with process(folder, "--listen", address) as second:
            assert second.popen.stderr is not None
            said = second.popen.stderr.read()
            assert second.popen.wait(20) == 2
            assert f"cannot listen on {address}" in said
            assert "Traceback" not in said


def test_a_restart_that_runs_is_finished_before_the_stop(catalog: Callable[..., Path], supervisor: Supervisord) -> None:
    with process(catalog()) as one:
        client = Client(Path(one.line("listening")["socket"]))
        one.line("ready")
        said = client.post("api/v1/requests", {"operation": "restart_service", "parameters": {"service": "web"}})
        one.popen.send_signal(signal.SIGTERM)
        ended = one.line("request")
        assert (ended["request"], ended["status"]) == (said["id"], "done")
        one.line("stopped")
        assert one.popen.wait(20) == 0


def test_a_killed_daemon_leaves_a_socket_that_the_next_one_takes(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    with process(folder) as one:
        local = Path(one.line("listening")["socket"])
        one.line("ready")
        os.kill(one.popen.pid, signal.SIGKILL)
        one.popen.wait(20)
        assert local.exists()
    with process(folder) as again:
        again.line("ready")
        assert Client(local).get("api/v1/status")["pid"] == again.popen.pid
        assert again.end() == 0


def test_a_journal_with_a_long_path_has_its_socket_too(catalog: Callable[..., Path], tmp_path: Path) -> None:
    folder = catalog()
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    platform = json.loads((folder / "platform.yml").read_text())
    platform["journal"]["url"] = f"sqlite:///{deep}/journal.db"
    (folder / "platform.yml").write_text(json.dumps(platform))
    with process(folder) as one:
        one.line("ready")
        assert Client(deep / "journal.db.sock").get("api/v1/status")["pid"] == one.popen.pid
        assert one.end() == 0


def test_no_secret_is_ever_logged(catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UICI_TEST_ANNA", "s3cr3t-of-anna")
    with process(catalog(tokens=True)) as one:
        url = one.line("listening")["address"]
        one.line("ready")
        for token in ("s3cr3t-of-anna", "s3cr3t-guess"):
            request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})  # noqa: S310
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=20).close()  # noqa: S310  loopback
        one.end()
        assert [line["status"] for line in one.lines if line["event"] == "refused"] == [403, 401]
        assert "s3cr3t" not in json.dumps(one.lines)


def _resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("length", ["Content-Length: 52428800", "Transfer-Encoding: chunked"])
def test_a_body_of_fifty_megabytes_costs_no_memory(catalog: Callable[..., Path], length: str) -> None:
    with process(catalog()) as one:
        host, _, port = one.line("listening")["address"].removeprefix("http://").rpartition(":")
        one.line("ready")
        before = _resident(one.popen.pid)
        chunked = length.startswith("Transfer")
        part = (b"10000\r\n" if chunked else b"") + b" " * 0x10000 + (b"\r\n" if chunked else b"")
        for _ in range(4):
            head = f"POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(head.encode())
                with contextlib.suppress(ConnectionError):
                    for _ in range(800):
                        connection.sendall(part)
        refused = one.line("refused")
        assert (refused["status"], refused["code"]) == (413, "too_large")
        assert _resident(one.popen.pid) - before < 8 * 1024 * 1024
        assert one.end() == 0


def test_a_second_signal_does_not_wait(catalog: Callable[..., Path], supervisor: Supervisord) -> None:
    with process(catalog()) as one:
        client = Client(Path(one.line("listening")["socket"]))
        one.line("ready")
        said = client.post("api/v1/requests", {"operation": "restart_service", "parameters": {"service": "web"}})
        one.popen.send_signal(signal.SIGTERM)
        one.line("stopping")
        one.popen.send_signal(signal.SIGTERM)
        one.line("stopped")
        assert one.popen.wait(20) == 0
    with process(catalog()) as again:
        client = Client(Path(again.line("listening")["socket"]))
        again.line("ready")
        # Finished in time, or settled by the next start: never forgotten.
        ended = client.get(f"api/v1/requests/{said['id']}", wait="60s")
        while ended["status"] == "running":
            again.line("request")
            ended = client.get(f"api/v1/requests/{said['id']}")
        assert ended["status"] in ("done", "failed", "in_doubt", "unverified"), ended
        assert again.end() == 0

"""A real supervisord for a test: a folder, a socket and programs of its own, gone when the test is, however it ends.

It must not use a fixed socket or port, or look at any other supervisord of the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PREFIX = "uici-supervisord-"

#: A program that only stays; it dies with its supervisord.
STAYS = "/bin/sleep 600"


def _end_with_parent() -> None:
    # SIGTERM and not SIGKILL, so that it takes its programs with it.
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class NotReadyError(RuntimeError):
    """The supervisord ended or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True)
class Supervisord:
    """One that runs. ``url``: of its unix socket. ``http``: of its TCP port, where one was asked for."""

    folder: Path
    url: str
    http: str | None
    process: subprocess.Popen[bytes]
    username: str | None
    password: str | None

    def call(self, method: str, *arguments: Any) -> Any:
        """One XML-RPC call past the executor, to see for oneself."""
        transport = SupervisorTransport(self.username, self.password, self.url)
        try:
            return getattr(xmlrpc.client.ServerProxy("http://localhost", transport=transport), method)(*arguments)
        finally:
            transport.close()

    def info(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("supervisor.getProcessInfo", name)
        return found

    def wait(self, name: str, *states: str, seconds: float = 20) -> dict[str, Any]:
        """The process once it is in one of these states; raises NotReadyError."""
        deadline = time.monotonic() + seconds
        while (seen := self.info(name))["statename"] not in states:
            if time.monotonic() > deadline:
                raise NotReadyError(f"{name} is {seen['statename']}, not {' or '.join(states)}, after {seconds:.0f} s")
            time.sleep(0.02)
        return seen


def _clear_leftovers() -> None:
    """Folders of test runs that were killed; their supervisords ended with them."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def write_configuration(
    folder: Path,
    programs: Mapping[str, str | Mapping[str, Any]],
    *,
    groups: Mapping[str, str] | None = None,
    port: int | None = None,
    username: str | None = None,
    password: str | None = None,
    identifier: str = "supervisor",
) -> Path:
    """``programs``: name -> command, or -> settings of its section. ``groups``: name -> programs, with commas."""
    login = f"username={username}\npassword={password}\n" if username else ""
    text = f"[unix_http_server]\nfile={folder}/s.sock\n{login}\n"
    if port is not None:
        text += f"[inet_http_server]\nport=127.0.0.1:{port}\n{login}\n"
    text += (
        f"[supervisord]\nnodaemon=true\nidentifier={identifier}\nlogfile={folder}/supervisord.log\n"
        f"pidfile={folder}/supervisord.pid\nchildlogdir={folder}\n\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
    )
    for name, program in programs.items():
        settings = {"startsecs": 0, "stopwaitsecs": 2, "autorestart": "false"}
        settings |= {"command": program} if isinstance(program, str) else dict(program)
        text += f"[program:{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings.items()) + "\n"
    for name, members in (groups or {}).items():
        text += f"[group:{name}]\nprograms={members}\n\n"
    path = folder / "supervisord.conf"
    path.write_text(text)
    return path


@contextlib.contextmanager
def supervisord(
    programs: Mapping[str, str | Mapping[str, Any]],
    *,
    groups: Mapping[str, str] | None = None,
    port: int | None = None,
    username: str | None = None,
    password: str | None = None,
    identifier: str = "supervisor",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Supervisord]:
    """One that answers. Raises NotReadyError with the end of its log."""
    _clear_leftovers()
    # pytest's own folders are too deep for a unix socket's 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    configuration = write_configuration(
        folder, programs, groups=groups, port=port, username=username, password=password, identifier=identifier
    )
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=dict(environ) if environ is not None else None,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    http = f"http://127.0.0.1:{port}" if port is not None else None
    one = Supervisord(folder, f"unix://{folder}/s.sock", http, process, username, password)
    try:
        _wait_ready(one)
        yield one
    finally:
        # A test may have stopped it (SIGSTOP); then it hears nothing else.
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_ready(one: Supervisord, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            one.call("supervisor.getState")
            return
        except (OSError, xmlrpc.client.Error):
            if one.process.poll() is not None or time.monotonic() > deadline:
                log = (one.folder / "output.log").read_text(errors="replace")[-3000:]
                raise NotReadyError(f"no supervisord answers at {one.url}; its output ends with:\n{log}") from None
            time.sleep(0.02)

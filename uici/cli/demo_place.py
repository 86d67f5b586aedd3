"""Where ``uici demo`` plays: a supervisord of its own with the daemon and sample services, or containers beside it.

Everything lives in one temporary folder (and, for Docker, under one label) and is gone afterwards. It must not touch
anything that it has not made.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from uici.model.errors import UICIError
from uici.model.record import dataclass

#: The daemon's name under its supervisord. Not `uici`: no rule about names protects it, it has to know itself.
KEEPER = "keeper"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class DemoError(UICIError):
    """The demo cannot go on, or something it claims did not happen."""


def wait(what: str, until: Callable[[], bool], seconds: float = 30) -> None:
    """Returns when it holds; raises DemoError with what was waited for."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: did not happen within {seconds:.0f} s")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


#: Whatever proxy the user's environment names, loopback is not behind it.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, seconds: float = 1.0) -> bool:
    try:
        with _DIRECT.open(url, timeout=seconds) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Act:
    """One failure. ``harm`` does it and says how; ``seen`` is what there is to be seen then; ``cure`` what UICI does about it."""

    title: str
    service: str
    alertname: str
    trouble: str
    harm: Callable[[], str]
    seen: str
    cure: str = "restart"
    #: What is claimed of that which still runs; empty: nothing does.
    alive: str = ""


class Supervised:
    """A supervisord in a folder, with the daemon and the services ``web`` and ``api`` as its programs."""

    services: tuple[str, ...] = ("web", "api")
    what = "a supervisord of its own with two small web services, web and api"
    label = "service"
    watched_by = "supervisord"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in self.services}
        self.socket = folder / "s.sock"
        if (
            len(os.fsencode(self.socket)) > 90
        ):  # 107 bytes are what a unix socket's path may have; supervisord adds its pid
            raise DemoError(
                f"the temporary folder {folder} is too deep for a unix socket; run it again with TMPDIR=/tmp"
            )
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: set[int] = set()

    # What the story needs

    def acts(self) -> list[Act]:
        web, api = self.services
        return [
            Act(
                "1. A service is killed",
                web,
                "ServiceDown",
                "does not answer its scrape",
                lambda: self.kill(web),
                "It is dead, and nothing restarts it.",
            ),
            Act(
                "2. A service hangs",
                api,
                "ServiceUnhealthy",
                "does not answer its probe",
                lambda: self.hang(api),
                f"It is alive, and answers nothing. Nothing restarts it: {self.watched_by} sees a process that runs.",
                alive=f"the hanging {api} was alive all the while",
            ),
        ]

    def labels(self, service: str) -> dict[str, str]:
        """Of an alert about it."""
        return {self.label: service}

    #: In which environment the daemon itself is a process.
    keeper_environment = "demo"

    @property
    def environments(self) -> dict[str, Any]:
        return {
            "demo": {
                "executor": "supervisor",
                "settings": {"url": f"unix://{self.socket}"},
                "stage": "sandbox",
                "autonomy": "change",
                "inventory": {"services": {name: {"probe": self.url(name)} for name in self.services}},
            }
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}/"

    def answers(self, name: str) -> bool:
        return answers(self.url(name))

    def alive(self, name: str) -> bool:
        return bool(self.info(name)["statename"] == "RUNNING")

    def identity(self, name: str) -> str:
        return f"pid {self.info(name)['pid']}"

    def kill(self, name: str) -> str:
        pid = int(self.info(name)["pid"])
        os.kill(pid, signal.SIGKILL)
        return f"kill -9 {pid}"

    def hang(self, name: str) -> str:
        pid = int(self.info(name)["pid"])
        os.kill(pid, signal.SIGUSR1)
        return f"pid {pid} now waits for ever for a lock"

    # The supervisord

    def call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        try:
            return getattr(xmlrpc.client.ServerProxy("http://localhost", transport=transport), method)(*arguments)
        finally:
            transport.close()

    def info(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("supervisor.getProcessInfo", name)
        return found

    def programs(self) -> dict[str, list[str]]:
        script = Path(__file__).with_name("demo_service.py")
        return {name: [sys.executable, str(script), name, str(port)] for name, port in self.ports.items()}

    def start(self, config: Path) -> None:
        """Raises DemoError with the end of the log."""
        daemon = [sys.executable, "-c", "__import__('uici.cli').cli.main()", "serve", "--config", str(config)]
        text = (
            f"[unix_http_server]\nfile={_plain(self.socket)}\nchmod=0600\n\n"
            f"[supervisord]\nnodaemon=true\nlogfile={_plain(self.folder / 'supervisord.log')}\n"
            f"pidfile={_plain(self.folder / 'supervisord.pid')}\nchildlogdir={_plain(self.folder)}\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        )
        for name, command in {**self.programs(), KEEPER: daemon}.items():
            stop = 40 if name == KEEPER else 2
            text += (
                f"[program:{name}]\ncommand={_plain(shlex.join(command))}\nautorestart=false\nstartsecs=0\n"
                f"stopwaitsecs={stop}\nredirect_stderr=true\nstdout_logfile={_plain(self.folder / name)}.log\n\n"
            )
        configuration = self.folder / "supervisord.conf"
        configuration.write_text(text)
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends it in order
                preexec_fn=_end_with_parent,
            )
        wait(f"a supervisord at {self.socket}", self._ready)
        for name in self.programs():
            wait(f"{name} to answer", lambda name=name: self.answers(name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        self.pids = {int(one["pid"]) for one in self.call("supervisor.getAllProcessInfo") if one["pid"]}

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise DemoError(f"supervisord ended at once; it said:\n{tail(self.folder / 'output.log')}")
        try:
            self.call("supervisor.getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def stop(self) -> None:
        """Ends everything; raises DemoError where something is left."""
        if self.process is None:
            return
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            self.pids |= {int(one["pid"]) for one in self.call("supervisor.getAllProcessInfo") if one["pid"]}
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(50)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        left = [pid for pid in self.pids if _runs(pid, self.folder)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            raise DemoError(f"these processes did not end by themselves and were killed: {left}")


def _plain(value: Any) -> str:
    """As supervisor's configuration takes it: % is its own."""
    return str(value).replace("%", "%%")


def _runs(pid: int, folder: Path) -> bool:
    """Whether a process of ours is left; a pid may long be another's."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()) == os.path.realpath(folder)
    except OSError:
        return False


def tail(path: Path, characters: int = 2000) -> str:
    try:
        return path.read_text(errors="replace")[-characters:]
    except OSError:
        return ""


def write_catalog(folder: Path, place: Supervised, port: int) -> tuple[Path, dict[str, str]]:
    """A catalog that includes the starter; gives its folder and the tokens by name."""
    config = folder / "config"
    config.mkdir()
    tokens = {name: secrets.token_urlsafe(24) for name in ("alertmanager", "you")}
    for name, token in tokens.items():
        path = folder / f"{name}.token"
        path.touch(0o600)
        path.write_text(token)
    may: dict[str, dict[str, Any]] = {
        "alertmanager": {"may": ["alerts"]},
        "you": {"may": ["observe", "operate"], "person": True},
    }
    files: dict[str, Any] = {
        "platform": {
            "version": 1,
            "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
            "server": {
                "listen": f"127.0.0.1:{port}",
                "tokens": {name: {"token": f"${{file:{folder / name}.token}}", **more} for name, more in may.items()},
            },
        },
        "environments": {"version": 1, "default": "demo", "environments": place.environments},
        **{
            name: {"version": 1, "include": ["starter"]}
            for name in ("operations", "command_translations", "runbooks", "policies")
        },
    }
    for name, data in files.items():
        # JSON is YAML; nothing here needs to be pretty.
        (config / f"{name}.yml").write_text(json.dumps(data, indent=2) + "\n")
    return config, tokens

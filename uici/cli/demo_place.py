"""Where ``uici demo`` plays: a supervisord of its own with the daemon and sample services, or containers beside it.

Everything lives in one temporary folder (and, for Docker, under one label) and is gone afterwards. It must not touch
anything that it has not made.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from uici.model.errors import UICIError

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
            wait(f"{name} to answer", lambda name=name: self.answers(name))  # type: ignore[misc]
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


_SCRIPT = """mkdir -p /www; echo here > /www/index.html
httpd -f -p 8080 -h /www & child=$!
trap 'echo waiting for a lock that nobody gives back; kill -STOP $child' USR1
trap 'kill -KILL $child; exit 0' TERM
while [ -d /proc/$child ]; do wait $child; done
exit 1"""
_APPLETS = ("sh", "httpd", "wget", "timeout", "mkdir", "echo", "kill")
_CURE = (
    "start Docker and let this user reach it (docker info must work; DOCKER_HOST names another), "
    "or see the same without Docker: uici demo"
)


class Containers(Supervised):
    """Two containers in the user's Docker, and the supervisord for the daemon alone."""

    what = "two small containers in your Docker, and a supervisord of its own for the daemon"
    label = "name"
    watched_by = "Docker"
    keeper_environment = "keepers"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mark = f"demo-{secrets.token_hex(3)}"
        self.services = (f"web-{self.mark}", f"api-{self.mark}")
        self.ports = {}
        self.host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self.made: str | None = None
        self.client: Any = None

    @property
    def environments(self) -> dict[str, Any]:
        return {
            "demo": {
                "executor": "docker",
                "settings": {"base_url": self.host},
                "stage": "sandbox",
                "autonomy": "change",
            },
            "keepers": {
                "executor": "supervisor",
                "settings": {"url": f"unix://{self.socket}"},
                "alerts": ['cluster="keepers"'],
                "autonomy": "change",
            },
        }

    def programs(self) -> dict[str, list[str]]:
        return {}

    def start(self, config: Path) -> None:
        try:
            import docker
            from docker.errors import DockerException
        except ImportError:
            raise DemoError(
                "Docker's SDK is not installed; pip install 'uici[docker]', or see it without: uici demo"
            ) from None
        try:
            self.client = docker.DockerClient(base_url=self.host, timeout=60)
            self.client.ping()
        except (DockerException, OSError) as error:
            raise DemoError(f"no Docker answers at {self.host}: {error}; {_CURE}") from error
        try:
            self._run_services()
        except (DockerException, OSError) as error:
            raise DemoError(f"the Docker at {self.host} cannot run the sample services: {error}; {_CURE}") from error
        super().start(config)

    def _run_services(self) -> None:
        from docker.errors import DockerException

        problems = []
        for image in self._images():
            try:
                for name in self.services:
                    self._run(image, name)
                for name in self.services:
                    wait(f"{name} to be healthy", lambda name=name: self.answers(name), 20)  # type: ignore[misc]
                return
            except (DockerException, DemoError) as error:
                problems.append(f"{image}: {error}")
                self._remove()
        raise DemoError(f"no image for the sample services: {'; '.join(problems) or 'none could be had'}; {_CURE}")

    def _run(self, image: str, name: str) -> None:
        second = 1_000_000_000
        check = {"test": ["CMD-SHELL", "timeout 1 wget -q -O /dev/null http://127.0.0.1:8080/"], "interval": second}
        self.client.containers.run(
            image,
            ["sh", "-c", _SCRIPT],
            name=name,
            detach=True,
            labels={"uici.demo": self.mark},
            network_mode="none",
            healthcheck={**check, "timeout": 2 * second, "retries": 2},
        )

    def _images(self) -> Iterator[str]:
        """Images to try, the cheapest first: what is here, what can be made of this machine's busybox, what can be pulled."""
        from docker.errors import DockerException

        tags = [tag for image in self.client.images.list() for tag in image.tags]
        yield from [tag for tag in tags if tag.rpartition("/")[2].partition(":")[0] in ("busybox", "alpine")][:2]
        busybox = shutil.which("busybox")
        if busybox:
            self.made = f"uici-demo:{self.mark}"
            with contextlib.suppress(DockerException):
                self.client.api.import_image_from_data(_root(Path(busybox)), repository="uici-demo", tag=self.mark)
                yield self.made
        with contextlib.suppress(DockerException):
            self.client.images.pull("busybox", tag="latest")
            yield "busybox:latest"

    def container(self, name: str) -> Any:
        return self.client.containers.get(name)

    def answers(self, name: str) -> bool:
        state = self.container(name).attrs["State"]
        return bool(state["Running"] and state.get("Health", {}).get("Status") == "healthy")

    def alive(self, name: str) -> bool:
        return bool(self.container(name).attrs["State"]["Running"])

    def identity(self, name: str) -> str:
        return f"container {self.container(name).short_id}, started {self.container(name).attrs['State']['StartedAt'][:23]}"

    def kill(self, name: str) -> str:
        self.container(name).kill()
        return f"docker kill {name}"

    def hang(self, name: str) -> str:
        self.container(name).kill(signal="SIGUSR1")
        wait(f"Docker to call {name} unhealthy", lambda: not self.answers(name), 20)
        return "its web server is frozen; Docker's own health check says unhealthy"

    def _remove(self) -> None:
        for container in self.client.containers.list(all=True, filters={"label": f"uici.demo={self.mark}"}):
            container.remove(force=True)

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            if self.client is not None:
                from docker.errors import DockerException

                try:
                    self._remove()
                    if self.made and self.made in [tag for one in self.client.images.list() for tag in one.tags]:
                        self.client.images.remove(self.made, force=True)
                except (DockerException, OSError) as error:
                    raise DemoError(
                        f"the demo's containers may be left (label uici.demo={self.mark}): {error}; remove them with "
                        f"docker rm -f $(docker ps -aq --filter label=uici.demo={self.mark})"
                    ) from error
                finally:
                    self.client.close()


def _root(busybox: Path) -> bytes:
    """A file system for an image, as a tar: busybox under the names of what the service needs."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for folder in ("bin", "tmp", "www", "proc", "dev", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        archive.add(busybox.resolve(), "bin/busybox")
        for name in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return made.getvalue()


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

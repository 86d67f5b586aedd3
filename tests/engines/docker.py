"""A real dockerd for the tests, private to them: own folder, socket, namespaces, control groups.

``UICI_TEST_DOCKER_HOST`` names one to use instead; ``DOCKER_HOST`` and the default socket are never looked at. The
tests of one worker share one engine; a test that stops, freezes or kills it asks for its own (``private=True``).
Images are made here, without a registry. Nothing stays behind: see ``tests/engines/dockerd.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.engines import availability, dockerd

#: Of the image that ``Docker.image`` makes: busybox with ``sh``, ``httpd``, ``nc``, ``sleep`` and the rest.
IMAGE = "uici-test/busybox:1"
LABEL = "uici.test"
#: A main process that ends at once when asked to: ``sleep`` as PID 1 ignores SIGTERM.
RUNS = ["sh", "-c", "trap 'exit 0' TERM INT; echo started; while :; do sleep 1 & wait $!; done"]
_PREFIX = "uici-dockerd-"


class Docker:
    """One engine as a test sees it. Containers, networks and volumes made through it are removed with it."""

    def __init__(self, base_url: str, folder: Path | None, *, private: bool) -> None:
        import docker  # heavy; only where an engine is wanted

        self.base_url = base_url
        self.folder = folder
        self.private = private
        #: Put on all that this user makes, and part of every name that it makes up.
        self.mark = uuid.uuid4().hex[:8]
        self.client = docker.DockerClient(base_url=base_url, version="auto", timeout=60, max_pool_size=64)

    @property
    def settings(self) -> dict[str, Any]:
        """For ``environments.*.settings``."""
        return {"base_url": self.base_url}

    def image(self, name: str = IMAGE) -> str:
        """Its name, once it is there."""
        import docker.errors

        try:
            self.client.images.get(name)
        except docker.errors.ImageNotFound:
            repository, _, tag = name.partition(":")
            self.client.api.import_image_from_data(_busybox(), repository=repository, tag=tag or "latest")
        return name

    def name(self, stem: str) -> str:
        """A name that no other test has."""
        return f"{stem}-{self.mark}"

    def run(self, name: str, command: Any = RUNS, *, image: str | None = None, **options: Any) -> Any:
        """A started container (docker-py's) of exactly this name, without a network unless one is asked for."""
        container = self.create(name, command, image=image, **options)
        container.start()
        container.reload()
        return container

    def create(self, name: str, command: Any = RUNS, *, image: str | None = None, **options: Any) -> Any:
        options["labels"] = {**options.get("labels", {}), LABEL: self.mark}
        if not {"network", "network_mode"} & options.keys():
            options["network_mode"] = "none"
        return self.client.containers.create(self.image(image or IMAGE), command, name=name, **options)

    def network(self, name: str, **options: Any) -> Any:
        network = self.client.networks.create(name, labels={LABEL: self.mark}, **options)
        if self.folder:
            noted = self.folder / "networks"
            noted.mkdir(exist_ok=True)
            (noted / str(network.id)).touch()
        return network

    def volume(self, name: str) -> Any:
        return self.client.volumes.create(name, labels={LABEL: self.mark})

    def clean(self) -> None:
        """Removes all that was made through this object."""
        import docker.errors

        mine = {"label": f"{LABEL}={self.mark}"}
        for one in self.client.api.containers(all=True, filters=mine):
            with contextlib.suppress(docker.errors.APIError):
                self.client.api.remove_container(one["Id"], force=True, v=True)
        for network in self.client.networks.list(filters=mine):
            with contextlib.suppress(docker.errors.APIError):
                network.remove()
                if self.folder:
                    (self.folder / "networks" / str(network.id)).unlink(missing_ok=True)
        for volume in self.client.volumes.list(filters=mine):
            with contextlib.suppress(docker.errors.APIError):
                volume.remove(force=True)

    # Only for a private engine: what can happen to one.

    @property
    def pid(self) -> int:
        """dockerd's process id, as this process sees it; raises LookupError when there is none."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if Path(os.fsdecode(words[0])).name == "dockerd" and os.fsencode(self.base_url) in words:
                        return int(entry.name)
        raise LookupError(f"no dockerd runs for {self.base_url}")

    def _own(self) -> Path:
        if not self.private or self.folder is None:
            raise RuntimeError("this engine is shared; ask for one with docker(private=True)")
        return self.folder

    def freeze(self) -> None:
        self._own()
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        self._own()
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """dockerd dies as by kill -9, and stays away until ``start``."""
        folder = self._own()
        (folder / "down").touch()
        os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(LookupError):
            while self.pid:
                time.sleep(0.01)

    def start(self) -> None:
        """Lets dockerd come up again; returns when it answers."""
        folder = self._own()
        (folder / "down").unlink(missing_ok=True)
        _wait(folder)


@contextlib.contextmanager
def docker(*, private: bool = False) -> Iterator[Docker]:
    """An engine that answers; raises RuntimeError with the engine's own log when it does not come up."""
    given = os.environ.get("UICI_TEST_DOCKER_HOST")
    if given:
        if private:
            import pytest

            pytest.skip("UICI_TEST_DOCKER_HOST names an engine that no test may stop; unset it for this one")
        yield from _use(Docker(given, None, private=False))
        return
    if reason := availability("docker").missing:
        raise RuntimeError(reason)
    sweep()
    # One for each worker of a run: tests of exact names need the names to be theirs alone.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid{os.getpid()}") + os.environ.get("PYTEST_XDIST_WORKER", "")
    key = uuid.uuid4().hex[:10] if private else uuid.uuid5(uuid.NAMESPACE_OID, run).hex[:10]
    folder = Path(tempfile.gettempdir(), _PREFIX + key)
    with _joined(folder):
        yield from _use(Docker(f"unix://{folder}/docker.sock", folder, private=private))


def _use(engine: Docker) -> Iterator[Docker]:
    try:
        yield engine
    finally:
        if not engine.private:
            engine.clean()
        engine.client.close()


@contextlib.contextmanager
def _joined(folder: Path) -> Iterator[None]:
    """Holds the shared lock that keeps the engine of this folder alive; starts it when nobody has yet."""
    with contextlib.ExitStack() as stack:
        with Path(f"{folder}.lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            stack.callback(_gone, folder)
            while not _used(stack, folder):
                pass
            if not (folder / "keeper").exists():
                subprocess.Popen(
                    [sys.executable, "-I", "-S", dockerd.__file__, str(folder)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True, close_fds=True,
                ).returncode = 0  # fmt: skip  # it outlives this process on purpose; no warning about that
            _wait(folder)
        yield


def _used(stack: contextlib.ExitStack, folder: Path) -> bool:
    """Takes the shared lock; False where the folder was taken away in the meantime."""
    folder.mkdir(exist_ok=True)
    users = stack.enter_context((folder / "users").open("w"))
    fcntl.flock(users, fcntl.LOCK_SH)
    try:
        return (folder / "users").stat().st_ino == os.fstat(users.fileno()).st_ino
    except FileNotFoundError:
        return False


def _gone(folder: Path) -> None:
    """Waits for the keeper of a folder that nobody uses any more, so that a run's end is the engine's end."""
    deadline = time.monotonic() + 10
    while folder.with_name(f"{folder.name}.gone").exists() or (folder.exists() and not _others(folder)):
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _others(folder: Path) -> bool:
    """Whether somebody else uses it: other processes' locks are in /proc/locks, by inode."""
    with contextlib.suppress(OSError):
        inode = str((folder / "users").stat().st_ino)
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
        return any(words[3] == "READ" and words[5].rpartition(":")[2] == inode for words in held)
    return False


def _wait(folder: Path, seconds: float = 60) -> None:
    """Until dockerd answers a ping."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(folder / "docker.sock"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b" 200 " in connection.recv(64):
                return
        time.sleep(0.03)
    log = (folder / "log").read_text(errors="replace")[-2000:] if (folder / "log").exists() else "no log"
    raise RuntimeError(f"dockerd did not come up within {seconds:.0f} s: {log}")


def sweep() -> None:
    """Cleans folders whose keeper died too (a crash of the machine, a kill of everything)."""
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        if folder.suffix == ".lock" and not folder.with_suffix("").exists():
            with contextlib.suppress(OSError), folder.open() as gate:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
                folder.unlink()
        if not folder.is_dir():
            continue
        if folder.suffix == ".gone":
            dockerd.clean(folder, folder.stem)
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for name in (folder / "users", f"{folder}.lock", folder / "keeper"):
                fcntl.flock(stack.enter_context(Path(name).open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            dockerd.leave(folder)


def host_python() -> dict[str, dict[str, str]]:
    """``volumes`` that give a container of ``IMAGE`` this Python with all that is installed in it, read-only."""
    folders = {Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]}
    folders |= {Path(name) for name in ("/lib", "/lib64", "/usr/lib") if Path(name).is_dir()}
    return {str(one): {"bind": str(one), "mode": "ro"} for one in sorted(folders)}


def _busybox() -> bytes:
    """A root file system: busybox-static and its names."""
    program = shutil.which("busybox")
    if not program:
        raise RuntimeError("busybox not found; install busybox-static with: make engines")
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "var", "run", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(Path(program).resolve(), "bin/busybox")
        for name in sorted({*names, "sh"} - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        for name, text in {"passwd": "root:x:0:0::/root:/bin/sh\n", "group": "root:x:0:\n"}.items():
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()

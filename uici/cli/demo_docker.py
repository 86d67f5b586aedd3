"""``uici demo`` on Docker: two containers in the user's own, under one label, and gone afterwards.

It must not touch a container, an image or a network that it has not made.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uici.cli.demo_place import DemoError, Supervised, wait

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
                    wait(f"{name} to be healthy", lambda name=name: self.answers(name), 20)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
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

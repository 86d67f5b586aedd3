"""What the tests of the starter's operations on a real dockerd share. It must not hold tests."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

from tests.engines.docker import Docker
from uici.engine import UniversalInfrastructureInterface
from uici.model import Origin, Request, Result

NEXT = "uici-test/busybox:2"


class Place:
    def __init__(self, interface: UniversalInfrastructureInterface) -> None:
        self.interface = interface

    async def do(self, operation: str, **parameters: Any) -> Result:
        request = Request(operation=operation, parameters=parameters, environment="docker", confirm=True)
        return await self.interface.execute(request, Origin("human", "anna"))


def tagged(docker: Docker, name: str = NEXT) -> str:
    repository, _, tag = name.partition(":")
    docker.client.images.get(docker.image()).tag(repository, tag)
    return name


def broken(docker: Docker, script: str) -> str:
    """An image whose ``sh`` does something else."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        busybox = Path(shutil.which("busybox") or "/bin/busybox").resolve()
        tar.add(busybox, "bin/busybox")
        entry = tarfile.TarInfo("bin/sh")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script.encode()))
    docker.client.api.import_image_from_data(data.getvalue(), repository="uici-test/broken", tag="1")
    return "uici-test/broken:1"


def compose(service: str, **more: str) -> dict[str, str]:
    return {"com.docker.compose.project": "shop", "com.docker.compose.service": service, **more}


def names(docker: Docker) -> dict[str, str]:
    return {one.name: one.status for one in docker.client.containers.list(all=True)}

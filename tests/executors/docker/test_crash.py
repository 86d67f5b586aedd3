"""A deployment whose process is killed at any of its changing calls: the next process settles it, and nothing is silent.

Never do two containers serve under one name; where none does, or something is left behind, a person is told.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.docker import IMAGE, Docker
from tests.executors.docker.crash import interface_of, name
from tests.executors.whole import starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.model import Result, Status

pytestmark = pytest.mark.engine("docker")

WORKS, BROKEN = "uici-test/busybox:2", "uici-test/broken:2"


@dataclass(frozen=True)
class Found:
    """One point once all is settled. ``containers``: name and status of each that has to do with the service."""

    point: int
    result: Result | None
    containers: dict[str, str]
    images: dict[str, str]
    closed: bool
    told: bool

    def __str__(self) -> str:
        said = f"{self.result.status} {self.result.reason} {self.result.message}" if self.result else "no Result"
        return f"point {self.point}: {said}; {self.containers}; closed: {self.closed}, told: {self.told}"


def make_images(docker: Docker) -> None:
    """One that works, and one whose ``sh`` ends at once."""
    docker.client.images.get(docker.image()).tag(*WORKS.split(":"))
    data, script = io.BytesIO(), b"#!/bin/busybox false\n"
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(Path(shutil.which("busybox") or "/bin/busybox").resolve(), "bin/busybox")
        entry = tarfile.TarInfo("bin/sh")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script))
    docker.client.api.import_image_from_data(data.getvalue(), repository="uici-test/broken", tag="2")


async def settled(docker: Docker, catalog: Catalog, folder: Path) -> Found:
    interface = await interface_of(catalog, folder, later=600.0)
    try:
        for request in await interface.start():
            await interface.wait(request)
        journal = interface.journal
        assert await journal.unsettled() == [], "nothing is forgotten"
        results = await journal.results()
        entries = await journal.entries()
    finally:
        await interface.close(grace=5)
        await interface.journal.close()
    service = name(folder.name)
    listed = await asyncio.to_thread(docker.client.api.containers, all=True)
    mine = {one["Names"][0].lstrip("/"): one for one in listed if one["Names"][0].lstrip("/").split(".")[0] == service}
    return Found(
        int(folder.name),
        results[0] if results else None,
        {key: one["State"] for key, one in mine.items()},
        {key: one["Image"] for key, one in mine.items()},
        any(one.kind == "closed" for one in entries),
        any(one.kind == "escalation" for one in entries),
    )


@pytest.mark.parametrize("image", [WORKS, BROKEN], ids=["works", "does-not-work"])
async def test_a_deployment_killed_anywhere(docker: Docker, tmp_path: Path, image: str) -> None:
    make_images(docker)
    folder = starter(tmp_path / "catalog", "docker", docker.settings)
    points = tmp_path / "points"
    points.mkdir()
    killing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.executors.docker.crash",
        str(points), str(folder), docker.base_url, docker.mark, image,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(killing.wait(), 120) == 0
    catalog = UniversalConfigLoader(folder).load()
    found = await asyncio.gather(*(settled(docker, catalog, one) for one in points.iterdir()))
    assert len(found) > 3 * 6, "create, stop, rename, rename, start and clear up are six calls"
    for one in sorted(found, key=lambda one: one.point):
        _nothing_silent(one, image)
    if image == WORKS:
        asked = [one for one in found if one.told]
        assert len(asked) <= 2, (
            f"only of the clearing up nothing tells whether it happened: {[str(one) for one in asked]}"
        )


def _nothing_silent(found: Found, image: str) -> None:
    service = name(found.point)
    running = [key for key, status in found.containers.items() if status == "running"]
    person = found.told and found.closed
    assert len(running) <= 1, f"two serve: {found}"
    assert found.result is not None, f"an accepted Request has its Result: {found}"
    if running != [service] or len(found.containers) != 1:
        assert person, f"not as it should be, and nobody is told: {found}"
    elif found.result.status is Status.DONE:
        assert found.images[service] == image == WORKS, f"done, but it is not: {found}"
    elif not person:
        assert found.images[service] == IMAGE, f"failed, but it was done: {found}"

"""One dockerd for each worker's tests, which use plain names; another for each that stops, freezes or kills it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.engines.docker import docker as engine
from tests.executors.docker.shop import Place
from tests.executors.whole import running as whole
from tests.executors.whole import starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.executor import Executor, load
from uici.model import Call, Environment, Resource, Risk


@pytest.fixture(scope="session")
def shared() -> Iterator[Docker]:
    with engine(private="UICI_TEST_DOCKER_HOST" not in os.environ) as running:
        running.image()
        yield running


@pytest.fixture
def docker(shared: Docker) -> Iterator[Docker]:
    yield shared
    shared.clean()


@pytest.fixture
def private() -> Iterator[Docker]:
    with engine(private=True) as running:
        yield running


async def opened(settings: dict[str, Any], name: str = "docker") -> Executor:
    executor = load("docker")()
    await executor.open(Environment.parse(name, {"executor": "docker", "settings": settings}))
    return executor


@pytest.fixture
async def executor(docker: Docker) -> AsyncIterator[Executor]:
    executor = await opened(docker.settings)
    yield executor
    await executor.close()


def call(path: str, on: Resource | None = None, seconds: float = 20.0, /, **arguments: Any) -> Call:
    """Its risk is not believed by any executor; ``change`` here."""
    return Call(on=on, path=path, arguments=arguments, risk=Risk.CHANGE, timeout=seconds)


@pytest.fixture(scope="module")
def catalog(shared: Docker, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    inventory = {"services": {"probed": {"probe": "http://127.0.0.1:9/"}}}
    folder = tmp_path_factory.mktemp("docker") / "catalog"
    return UniversalConfigLoader(starter(folder, "docker", shared.settings, inventory=inventory)).load()


@pytest.fixture
async def place(docker: Docker, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Place]:
    async with whole(catalog, tmp_path, faster=10.0) as interface:
        yield Place(interface)

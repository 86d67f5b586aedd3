"""The cluster of the session (``cluster``, from ``tests/conftest.py``) and a namespace for each test; what is asked in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.place import FASTER, Place
from tests.executors.whole import running, starter
from uici.catalog import Catalog, UniversalConfigLoader
from uici.model import Environment
from uici_executors.kubernetes import KubernetesExecutor
from uici_executors.kubernetes.connection import Server


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
async def executor(cluster: Cluster) -> AsyncIterator[KubernetesExecutor]:
    """Alone, without an engine."""
    one = KubernetesExecutor()
    settings = {"kubeconfig": str(cluster.kubeconfig)}
    await one.open(Environment.parse("test", {"executor": "kubernetes", "settings": settings, "alerts": []}))
    yield one
    await one.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(cluster: Cluster) -> AsyncIterator[Server]:
    """The executor's connection alone, for the tests of a module that share a loop."""
    one = Server({"kubeconfig": str(cluster.kubeconfig)})
    yield one
    await one.close()


@pytest.fixture(scope="module")
def catalog(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The starter's, for this cluster."""
    settings = {"kubeconfig": str(cluster.kubeconfig)}
    folder = starter(tmp_path_factory.mktemp("kubernetes") / "catalog", "kubernetes", settings)
    return UniversalConfigLoader(folder).load()


@pytest.fixture
def faster() -> float:
    """How much faster than the cluster's its engine's time runs; 1 for a test where they must agree on how old a thing is."""
    return FASTER


@pytest.fixture
async def place(
    cluster: Cluster, namespace: str, catalog: Catalog, faster: float, tmp_path: Path
) -> AsyncIterator[Place]:
    """The engine with that catalog, in a namespace of the test's own."""
    import kubernetes.aio.client  # noqa: F401  takes a second, which is several of the engine's

    async with running(catalog, tmp_path, faster=faster) as interface:
        yield Place(interface, cluster, namespace)

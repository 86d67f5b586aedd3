"""The cluster of the session (``cluster``, from ``tests/conftest.py``) and a namespace for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.kubernetes import Cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name

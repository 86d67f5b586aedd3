"""What the end-to-end tests share: the engine of this run, and services on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.monitoring.shipped import Listener, listener

if TYPE_CHECKING:
    from tests.engines.docker import Docker


@pytest.fixture(scope="session")
def _held() -> Iterator[None]:
    """Keeps the dockerd of this run alive from one test to the next."""
    from tests.engines.docker import docker

    with docker():
        yield


@pytest.fixture
def engine(_held: None) -> Iterator[Docker]:
    """The dockerd of this run; containers made through it are gone after the test."""
    from tests.engines.docker import docker

    with docker() as one:
        yield one


@pytest.fixture
def people() -> Iterator[Listener]:
    """Who is told: each escalation is a post."""
    with listener() as one:
        yield one


@pytest.fixture
def tell(people: Listener) -> str:
    """For ``escalate_to``."""
    return f"json://{people.address}"

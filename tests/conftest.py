"""What every test shares: the engines, whether they are there, and the lines about them at the end of a run.

A test that needs an engine says ``@pytest.mark.engine("docker")``. A missing engine skips it with the reason; under
``CI=true`` a missing engine fails the run, so that no green run has quietly tested less.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests import engines

if TYPE_CHECKING:
    from tests.engines.kubernetes import Cluster

#: Dear to start: a worker starts it once and keeps it, and what a module puts into it stays with that worker.
_A_MODULE_A_WORKER = ("kubernetes",)
#: What takes minutes, longest first. Workers begin with these, so that at the end none is left alone with one of them.
_LONG = (
    "tests/end_to_end/test_kubernetes.py",
    "tests/infrastructure/test_in_cluster.py",
    "tests/executors/kubernetes/test_jobs.py",
    "tests/executors/kubernetes/test_memory.py",
    "tests/executors/kubernetes/test_mishaps.py",
    "tests/test_demo.py",
    "tests/self_protection/test_kubernetes.py",
    "tests/executors/kubernetes/test_engine.py",
    "tests/executors/kubernetes/test_rollbacks.py",
    "tests/executors/docker/test_operations.py",
    "tests/executors/docker/test_deployments.py",
    "tests/self_protection/test_docker.py",
)


# How long an example takes says how busy the machine is, and no test asserts a time.
settings.register_profile("uici", deadline=None)
settings.load_profile("uici")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts a run in the background has it ignore SIGINT, and so would every program that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("dist", "no") == "loadgroup":
        # pytest-xdist 3.8 groups nothing under pytest 9.2 and says nothing: every worker would start every engine.
        if pytest.version_tuple >= (9, 2):
            raise pytest.UsageError(
                "--dist loadgroup does not work with this pytest; install the pinned one: make setup"
            )
        if gone := [one for one in _LONG if not (config.rootpath / one).exists()]:
            raise pytest.UsageError(f"{Path(__file__).name}: _LONG names modules that there are not: {', '.join(gone)}")
        # Else xdist begins with the groups of most tests, which are not those that take longest.
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        needed = {name for marker in item.iter_markers("engine") for name in marker.args}
        for name in needed.intersection(_A_MODULE_A_WORKER):
            if any(True for _ in item.iter_markers("xdist_group")):
                raise pytest.UsageError(
                    f"{item.nodeid}: its group is its module, by its engine {name}; take its xdist_group away"
                )
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.stem}"))
    if config.getoption("loadgroup", False):
        items.sort(key=_begun)


def _begun(item: pytest.Item) -> int:
    """Its module's place among the long ones; the others keep their order behind them."""
    module = item.nodeid.partition("::")[0]
    return _LONG.index(module) if module in _LONG else len(_LONG)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The run's Kubernetes, for tests marked ``engine("kubernetes")``; each makes a namespace of its own in it."""
    from tests.engines.kubernetes import kubernetes

    with kubernetes() as running:
        yield running


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("engine"):
        for name in marker.args:
            seen = engines.availability(name)
            if seen.missing:
                pytest.skip(f"{name}: {seen.missing}")


def _missing_in_ci() -> list[str]:
    if os.environ.get("CI") != "true":
        return []
    return [name for name in engines.names() if engines.availability(name).missing]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name in engines.names():
        terminalreporter.write_line(f"engine {name}: {engines.availability(name)}")
    if missing := _missing_in_ci():
        terminalreporter.write_line(f"CI=true and no {', '.join(missing)}: the run fails", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    controller = not hasattr(session.config, "workerinput")
    if controller and session.exitstatus == pytest.ExitCode.OK and _missing_in_ci():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    cache = getattr(session.config, "cache", None)  # without its plugin there is none
    if controller and cache is not None:
        _forget_groups(cache)


def _forget_groups(cache: pytest.Cache) -> None:
    """xdist writes a test's group behind its name: ``--last-failed`` without workers would know none, and run all."""
    failed = cache.get("cache/lastfailed", {})
    named = {re.sub(r"@[^]@]*$", "", name): True for name in failed}
    if named != failed:
        cache.set("cache/lastfailed", named)

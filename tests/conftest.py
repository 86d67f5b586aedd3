"""What every test shares: the engines, whether they are there, and the lines about them at the end of a run.

A test that needs an engine says ``@pytest.mark.engine("docker")``. A missing engine skips it with the reason; under
``CI=true`` a missing engine fails the run, so that no green run has quietly tested less.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests import engines


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

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.place import TOKENS, write_catalog
from tests.engines.supervisord import STAYS, Supervisord, supervisord

Uici = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisord]:
    with supervisord({"web": STAYS, "db": STAYS}) as one:
        yield one


@pytest.fixture
def catalog(tmp_path: Path, supervisor: Supervisord, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, (text, _, _) in TOKENS.items():
        monkeypatch.setenv(f"UICI_TEST_{name.upper()}", text)
    return write_catalog(tmp_path / "catalog", supervisor.url, journal=tmp_path / "state" / "journal.db")


@pytest.fixture
def uici(tmp_path: Path) -> Uici:
    """The command line as a process; its folder and its home are the test's own."""

    def run(*words: str, environ: dict[str, str] | None = None, stdin: str = "", **more: Any) -> Any:
        known = {key: value for key, value in os.environ.items() if not key.startswith(("UICI_CONFIG", "UICI_SERVER"))}
        return subprocess.run(
            [sys.executable, "-m", "uici", *words],
            cwd=tmp_path,
            env={**known, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "xdg"), **(environ or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )

    return run

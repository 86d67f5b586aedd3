"""A world for the rehearsal's engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.rehearsal import write_world


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REHEARSAL_WORLD", str(tmp_path / "world.json"))
    monkeypatch.setenv("REHEARSAL_PASSWORD", "s3cr3t-of-the-engine")
    write_world(tmp_path / "world.json")
    return tmp_path

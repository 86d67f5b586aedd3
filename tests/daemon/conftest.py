from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.place import TOKENS, Door, serving, write_catalog
from tests.engines.supervisord import STAYS, Supervisord, supervisord


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test proves its catalogs itself."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisord]:
    with supervisord({"web": STAYS, "db": STAYS, "slow": STAYS}) as one:
        yield one


@pytest.fixture
def catalog(tmp_path: Path, supervisor: Supervisord, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    for name, (text, _, _) in TOKENS.items():
        monkeypatch.setenv(f"UICI_TEST_{name.upper()}", text)

    def made(**more: Any) -> Path:
        return write_catalog(tmp_path / "catalog", supervisor.url, journal=tmp_path / "state" / "journal.db", **more)

    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``working`` keeps its world, catalog and journal."""
    monkeypatch.setenv("REHEARSAL_WORLD", str(tmp_path / "world.json"))
    return tmp_path


@pytest.fixture
async def door(catalog: Callable[..., Path]) -> AsyncIterator[Door]:
    """Without tokens."""
    async with serving(catalog()) as one:
        yield one


@pytest.fixture
async def guarded(catalog: Callable[..., Path]) -> AsyncIterator[Door]:
    """With tokens."""
    async with serving(catalog(tokens=True)) as one:
        yield one

"""Catalogs in folders, and a plugin that is installed for the tests' own checks of the checker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from uici.catalog import UniversalConfigLoader
from uici.executor import load

BASE = Path(__file__).parent.parent / "cases" / "catalog" / "base"
Make = Callable[..., UniversalConfigLoader]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A loader of the base's files and those given (``name="text"``; ``_`` in a name stands for ``.yml``)."""

    def made(files: dict[str, str] | None = None, *, without: tuple[str, ...] = ()) -> UniversalConfigLoader:
        folder = tmp_path / "config"
        shutil.copytree(BASE, folder, dirs_exist_ok=True)
        for name in without:
            shutil.rmtree(folder / name)
        for name, text in (files or {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return UniversalConfigLoader(folder)

    return made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class of the plugin's executor, installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    load.cache_clear()
    from uici_fake import FakeExecutor  # type: ignore[import-not-found]

    FakeExecutor.seen.clear()
    monkeypatch.setattr(FakeExecutor, "here", False)
    yield FakeExecutor
    load.cache_clear()

"""A daemon takes only the very catalog that was proven, and none without a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uici.catalog import CatalogError, UniversalConfigLoader
from uici.daemon import proof
from uici.daemon.proof import Proof
from uici.model import ConfigurationError


def test_the_same_catalog_as_the_loader_gives(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    assert Proof(folder).catalog().digest == UniversalConfigLoader(folder).load().digest


def test_every_problem_comes_back(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    (folder / "runbooks.yml").write_text("version: 1\nrunbook: []\nmore: 1\n")
    with pytest.raises(CatalogError) as caught:
        Proof(folder).catalog()
    with pytest.raises(CatalogError) as wanted:
        UniversalConfigLoader(folder).load()
    assert caught.value.problems == wanted.value.problems
    with pytest.raises(ConfigurationError, match="no such folder"):
        Proof(folder / "nowhere").catalog()


def test_what_was_written_after_the_proof_is_proven_first(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    one = Proof(folder)
    one._process.wait(60)  # proven, and its answer waits in the pipe
    (folder / "runbooks.yml").write_text("version: 1\nrunbooks: []\n")
    assert one.catalog().runbooks == ()
    again = Proof(folder)
    again._process.wait(60)
    # It can be built, so that only the proof of it can refuse it: a runbook that changes and never looks.
    (folder / "runbooks.yml").write_text(
        "version: 1\nrunbooks: [{name: a, match: ['a=\"b\"'], target: [service], "
        "steps: [{operation: restart_service, parameters: {service: '${target.name}'}}]}]\n"
    )
    with pytest.raises(CatalogError, match="only_if"):
        again.catalog()


def test_no_verdict_is_a_refusal(catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_PROGRAM", "import sys; sys.exit('out of memory')")
    with pytest.raises(ConfigurationError, match=r"status 1 and without a verdict: out of memory"):
        Proof(catalog()).catalog()
    monkeypatch.setattr(proof, "_PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(proof, "_SECONDS", 0.1)
    with pytest.raises(ConfigurationError, match="did not end within"):
        Proof(catalog()).catalog()


def test_the_folder_that_we_stand_in_is_not_imported_from(
    catalog: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uici").mkdir()
    (tmp_path / "uici" / "__init__.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    assert Proof(catalog()).catalog().digest

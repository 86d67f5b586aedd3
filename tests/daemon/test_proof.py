"""A daemon takes only the very catalog that was proven, and none without a verdict."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from uici.catalog import CatalogError, UniversalConfigLoader
from uici.cli.check import check
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


def ended(one: Proof) -> None:
    """Until it is proven and its answer waits in the pipe, which has to hold all of it."""
    assert isinstance(one._process, subprocess.Popen)
    assert one._process.stdout is not None
    fcntl.fcntl(one._process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
    one._process.wait(60)


def test_what_was_written_after_the_proof_is_proven_first(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    one = Proof(folder)
    ended(one)
    (folder / "runbooks.yml").write_text("version: 1\nrunbooks: []\n")
    assert one.catalog().runbooks == ()
    shutil.rmtree(os.environ["CACHE_DIRECTORY"])
    again = Proof(folder)
    ended(again)
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


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every proof that was begun."""
    begun: list[object] = []
    really = proof._begun

    def counted(path: object) -> object:
        begun.append(path)
        return really(path)  # type: ignore[arg-type]

    monkeypatch.setattr(proof, "_begun", counted)
    return begun


def test_what_passed_is_not_proven_again(catalog: Callable[..., Path], proofs: list[object]) -> None:
    folder = catalog()
    first = Proof(folder).catalog()
    assert len(proofs) == 1
    assert Proof(folder).catalog().digest == first.digest
    assert len(proofs) == 1


def test_one_character_more_is_proven(catalog: Callable[..., Path], proofs: list[object]) -> None:
    folder = catalog()
    runbooks = folder / "runbooks.yml"
    runbooks.write_text("version: 1\nrunbooks: []\n")
    Proof(folder).catalog()
    runbooks.write_text("version: 1\nrunbooks: []\n# a remark\n")
    Proof(folder).catalog()
    assert len(proofs) == 2
    # A duplicate key changes nothing of what the catalog says, and is an error all the same.
    runbooks.write_text("version: 1\nrunbooks: []\nrunbooks: []\n")
    with pytest.raises(CatalogError, match="runbooks"):
        Proof(folder).catalog()
    with pytest.raises(CatalogError, match="runbooks"):
        Proof(folder).catalog()


def test_other_software_proves_again(
    catalog: Callable[..., Path], proofs: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = catalog()
    Proof(folder).catalog()
    (tmp_path / "site-packages" / "other-2.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    Proof(folder).catalog()
    assert len(proofs) == 2


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_others_could_have_written_counts_for_nothing(
    catalog: Callable[..., Path], proofs: list[object], what: str
) -> None:
    folder = catalog()
    Proof(folder).catalog()
    place = Path(os.environ["CACHE_DIRECTORY"]) / "proven"
    for one in [place] if what == "folder" else place.iterdir():
        one.chmod(0o777)
    Proof(folder).catalog()
    assert len(proofs) == 2


def remembered_file() -> Path:
    (one,) = (Path(os.environ["CACHE_DIRECTORY"]) / "proven").iterdir()
    return one


@pytest.mark.parametrize("harm", ["cut off", "changed", "a link"])
def test_what_was_harmed_counts_for_nothing(
    catalog: Callable[..., Path], proofs: list[object], harm: str, tmp_path: Path
) -> None:
    folder = catalog()
    Proof(folder).catalog()
    one = remembered_file()
    if harm == "cut off":
        one.write_bytes(one.read_bytes()[:-1])
    elif harm == "changed":
        one.write_bytes(one.read_bytes().replace(b'"risk":"change"', b'"risk":"observe"'))
    else:
        one.rename(tmp_path / "elsewhere")
        one.symlink_to(tmp_path / "elsewhere")
    Proof(folder).catalog()
    assert len(proofs) == 2


def test_a_file_more_is_proven(catalog: Callable[..., Path], proofs: list[object]) -> None:
    folder = catalog()
    Proof(folder).catalog()
    (folder / "runbooks").mkdir(exist_ok=True)
    (folder / "runbooks" / "more.yml").write_text("version: 1\nrunbooks: []\n")
    Proof(folder).catalog()
    assert len(proofs) == 2


def test_what_a_check_passed_is_not_proven_again(catalog: Callable[..., Path], proofs: list[object]) -> None:
    folder = catalog()
    assert CliRunner().invoke(check, [str(folder)]).exit_code == 0
    found = Proof(folder).catalog()
    assert proofs == []
    shutil.rmtree(os.environ["CACHE_DIRECTORY"])
    assert Proof(folder).catalog().digest == found.digest
    assert len(proofs) == 1


def test_what_a_check_refused_is_not_remembered(catalog: Callable[..., Path], proofs: list[object]) -> None:
    folder = catalog()
    (folder / "runbooks.yml").write_text("version: 1\nrunbook: []\n")
    assert CliRunner().invoke(check, [str(folder)], standalone_mode=False).return_value == 2
    with pytest.raises(CatalogError):
        Proof(folder).catalog()
    assert len(proofs) == 1


def test_the_same_words_in_another_folder_are_proven_there(
    catalog: Callable[..., Path], proofs: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = catalog()
    monkeypatch.chdir(folder.parent)
    Proof(folder.name).catalog()
    Proof(folder).catalog()  # the same folder by its whole path
    assert len(proofs) == 1
    shutil.copytree(folder, tmp_path / "there" / folder.name)
    monkeypatch.chdir(tmp_path / "there")
    assert Proof(folder.name).catalog().path == Path(folder.name)
    assert len(proofs) == 2

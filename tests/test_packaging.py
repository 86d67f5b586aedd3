"""Wheel and sdist: built without the network, complete, and working away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("packaging")

CHECKOUT = Path(__file__).parents[1]
PACKAGES = {"uici": "uici", "uici_executors": "executors", "uici_infrastructure": "infrastructure"}
BUILD = "import setuptools.build_meta as build, sys; print(getattr(build, sys.argv[1])(sys.argv[2]))"


def _run(*command: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "UICI_CONFIG", "UICI_SERVER", "UICI_TOKEN", "CI")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def _built(source: Path, kind: str, into: Path) -> Path:
    name = _run(sys.executable, "-W", "ignore", "-c", BUILD, f"build_{kind}", into, cwd=source).stdout.split()[-1]
    return into / name


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source") / "uici"
    dull = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")
    shutil.copytree(CHECKOUT, source, ignore=dull)
    return _built(source, "sdist", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the unpacked sdist: whoever builds it from there gets the same."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return _built(source, "wheel", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``bin`` of another virtual environment that has the wheel; what it depends on is looked up in this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    # A line of a .pth file adds a folder without running the .pth files in it: the editable checkout stays away.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    yield python.parent
    shutil.rmtree(folder)


def _inside(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_a_wheel_puts_three_names_into_site_packages_and_no_more(wheel: Path) -> None:
    names = {name.split("/")[0] for name in _inside(wheel)}
    assert {name for name in names if not name.endswith(".dist-info")} == set(PACKAGES)


def test_a_wheel_has_every_module_catalog_and_schema_of_the_checkout(wheel: Path) -> None:
    wanted = {
        f"{package}/{path.relative_to(CHECKOUT / folder)}"
        for package, folder in PACKAGES.items()
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in (".py", ".yml", ".yaml", ".tpl", ".txt", ".json", ".typed")
        or (path.suffix == ".md" and folder == "executors")
    }
    assert "uici/py.typed" in wanted
    assert wanted - set(_inside(wheel)) == set()


def test_an_installed_wheel_imports_and_finds_its_executors_away_from_the_checkout(elsewhere: Path) -> None:
    program = "import uici, uici.executor; print(uici.__file__, *uici.executor.names())"
    where, *executors = _run(elsewhere / "python", "-c", program, cwd=elsewhere).stdout.split()
    assert Path(where).is_relative_to(elsewhere.parent)
    assert executors == ["docker", "kubernetes", "supervisor"]


def test_an_installed_wheel_starts_and_checks_a_catalog_away_from_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    _run(elsewhere / "uici", "init", "shop", cwd=tmp_path)
    _run(elsewhere / "uici", "check", "shop", cwd=tmp_path)


def test_an_installed_wheel_shows_the_demo_away_from_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    shown = _run(elsewhere / "uici", "demo", cwd=tmp_path, environ=state).stdout
    assert "recovered" in shown

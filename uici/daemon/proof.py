"""The catalog of a daemon, proven in a process of its own: what only the check needs never weighs on the daemon, a start
proves and imports at the same time, and a reload does not stop the loop. Fails closed: no verdict, no catalog.

It must not take a catalog that differs from the one that was proven, by as much as a character.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from uici.daemon import remembered

if TYPE_CHECKING:
    from pathlib import Path

    from uici.catalog import Catalog

_SECONDS = 120.0
_TRIES = 3
# The same search path as ours, and nothing of the folder that we happen to stand in.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from uici.daemon.proof import prove; prove(json.loads(sys.argv[2]))"


class Proof:
    """A check that has begun; ``catalog`` waits for its verdict.

    What passed before, text for text and with the same software, is not checked again (``remembered``).
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """``path``: of the folder; None: the one that ``UniversalConfigLoader.find`` finds."""
        self._path = path
        # Where nothing is remembered the check begins before anything else is imported.
        self._process = None if remembered.any_proof() else _begun(path)

    def catalog(self) -> Catalog:
        """Raises CatalogError with every problem, or ConfigurationError. Blocks."""
        from uici.catalog import UniversalConfigLoader
        from uici.model import ConfigurationError

        try:
            loader = UniversalConfigLoader.find(self._path)
            for _ in range(_TRIES):
                # Built while the other process proves; it counts only once that has proven the very same.
                catalog, texts = _built(loader.path)
                name = remembered.name_of(texts, ("uici", *_import_executors(catalog)))
                if catalog is not None and self._process is None and remembered.known(name):
                    return catalog
                if self._process is None:
                    self._process = _begun(self._path)
                proven = self._proven(self._process, loader.path)
                if catalog is None or texts != proven:
                    catalog, texts = _built(loader.path)
                    name = remembered.name_of(texts, ("uici", *_import_executors(catalog)))
                if catalog is not None and texts == proven:
                    remembered.remember(name)
                    return catalog
                # Somebody writes just now: what was proven is not what is there.
                self._process = None
        finally:
            self.end()
        raise ConfigurationError(f"{loader.path}: it changes while it is read; try again when its files are written")

    def _proven(self, process: subprocess.Popen[bytes], path: Path) -> str:
        """The digest of the texts that passed."""
        from uici.catalog import CatalogError, Problem
        from uici.model import ConfigurationError

        try:
            text, trouble = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise ConfigurationError(f"{path}: the check did not end within {_SECONDS:g} s") from None
        try:
            said: dict[str, Any] = json.loads(text)
        except ValueError:
            last = trouble.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
            raise ConfigurationError(
                f"{path}: the check ended with status {process.returncode} and without a verdict: {last[0]}"
            ) from None
        if "problems" in said:
            raise CatalogError([Problem(**one) for one in said["problems"]])
        if "error" in said:
            raise ConfigurationError(said["error"])
        return str(said["texts"])

    def end(self) -> None:
        """Ends a check that nobody waits for any more."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


def _built(path: Path) -> tuple[Catalog | None, str]:
    """With the digest of the texts that it was built of. None: it cannot be, and the proof says why."""
    from uici.catalog.gather import gather
    from uici.catalog.loader import build

    try:
        gathered = gather(path)
        return build(gathered), gathered.texts
    except Exception:  # noqa: BLE001 - nothing was checked yet, so anything may be wrong with it
        return None, ""


def _import_executors(catalog: Catalog | None) -> list[str]:
    """Their modules: those that an environment will need, while there is nothing to do but wait. What fails, fails again
    when it is used."""
    from uici.executor import load
    from uici.model import ConfigurationError

    modules = []
    for environment in catalog.environments.values() if catalog is not None else ():
        with contextlib.suppress(ConfigurationError):
            modules.append(load(environment.executor).__module__)
    return modules


def _begun(path: str | os.PathLike[str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json.dumps(path and os.fspath(path))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def prove(path: str | None) -> None:
    """In the process of its own: prints the digest of the texts that passed, or why there is none."""
    gc.disable()  # it is over in a moment; collecting takes a seventh of that
    import dataclasses

    from uici.catalog import CatalogError, UniversalConfigLoader
    from uici.catalog.loader import build
    from uici.model import ConfigurationError

    said: dict[str, Any]
    try:
        proven = UniversalConfigLoader.find(path).proven()
        build(proven)  # what cannot be built says why here
        said = {"texts": proven.texts}
    except CatalogError as error:
        said = {"problems": [dataclasses.asdict(one) for one in error.problems]}
    except ConfigurationError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said))

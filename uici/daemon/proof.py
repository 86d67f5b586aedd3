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

if TYPE_CHECKING:
    from pathlib import Path

    from uici.catalog import Catalog

_SECONDS = 120.0
_TRIES = 3
# The same search path as ours, and nothing of the folder that we happen to stand in.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from uici.daemon.proof import prove; prove(json.loads(sys.argv[2]))"


class Proof:
    """A check that has begun; ``catalog`` waits for its verdict."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """``path``: of the folder; None: the one that ``UniversalConfigLoader.find`` finds."""
        self._path = path
        self._process = _begun(path)

    def catalog(self) -> Catalog:
        """Raises CatalogError with every problem, or ConfigurationError. Blocks."""
        from uici.catalog import UniversalConfigLoader
        from uici.model import ConfigurationError

        try:
            loader = UniversalConfigLoader.find(self._path)
            for _ in range(_TRIES):
                # Built while the other process proves; it counts only once that has proven the very same.
                catalog = _built(loader.path)
                _import_executors(catalog)
                digest = self._digest(loader.path)
                if catalog is None or catalog.digest != digest:
                    catalog = _built(loader.path)
                if catalog is not None and catalog.digest == digest:
                    return catalog
                # Somebody writes just now: what was proven is not what is there.
                self._process = _begun(self._path)
        finally:
            self.end()
        raise ConfigurationError(f"{loader.path}: it changes while it is read; try again when its files are written")

    def _digest(self, path: Path) -> str:
        from uici.catalog import CatalogError, Problem
        from uici.model import ConfigurationError

        try:
            text, trouble = self._process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise ConfigurationError(f"{path}: the check did not end within {_SECONDS:g} s") from None
        try:
            said: dict[str, Any] = json.loads(text)
        except ValueError:
            last = trouble.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
            raise ConfigurationError(
                f"{path}: the check ended with status {self._process.returncode} and without a verdict: {last[0]}"
            ) from None
        if "problems" in said:
            raise CatalogError([Problem(**one) for one in said["problems"]])
        if "error" in said:
            raise ConfigurationError(said["error"])
        return str(said["digest"])

    def end(self) -> None:
        """Ends a check that nobody waits for any more."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


def _built(path: Path) -> Catalog | None:
    """None: it cannot be, and the proof says why."""
    from uici.catalog.gather import gather
    from uici.catalog.loader import build

    try:
        return build(gather(path))
    except Exception:  # noqa: BLE001 - nothing was checked yet, so anything may be wrong with it
        return None


def _import_executors(catalog: Catalog | None) -> None:
    """Those that an environment will need, while there is nothing to do but wait; what fails, fails again when it is used."""
    from uici.executor import load
    from uici.model import ConfigurationError

    for environment in catalog.environments.values() if catalog is not None else ():
        with contextlib.suppress(ConfigurationError):
            load(environment.executor)


def _begun(path: str | os.PathLike[str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json.dumps(path and os.fspath(path))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def prove(path: str | None) -> None:
    """In the process of its own: prints the proven catalog's digest, or why there is none."""
    gc.disable()  # it is over in a moment; collecting takes a seventh of that
    import dataclasses

    from uici.catalog import CatalogError, UniversalConfigLoader
    from uici.model import ConfigurationError

    said: dict[str, Any]
    try:
        said = {"digest": UniversalConfigLoader.find(path).prove().digest}
    except CatalogError as error:
        said = {"problems": [dataclasses.asdict(one) for one in error.problems]}
    except ConfigurationError as error:
        said = {"error": str(error)}
    sys.stdout.write(json.dumps(said))

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
import threading
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, cast

from uici.catalog import folder
from uici.daemon import remembered
from uici.daemon.copied import Copy, copied
from uici.daemon.remembered import Proven

if TYPE_CHECKING:
    from pathlib import Path

    from uici.catalog import Catalog
    from uici.catalog.gather import Gathered

_SECONDS = 120.0
_TRIES = 3
# The same search path as ours, and nothing of the folder that we happen to stand in.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from uici.daemon.proof import prove; prove(json.loads(sys.argv[2]))"


class Proof:
    """A check that has begun; ``catalog`` waits for its verdict.

    What passed before, text for text and with the same software, is not checked again (``remembered``).
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, alone: bool = False) -> None:
        """``path``: of the folder; None: the one that ``UniversalConfigLoader.find`` finds. ``alone``: this process has
        just begun and has no thread but this one, so that the check may be a copy of it."""
        self._path = folder.find(path)
        self._known = remembered.recall(self._path) if self._path is not None else None
        self._process: subprocess.Popen[bytes] | Copy | None = None
        if self._known is None and self._path is not None:
            # Nothing is remembered: the check begins before anything heavy is imported.
            self._process = (copied(prove, os.fspath(self._path)) if alone else None) or _begun(self._path)

    def catalog(self) -> Catalog:
        """Raises CatalogError with every problem, or ConfigurationError. Blocks."""
        from uici.catalog import UniversalConfigLoader
        from uici.catalog.built import build
        from uici.model import ConfigurationError

        path = UniversalConfigLoader.find(self._path).path
        try:
            for _ in range(_TRIES):
                proven = self._known
                if proven is None:
                    self._process = self._process or _begun(path)
                    proven = self._proven(self._process, path)
                _import_executors(one["executor"] for one in proven.definitions["environments"].values())
                catalog = build(path, proven.definitions, tuple(proven.replaced))
                if proven is self._known:
                    return catalog
                if proven.holds():
                    remembered.remember(path, proven)
                    return catalog
                # Somebody writes just now: what was proven is not what is there.
                self._process = None
        finally:
            self.end()
        raise ConfigurationError(f"{path}: it changes while it is read; try again when its files are written")

    def _proven(self, process: subprocess.Popen[bytes] | Copy, path: Path) -> Proven:
        """What passed. The check says first which executors it will need: those are imported while it goes on."""
        import orjson

        from uici.catalog import CatalogError, Problem
        from uici.model import ConfigurationError

        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(_SECONDS, end)
        timer.start()
        try:
            line = cast("IO[bytes]", process.stdout).readline()
            with contextlib.suppress(ValueError):
                _import_executors(orjson.loads(line).get("executors", ()))
            rest, trouble = process.communicate()
        finally:
            timer.cancel()
        if late.is_set():
            raise ConfigurationError(f"{path}: the check did not end within {_SECONDS:g} s")
        try:
            said: dict[str, Any] = orjson.loads(rest or line)
        except ValueError:
            last = trouble.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
            raise ConfigurationError(
                f"{path}: the check ended with status {process.returncode} and without a verdict: {last[0]}"
            ) from None
        if "problems" in said:
            raise CatalogError([Problem(**one) for one in said["problems"]])
        if "error" in said:
            raise ConfigurationError(said["error"])
        if "proven" not in said:
            raise ConfigurationError(f"{path}: the check ended with status {process.returncode} and without a verdict")
        return Proven(**said["proven"])

    def end(self) -> None:
        """Ends a check that nobody waits for any more."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


def _import_executors(names: Iterable[str]) -> None:
    """Those that an environment will need, while there is nothing to do but wait. What fails, fails again when it is used."""
    from uici.executor import load
    from uici.model import ConfigurationError

    for name in names:
        with contextlib.suppress(ConfigurationError):
            load(name)


def _begun(path: str | os.PathLike[str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json.dumps(path and os.fspath(path))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # the first line is read alone, and nothing beyond it
    )


def prove(path: str | None) -> None:
    """In the process of its own: prints a line with the names of the executors that it needs, then what passed, or why
    nothing did."""
    gc.disable()  # it is over in a moment; collecting takes a seventh of that
    import dataclasses

    from uici.catalog import CatalogError, UniversalConfigLoader
    from uici.model import ConfigurationError

    said: dict[str, Any]
    try:
        # What cannot be built says why where it is built.
        said = {"proven": Proven.of(UniversalConfigLoader.find(path).proven(_tell_executors))._asdict()}
    except CatalogError as error:
        said = {"problems": [dataclasses.asdict(one) for one in error.problems]}
    except ConfigurationError as error:
        said = {"error": str(error)}
    _say(said)


def _tell_executors(gathered: Gathered) -> None:
    definitions = [one.definition for one in gathered.environments.values()]
    named = (one.get("executor") for one in definitions if isinstance(one, dict))
    _say({"executors": sorted({one for one in named if isinstance(one, str)})})


def _say(said: dict[str, Any]) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()

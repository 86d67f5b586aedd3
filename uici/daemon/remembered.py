"""Proofs that were passed, remembered between starts: the same texts, checked by the same software, pass again.

What is remembered is a name alone: a digest of every catalog file's text, of what is installed, and of UICI's and the
executors' own files. It lies in a folder that only this user can write to (``$CACHE_DIRECTORY``, else
``$XDG_CACHE_HOME/uici``, else ``~/.cache/uici``). Whatever is missing, foreign or unreadable means: prove it again. It must
not remember a refusal.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

#: How many proofs are kept; a daemon needs its last one.
_MOST = 32


def folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """None where there is no place for it."""
    if environ.get("CACHE_DIRECTORY"):
        return Path(environ["CACHE_DIRECTORY"].partition(":")[0]) / "proven"
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "uici" / "proven"
    try:
        return Path.home() / ".cache" / "uici" / "proven"
    except RuntimeError:
        return None


def any_proof() -> bool:
    """Whether there is anything that might be known; cheap."""
    place = folder()
    try:
        return place is not None and any(place.iterdir())
    except OSError:
        return False


def name_of(texts: str, modules: Iterable[str]) -> str:
    """``texts``: the digest of the catalog's files; ``modules``: those whose packages took part in the check."""
    parts = [texts, sys.version]
    for entry in sys.path:
        if Path(entry).name in ("site-packages", "dist-packages"):
            parts += [f"{one} {at}" for one, at in _installed(entry)]
    packages = {Path(file).parent for name in modules if (file := getattr(sys.modules.get(name), "__file__", None))}
    for package in sorted(packages):
        parts += [f"{one} {size} {at}" for one, size, at in _files(package)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def known(name: str) -> bool:
    """Whether this proof was passed before; only what this user alone could have written counts."""
    place = folder()
    return place is not None and _own(place, stat.S_ISDIR) and _own(place / name, stat.S_ISREG)


def remember(name: str) -> None:
    """Best effort: without it the next start proves again."""
    place = folder()
    if place is None:
        return
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(place / name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        kept = sorted(place.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in kept[_MOST:]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return is_kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _installed(place: str) -> list[tuple[str, int]]:
    try:
        with os.scandir(place) as entries:
            return sorted((one.name, one.stat().st_mtime_ns) for one in entries if one.name.endswith(".dist-info"))
    except OSError:
        return []


def _files(package: Path) -> list[tuple[str, int, int]]:
    found = []
    for place, _, names in os.walk(package):
        for name in names:
            if name.endswith((".py", ".so")):
                at = Path(place, name).stat()
                found.append((str(Path(place, name)), at.st_size, at.st_mtime_ns))
    return sorted(found)

"""Proofs that were passed, remembered between starts: the same texts, checked by the same software, pass again.

What is remembered is what the proof gave (the definitions, plain data) with digests of all that it rests on: every byte of
every file that was read, what is installed, and UICI's and the executors' own files. It lies in a folder that only this
user can write to (``$CACHE_DIRECTORY``, else ``$XDG_CACHE_HOME/uici``, else ``~/.cache/uici``). Whatever is missing,
foreign, cut off or unreadable means: prove it again. It must not remember a refusal, nor import what a daemon that starts
does not need.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from uici.catalog import folder as folders

if TYPE_CHECKING:
    from uici.catalog.gather import Gathered

#: How many catalogs' proofs are kept; a daemon needs its own.
_MOST = 16


class Proven(NamedTuple):
    """What passed. ``sections``: each (folder, section) that was read; ``packages``: folders of the software that took part."""

    definitions: Mapping[str, Any]
    replaced: list[str]
    sections: list[list[str]]
    texts: str
    packages: list[str]
    software: str

    @classmethod
    def of(cls, gathered: Gathered) -> Proven:
        """Of entries that were found right; the executors of their environments are imported already."""
        from uici.executor import load

        modules = {load(one.definition["executor"]).__module__ for one in gathered.environments.values()}
        packages = sorted(
            {
                str(Path(file).parent)
                for name in ("uici", *modules)
                if (file := getattr(sys.modules[name], "__file__", None))
            }
        )
        return cls(
            definitions=gathered.definitions(),
            replaced=gathered.replaced,
            sections=[[os.path.abspath(place), section] for place, section in gathered.sections],  # noqa: PTH100 - links stay
            texts=gathered.texts,
            packages=packages,
            software=_software(packages),
        )

    def holds(self) -> bool:
        """Whether everything that it rests on is as it was."""
        try:
            texts = folders.digest((place, section) for place, section in self.sections)
            return texts == self.texts and _software(self.packages) == self.software
        except OSError:
            return False


def recall(catalog: str | os.PathLike[str]) -> Proven | None:
    """What passed for this folder and still holds."""
    place = _place()
    if place is None:
        return None
    try:
        if not _own(place.lstat(), stat.S_ISDIR):
            return None
        with os.fdopen(os.open(place / _name(catalog), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not _own(os.fstat(file.fileno()), stat.S_ISREG):
                return None
            digest, _, body = file.read().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        import orjson  # only now: where nothing is remembered the check has begun before it is imported

        proven = Proven(**orjson.loads(body))
    except (OSError, TypeError, ValueError):
        return None
    return proven if proven.holds() else None


def remember(catalog: str | os.PathLike[str], proven: Proven) -> None:
    """Best effort: without it the next start proves again."""
    place = _place()
    if place is None:
        return
    import orjson

    body = orjson.dumps(proven._asdict())
    name = _name(catalog)
    new = place / f"{name}.{os.getpid()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        new.replace(place / name)
        kept = sorted(place.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in kept[_MOST:]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def remember_passed(catalog: Path, gathered: Gathered) -> None:
    """As ``remember``, of what a full check passed; what cannot be built is left to the start, which says why."""
    from uici.catalog.built import build
    from uici.model import ConfigurationError

    try:
        proven = Proven.of(gathered)
        build(catalog, proven.definitions)
    except ConfigurationError:
        return
    remember(catalog, proven)


def _place(environ: Mapping[str, str] = os.environ) -> Path | None:
    """None where there is no place for it."""
    if environ.get("CACHE_DIRECTORY"):
        return Path(environ["CACHE_DIRECTORY"].partition(":")[0]) / "proven"
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "uici" / "proven"
    try:
        return Path.home() / ".cache" / "uici" / "proven"
    except RuntimeError:
        return None


def _name(catalog: str | os.PathLike[str]) -> str:
    """Of one folder's proof by one Python."""
    return hashlib.sha256(f"{os.path.abspath(catalog)}\0{sys.prefix}\0{sys.version}".encode()).hexdigest()  # noqa: PTH100


def _own(found: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Only what this user alone could have written counts."""
    return is_kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _software(packages: Iterable[str]) -> str:
    """A digest of what is installed, where it is looked for, and of those packages' files. Raises OSError."""
    parts = [sys.version, *sys.path]
    for entry in sys.path:
        if entry.endswith(("site-packages", "dist-packages")):
            parts += [f"{one} {at}" for one, at in _installed(entry)]
    for package in packages:
        parts += [f"{one} {size} {at}" for one, size, at in _files(package)]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _installed(place: str) -> list[tuple[str, int]]:
    try:
        with os.scandir(place) as entries:
            return sorted((one.name, one.stat().st_mtime_ns) for one in entries if one.name.endswith(".dist-info"))
    except OSError:
        return []


def _files(package: str) -> list[tuple[str, int, int]]:
    found = []
    waiting = [package]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for one in entries:
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
                elif one.name.endswith((".py", ".so")):
                    at = one.stat()
                    found.append((one.path, at.st_size, at.st_mtime_ns))
    return sorted(found)

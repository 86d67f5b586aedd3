"""Where a catalog lies and which files it is made of: names alone, nothing is parsed. Imports nothing of UICI.

``gather`` reads by it and ``daemon.remembered`` compares by it, so that both always mean the same files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path("infrastructure/config")
SYSTEM = Path("/etc/uici")
SUFFIXES = (".yml", ".yaml")


def find(
    explicit: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: str | os.PathLike[str] | None = None,
) -> Path | None:
    """``--config``, else UICI_CONFIG, else ./infrastructure/config, else /etc/uici; None where none is given or there."""
    if explicit is not None:
        return Path(explicit)
    if environ.get("UICI_CONFIG"):
        return Path(environ["UICI_CONFIG"])
    places = (Path(cwd, HERE) if cwd is not None else HERE, SYSTEM)
    return next((place for place in places if place.is_dir()), None)


def files(folder: Path, section: str) -> list[Path]:
    """The files of one section: ``section.yml`` and those in the folder ``section``."""
    found = [folder / f"{section}{suffix}" for suffix in SUFFIXES if (folder / f"{section}{suffix}").is_file()]
    if (folder / section).is_dir():
        found += sorted(one for one in (folder / section).iterdir() if one.suffix in SUFFIXES and one.is_file())
    return found


def digest(sections: Iterable[tuple[str, str]]) -> str:
    """Of the files' names and every byte of them, for each (folder, section) in order. Raises OSError."""
    return digest_of(
        (
            folder,
            section,
            [(str(file), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files(Path(folder), section)],
        )
        for folder, section in sections
    )


def digest_of(read: Iterable[tuple[str, str, Iterable[tuple[str, str]]]]) -> str:
    """The same of what was read already: folder, section, and each file's path and SHA-256.

    A folder counts by its place in the order alone, so that it may be called otherwise (relative, absolute).
    """
    said = [[section, [[os.path.relpath(path, folder), of] for path, of in found]] for folder, section, found in read]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()

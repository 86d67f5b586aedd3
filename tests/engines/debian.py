"""A Debian root with Python, for images that are made without a registry: debootstrap's, from apt's own mirror, kept outside
of every checkout beside the built programs (``python -m tests.engines``, which ``make engines`` runs, makes it once).

Nothing in the kept root is ever changed: whoever wants more takes a ``tree`` of it. Nothing is made while tests run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.engines.gobuild import BuildError, cache

SUITE = "bookworm"
#: Of its python3.
PYTHON = (3, 11)
_INCLUDE = ("python3", "ca-certificates")
_DULL = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info")


def path() -> Path:
    """Where it is, or will be."""
    digest = hashlib.sha256(repr((SUITE, _INCLUDE, _DULL)).encode()).hexdigest()[:16]
    return cache() / "debian" / digest / "root"


def build() -> Path:
    """Its path; makes it where it is not there yet, or waits for whoever makes it. Raises BuildError."""
    target = path()
    if target.exists():
        return target
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise BuildError("a Debian root for images needs root and debootstrap")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="make-") as work:
                _make(Path(work, "root")).rename(target)
    return target


def _make(root: Path) -> Path:
    said = ""
    for mirror in _mirrors():
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(_INCLUDE)}", SUITE, str(root), mirror],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            for name in _DULL:
                shutil.rmtree(root / name, ignore_errors=True)
            return root
        said += f"\ndebootstrap from {mirror}:\n{done.stdout[-1000:]}"
        shutil.rmtree(root, ignore_errors=True)
    raise BuildError(
        f"no Debian root can be made:{said or ' apt on this machine names no mirror of Debian in its sources'}"
    )


def _mirrors() -> Iterator[str]:
    """Those that apt on this machine fetches Debian from."""
    seen: dict[str, None] = {}
    for file in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
            found = re.match(r"(?:URIs:|deb\s(?:\s*\[[^]]*\])?)\s*(https?://\S+?)/?(?:\s|$)", line)
            if found and "security" not in found[1]:
                seen[found[1]] = None
    yield from seen


def tree(root: Path) -> Path:
    """A copy of the kept root for somebody who adds to it: hard links where they can be, so files in it are replaced, never
    written into."""
    for links in (["--link"], []):
        shutil.rmtree(root, ignore_errors=True)
        copied = subprocess.run(["cp", "--archive", *links, str(path()), str(root)], capture_output=True, check=False)
        if copied.returncode == 0:
            return root
    raise BuildError(f"the Debian root cannot be copied: {copied.stderr.decode(errors='replace')}")

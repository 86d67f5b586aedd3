"""Which container serves a port of this machine: for containers in the host's network, whose ports Docker does not know.

Reads /proc (proc(5), cgroups(7)) of the machine that UICI runs on; asks no engine.
"""

from __future__ import annotations

import re
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{64}")
_LISTENS = "0A"


def serving(port: int, proc: Path = Path("/proc")) -> frozenset[str] | None:
    """Ids of the containers whose processes listen there; empty where others do, or nobody; None where it cannot be told."""
    inodes = _inodes(port, proc)
    if not inodes:
        return frozenset()
    wanted, found, seen = {f"socket:[{inode}]" for inode in inodes}, set(), False
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            holds = any(str(descriptor.readlink()) in wanted for descriptor in (process / "fd").iterdir())
        except OSError:
            continue  # gone, or another user's
        if holds:
            seen = True
            found |= set(_ID.findall(_read(process / "cgroup")))
    return frozenset(found) if seen else None


def _inodes(port: int, proc: Path) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        for line in _read(proc / "self/net" / name).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

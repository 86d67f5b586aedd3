"""What this machine's ``/proc`` tells of processes that a supervisord reports: usage, order of starts, sockets, files.

Reads only, and only of process ids that the caller took from a supervisord on this same machine. It blocks. It must not
guess: what cannot be read is said to be so.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from uici.model.record import dataclass

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket. ``address``: ``host:port`` or a unix path. ``uid``: of its maker, None for unix sockets."""

    address: str
    inode: int
    uid: int | None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name; the first is the state. None: no such process here."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None


def start_order(pid: int) -> int | None:
    """When the process began, in clock ticks since boot: of two starts the later has the larger number."""
    fields = _stat(pid) if pid > 0 else None
    return int(fields[19]) if fields else None


def descendants(pids: Iterable[int]) -> dict[int, set[int]]:
    """Each pid's own tree, itself among it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    trees: dict[int, set[int]] = {}
    for pid in pids:
        tree, waiting = set(), [pid]
        while waiting:
            one = waiting.pop()
            if one not in tree:
                tree.add(one)
                waiting += children.get(one, [])
        trees[pid] = tree
    return trees


def usage(pid: int, sample_seconds: float = 0.2) -> dict[str, float | int]:
    """``{cpu_percent, memory_bytes, processes}`` of a process and its descendants; zeros where it does not run.

    ``cpu_percent`` is of one core, measured over ``sample_seconds``. ``memory_bytes`` is resident, shared pages
    counted for each.
    """
    tree = descendants([pid])[pid] if pid > 0 and _stat(pid) else set()
    if not tree:
        return {"cpu_percent": 0.0, "memory_bytes": 0, "processes": 0}
    before, began = _ticks(tree), time.monotonic()
    time.sleep(sample_seconds)
    after, ended = _ticks(tree), time.monotonic()
    used = sum(after[one] - before[one] for one in after.keys() & before.keys())
    memory = 0
    for one in tree:
        try:
            memory += int((_PROC / str(one) / "statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return {
        "cpu_percent": round(100 * used / _TICKS / (ended - began), 1),
        "memory_bytes": memory,
        "processes": len(after),
    }


def _ticks(pids: Iterable[int]) -> dict[int, int]:
    return {pid: int(fields[11]) + int(fields[12]) for pid in pids if (fields := _stat(pid))}


def socket_inodes(pid: int) -> set[int] | None:
    """The inodes of the sockets that a process holds; None where this user may not look."""
    inodes = set()
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            try:
                name = str(entry.readlink())
            except FileNotFoundError:
                continue
            if name.startswith("socket:["):
                inodes.add(int(name[8:-1]))
    except FileNotFoundError:
        return set()  # it ended
    except PermissionError:
        return None
    return inodes


def owner(pid: int) -> int | None:
    """The user id that a process runs under; None: no such process here."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def listeners() -> list[Listener]:
    """Every listening TCP and unix socket of this network namespace."""
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for fields in _rows(_PROC / "net" / name):
            if len(fields) > 9 and fields[3] == _LISTEN:
                host, port = fields[1].split(":")
                found.append(Listener(f"{_host(host, family)}:{int(port, 16)}", int(fields[9]), int(fields[7])))
    found += [
        Listener(fields[7], int(fields[6]), None)
        for fields in _rows(_PROC / "net" / "unix")
        if len(fields) > 7 and int(fields[3], 16) & 0x10000  # __SO_ACCEPTCON: it listens
    ]
    return found


def _rows(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(errors="surrogateescape").splitlines()[1:]]
    except OSError:
        return []


def _host(text: str, family: socket.AddressFamily) -> str:
    words = [struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8)]
    host = socket.inet_ntop(family, b"".join(words))
    return host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host


def holders(
    inodes: Mapping[int, int | None], trees: Mapping[int, set[int]]
) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """Which trees hold which of the sockets (inode -> uid of its maker): known to, and cannot be ruled out.

    A socket that is found in a tree is settled; of the others, a tree with a process that may not be looked into and
    that runs under the socket's own user may hold it.
    """
    known: dict[int, set[int]] = {}
    unreadable: dict[int, set[int]] = {}
    for root, tree in trees.items():
        for pid in tree:
            held = socket_inodes(pid)
            if held is None:
                unreadable.setdefault(root, set()).add(pid)
            elif mine := held & inodes.keys():
                known.setdefault(root, set()).update(mine)
    settled = set().union(*known.values()) if known else set()
    possible: dict[int, set[int]] = {}
    for root, pids in unreadable.items():
        owners = {owner(pid) for pid in pids}
        mine = {inode for inode, uid in inodes.items() if inode not in settled and (uid is None or uid in owners)}
        if mine:
            possible[root] = mine
    return known, possible


def tail(path: str, length: int, uid: int | None) -> bytes | None:
    """The last bytes of a log file of the user ``uid``; None where it is none, or not to be read by this user.

    The path is what a supervisord says. One that runs as another user must not have this user's files read for it, and
    /dev/stdout is not its own here but this process's.
    """
    if uid is None or not path.startswith("/") or path.startswith(("/dev/", "/proc/")):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a Path cannot be opened without waiting for a pipe's writer
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode) or uid not in (0, seen.st_uid):
                return None
            file.seek(max(seen.st_size - length, 0))
            return file.read(length)
    except OSError:
        return None

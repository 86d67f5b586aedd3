"""What can be read of UICI's own process, for executors' ``identity``. Reads /proc; asks no engine.

Sources: cgroups(7) and proc(5); Docker's and containerd's full container ids are 64 hexadecimal digits in
``/proc/self/cgroup`` (cgroup v1) or in the mounts of ``/etc/hostname`` (cgroup v2 with private namespaces).
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uici.executor import Facts

_CONTAINER = re.compile(r"[0-9a-f]{64}")


def gather(
    *,
    listens: Sequence[str] = (),
    needs: Sequence[str] = (),
    paths: Sequence[str] = (),
    depends_on: Sequence[Any] = (),
    environ: Mapping[str, str] = os.environ,
    proc: Path = Path("/proc"),
) -> Facts:
    """The facts of this process; what cannot be read is left empty, which identity must treat as not known."""
    pids = _ancestors(proc)
    return Facts(
        machine_id=_read(Path("/etc/machine-id")).strip(),
        boot_id=_read(proc / "sys/kernel/random/boot_id").strip(),
        hostname=socket.gethostname(),
        pids=pids,
        process_groups=tuple({os.getpgid(pid) for pid in pids[:1]}),
        containers=_containers(proc),
        listens=tuple(listens),
        needs=tuple(needs),
        paths=(*paths, sys.executable, str(Path(__file__).resolve().parents[1])),
        names=tuple(one if isinstance(one, Mapping) else {"name": one} for one in depends_on),
        environment_variables={
            name: environ[name]
            for name in ("SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME", "SUPERVISOR_SERVER_URL")
            if name in environ
        },
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _ancestors(proc: Path) -> tuple[int, ...]:
    pids: list[int] = []
    pid = os.getpid()
    while pid > 0 and len(pids) < 64:
        pids.append(pid)
        match = re.search(r"^PPid:\s*(\d+)", _read(proc / str(pid) / "status"), re.MULTILINE)
        pid = int(match[1]) if match else 0
    return tuple(pids)


def _containers(proc: Path) -> tuple[str, ...]:
    found = dict.fromkeys(_CONTAINER.findall(_read(proc / "self/cgroup")))
    for line in _read(proc / "self/mountinfo").splitlines():
        fields = line.split(" ")
        # Docker and podman mount these three from the container's own folder, which is named by its full id.
        if len(fields) > 4 and fields[4] in ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"):
            found.update(dict.fromkeys(_CONTAINER.findall(fields[3])))
    return tuple(found)

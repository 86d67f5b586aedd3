"""What an engine of the tests has left on the machine, by its folder. It must not take anything away."""

from __future__ import annotations

import time
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def remains(folder: Path, link: str = "") -> list[str]:
    """Files, processes, control groups, mounts, and the network interface ``link``, which the kernel takes a while to end."""
    found = [str(one) for one in folder.parent.glob(f"{folder.name}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    found += [str(one) for one in (*_GROUPS.glob(folder.name), *_GROUPS.glob(f"*/{folder.name}"))]
    if link and (interface := Path("/sys/class/net", link)).exists():
        found.append(str(interface))
    return found + [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]


def wait_gone(folder: Path, link: str = "", *, seconds: float = 30) -> None:
    """Returns when nothing remains; raises AssertionError with what does."""
    deadline = time.monotonic() + seconds
    while left := remains(folder, link):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s there is still: {left}")
        time.sleep(0.02)

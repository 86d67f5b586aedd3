"""The keeper of one test cluster: starts it in namespaces of its own and takes everything away when nobody uses it.

Run by ``tests.engines.kubernetes`` as a program, with a folder and the built program. It lives while anybody holds a
shared lock on ``<folder>/users``: the kernel lets go of that lock when a test run ends, however it ends. It must not
touch anything outside of its folder, its control group, its pair of network interfaces and its namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

from tests.engines.kubernetes.layout import Layout, write

_PR_SET_PDEATHSIG = 1
_GROUPS = Path("/sys/fs/cgroup")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _hierarchies() -> list[Path]:
    """Roots of the control groups: one, or with version 1 one for each controller."""
    if (_GROUPS / "cgroup.controllers").exists():
        return [_GROUPS]
    return [one for one in _GROUPS.iterdir() if one.is_dir() and not one.is_symlink() and os.path.ismount(one)]


def _make_groups(name: str) -> None:
    """The kubelet's root: two kubelets in one group would end each other's containers."""
    for root in _hierarchies():
        offered = root / "cgroup.controllers"
        for controller in offered.read_text().split() if offered.exists() else []:
            with contextlib.suppress(OSError):
                (root / "cgroup.subtree_control").write_text(f"+{controller}")
        (root / name).mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if root.name == "cpuset" and not (root / name / file).read_text().strip():
                (root / name / file).write_text((root / file).read_text())


def start(folder: Path, cluster: str) -> subprocess.Popen[bytes]:
    """The node in namespaces of its own: when their init is gone, so is every process, mount and interface."""
    return subprocess.Popen(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private",
         sys.executable, "-S", "-m", "tests.engines.kubernetes.node", str(folder), cluster],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("ab"),
        preexec_fn=_die_with_parent,
    )  # fmt: skip


def _init(unshared: subprocess.Popen[bytes]) -> int:
    """The process id of the namespaces' init."""
    children = Path(f"/proc/{unshared.pid}/task/{unshared.pid}/children")
    while not (found := children.read_text().split()):
        if unshared.poll() is not None:
            raise RuntimeError("the namespaces cannot be made; see the log")
        time.sleep(0.005)
    return int(found[0])


def _ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], check=False, capture_output=True).returncode == 0


def connect(folder: Path, init: int) -> Layout:
    """A pair of interfaces from the machine into the cluster, on addresses that nobody has yet: its name is the lock."""
    first = zlib.crc32(folder.name.encode())
    for turn in range(254):
        layout = Layout(folder, 1 + (first + turn) % 254)
        if subprocess.run(["ip", "route", "show", layout.pods], check=False, capture_output=True).stdout.strip():
            continue
        if not _ip("link", "add", layout.link, "type", "veth", "peer", "name", "eth0", "netns", str(init)):
            continue
        for words in (
            ("address", "add", f"{layout.host}/24", "dev", layout.link),
            ("link", "set", layout.link, "up"),
            ("route", "add", layout.pods, "via", layout.node),
        ):
            if not _ip(*words):
                raise RuntimeError(f"ip {' '.join(words)} failed")
        return layout
    raise RuntimeError("no pair of network interfaces can be made")


def clean(folder: Path, group: str) -> None:
    """Removes what a dead cluster leaves on the disk: its folder and its control groups."""
    deadline = time.monotonic() + 5  # a group is busy for a moment after its last process
    while left := [root / group for root in _hierarchies() if (root / group).exists()]:
        for inner in (Path(inner) for one in left for inner, _, _ in os.walk(one, topdown=False)):
            with contextlib.suppress(OSError):
                inner.rmdir()
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def leave(folder: Path) -> None:
    """Moves the folder away, so that who looks for it sees that it is no longer there; then cleans it."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    clean(gone, folder.name)


def keep(folder: Path, cluster: str) -> None:
    """Returns when the last user is gone and everything is taken away."""
    with (folder / "keeper").open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _make_groups(folder.name)
        node = start(folder, cluster)
        init = 0
        try:
            layout = connect(folder, init := _init(node))
            write(layout)
            (folder / "number.new").write_text(str(layout.number))
            (folder / "number.new").rename(folder / "number")  # the node goes on from here
        except Exception as error:  # noqa: BLE001  whatever it was: whoever waits for the cluster reads it in its log
            with (folder / "log").open("a") as log:
                log.write(f"keeper: {error}\n")
            (folder / "failed").touch()
        with (folder / "users").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            with contextlib.suppress(ProcessLookupError):
                # The init's end is the end of all in its namespace, and ``unshare`` waits for it.
                os.kill(init or node.pid, signal.SIGKILL)
            node.wait()
            leave(folder)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    keep(Path(sys.argv[1]), sys.argv[2])

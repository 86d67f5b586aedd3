"""The keeper of one private dockerd: starts it in namespaces of its own and takes everything away when nobody uses it.

Run as a program by ``tests.engines.docker``, with a folder. It lives while anybody holds a shared lock on
``<folder>/users``: the kernel lets go of that lock when a test run ends, however it ends. It must not depend on the
test run in any other way, and it must not touch anything outside its folder, its control groups and its namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

#: The init of the private PID namespace: reaps, and starts dockerd again once the ``down`` file is gone.
INIT = """
trap 'kill -TERM $engine 2>/dev/null; wait $engine; exit 0' TERM INT
mount --make-rprivate / 2>/dev/null
while :; do
  rm -f "$1/docker.pid"
  dockerd --data-root "$1/data" --exec-root "$1/run" -H "unix://$1/docker.sock" --pidfile "$1/docker.pid" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
    --cgroup-parent "/$2" --shutdown-timeout 1 --config-file "$1/daemon.json" --log-level warn >>"$1/log" 2>&1 &
  engine=$!
  wait $engine
  while [ -e "$1/down" ]; do busybox sleep 0.02; done
done
"""

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _settings(folder: Path) -> dict[str, str]:
    """Docker before 24 has its id (``info.ID``) from a key outside of its folder, so that all on a machine had the same."""
    said = subprocess.run(["dockerd", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.", said)
    return {"deprecated-key-path": f"{folder}/key.json"} if found and int(found[1]) < 24 else {}


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The engine in PID and mount namespaces of its own: when their init is gone, so is every process and mount."""
    (folder / "daemon.json").write_text(json.dumps(_settings(folder)))
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private",
         "busybox", "sh", "-c", INIT, "dockerd-init", str(folder), folder.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("ab"),
        preexec_fn=_die_with_parent,
    )  # fmt: skip


def clean(folder: Path, group: str) -> None:
    """Removes what a dead engine leaves on the disk: its folder, its control groups, its bridges."""
    for network in (folder / "networks").glob("*"):
        with contextlib.suppress(OSError):
            subprocess.run(["ip", "link", "delete", f"br-{network.name[:12]}"], check=False, capture_output=True)
    for root, folders, _ in os.walk("/sys/fs/cgroup", topdown=True):
        if group in folders:
            for inner, _, _ in os.walk(Path(root, group), topdown=False):
                with contextlib.suppress(OSError):
                    Path(inner).rmdir()
        if root.count("/") >= 4:
            folders.clear()
    shutil.rmtree(folder, ignore_errors=True)


def leave(folder: Path) -> None:
    """Moves the folder away, so that whoever waits for its lock sees that it is no longer there; then cleans it."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    Path(f"{folder}.lock").unlink(missing_ok=True)
    clean(gone, folder.name)


def keep(folder: Path) -> None:
    """Returns when the last user is gone and everything is taken away."""
    with (folder / "keeper").open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        engine = start(folder)
        with (folder / "users").open("w") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            engine.kill()
            engine.wait()
            leave(folder)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    keep(Path(sys.argv[1]))

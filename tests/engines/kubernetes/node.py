"""The init of a test cluster's namespaces: brings up the control plane and the node, and each part again when it ends.

Run as a program by the keeper. A file ``<folder>/down/<component>`` keeps a component away until it is removed. It
writes ``<folder>/up`` when all is started, or ``failed``. It must not change anything that is the whole machine's:
settings under ``/proc/sys`` that Kubernetes would write are hidden behind copies, and folders that it names by itself
behind folders of the cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.engines.kubernetes.layout import NODE, Layout, program

_KERNEL = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_FOLDERS = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/run")
#: Between the end of a component and its new start.
_PAUSE = 0.2


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def hide(folder: Path) -> None:
    """Mounts of this mount namespace alone."""
    for number, name in enumerate(_KERNEL):
        if not Path("/proc/sys", name).exists():
            continue
        own = folder / "var" / str(number)
        own.write_bytes(Path("/proc/sys", name).read_bytes())
        run("mount", "--bind", str(own), f"/proc/sys/{name}")
    if Path("/etc/resolv.conf").exists():
        run("mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf")
    for name in _FOLDERS:
        own = folder / "var" / name.strip("/").replace("/", "-")
        own.mkdir()
        Path(name).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(own), name)
    run("mount", "--make-rshared", "/")  # among Pods, as on any node; never with the machine


def connect(layout: Layout) -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{layout.node}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "route", "add", "default", "via", layout.host)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def components(layout: Layout) -> dict[str, list[str]]:
    folder = layout.folder
    return {
        "containerd": ["-c", f"{folder}/containerd.toml"],
        "etcd": [
            f"--data-dir={folder}/etcd",
            "--unsafe-no-fsync",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
        "kube-apiserver": [
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            f"--advertise-address={layout.node}",
            f"--tls-cert-file={folder}/api.crt",
            f"--tls-private-key-file={folder}/api.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/accounts.pub",
            f"--service-account-signing-key-file={folder}/accounts.key",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={folder}/tokens",
            "--allow-privileged",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={folder}/audit.json",
            f"--audit-log-path={folder}/logs/audit",
            "--audit-log-mode=blocking",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={folder}/kube-controller-manager.kubeconfig",
            f"--service-account-private-key-file={folder}/accounts.key",
            f"--root-ca-file={folder}/ca.crt",
            "--use-service-account-credentials",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
        "kube-scheduler": [
            f"--kubeconfig={folder}/kube-scheduler.kubeconfig",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
        "kube-proxy": [f"--config={folder}/kube-proxy.json"],
        "kubelet": [
            f"--config={folder}/kubelet.json",
            f"--kubeconfig={folder}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--root-dir={folder}/kubelet",
            f"--node-ip={layout.node}",
        ],
    }


class Node:
    """The components, by name, and the process of each that runs."""

    def __init__(self, layout: Layout, cluster: str) -> None:
        self.layout = layout
        self.cluster = cluster
        self.commands = components(layout)
        self.processes: dict[int, str] = {}

    def start(self, name: str) -> None:
        folder = self.layout.folder
        own = name == "containerd"
        process = subprocess.Popen(
            [program(folder, name), *([] if own else [name]), *self.commands[name]],
            executable="/usr/bin/containerd" if own else self.cluster,
            stdin=subprocess.DEVNULL,
            stdout=(log := (folder / "logs" / name).open("ab")),
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
        log.close()
        self.processes[process.pid] = name
        process.returncode = 0  # reaped by ``keep``

    def bring_up(self) -> None:
        """Raises RuntimeError when the API server or containerd does not answer in time."""
        for name in ("etcd", "kube-apiserver", "containerd"):
            self.start(name)
        # Images while the API server starts.
        control = ("ctr", "-a", str(self.layout.containerd), "-n", "k8s.io")
        until(
            lambda: subprocess.run([*control, "version"], capture_output=True, check=False).returncode == 0,
            "containerd",
        )
        for image in sorted((self.layout.folder / "images").glob("*.tar")):
            run(*control, "images", "import", str(image))
        until(self._ready, "the API server")
        for name in self.commands.keys() - set(self.processes.values()):
            self.start(name)

    def _ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.layout.folder / "ca.crt"))
        try:
            with urllib.request.urlopen(  # noqa: S310  its own address
                f"{self.layout.api}/readyz", timeout=5, context=context
            ) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def keep(self) -> None:
        """Never returns; reaps every orphan of the namespace."""
        while True:
            here = set(self.processes.values())
            down = {name for name in self.commands if name not in here}
            for name in down:
                if not (self.layout.folder / "down" / name).exists():
                    self.start(name)
            waiting = bool(self.commands.keys() - set(self.processes.values()))
            pid, _ = os.waitpid(-1, os.WNOHANG if waiting else 0)
            name_of = self.processes.pop(pid, None)
            if pid == 0:
                time.sleep(0.02)
            elif name_of and not (self.layout.folder / "down" / name_of).exists():
                time.sleep(_PAUSE)


def until(holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not answer after {seconds:.0f} s")
        time.sleep(0.05)


def main(folder: Path, cluster: str) -> None:
    try:
        until((folder / "number").exists, "the keeper")
        layout = Layout(folder, int((folder / "number").read_text()))
        hide(folder)
        connect(layout)
        node = Node(layout, cluster)
        node.bring_up()
    except BaseException:
        with contextlib.suppress(OSError):
            (folder / "failed").touch()
        raise
    (folder / "up").touch()
    node.keep()


if __name__ == "__main__":
    # The keeper ignores these; what is ignored stays so in every child, down to the containers. An init ignores them anyway.
    for usual in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(usual, signal.SIG_DFL)
    main(Path(sys.argv[1]), sys.argv[2])

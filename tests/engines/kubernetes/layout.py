"""One test cluster's folder, addresses and configuration files.

It must not start anything. Everything is inside the cluster's own network, so the ports are Kubernetes' usual ones.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE = "node-1"
#: Behind which Pods find the API server.
SERVICE = "10.96.0.1"


@dataclass(frozen=True, slots=True)
class Layout:
    """``number``: 1 to 254, unique on the machine; the third part of every address that the machine sees."""

    folder: Path
    number: int

    @property
    def link(self) -> str:
        """The machine's end of the pair of network interfaces."""
        return f"uicikube{self.number}"

    @property
    def host(self) -> str:
        """The machine's address, as Pods see it."""
        return f"10.250.{self.number}.1"

    @property
    def node(self) -> str:
        """The node's address; the API server's too."""
        return f"10.250.{self.number}.2"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number}.0/24"

    @property
    def api(self) -> str:
        return f"https://{self.node}:6443"

    @property
    def group(self) -> str:
        """The control group that all containers are in."""
        return self.folder.name

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd.sock"


def program(folder: Path, component: str) -> str:
    """``argv[0]`` of a component, by which it is found among the machine's processes."""
    return f"{folder}/{component}"


def running(folder: Path, component: str) -> int | None:
    """A component's process id, as this process sees it."""
    name = os.fsencode(program(folder, component))
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().split(b"\0")[0] == name:
                return int(entry.name)
        except OSError:
            continue
    return None


#: Each component of the control plane has a name of its own, so that the audit log tells it from a test.
_USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
}


def kubeconfig(server: str, authority: bytes, token: str, namespace: str = "default") -> str:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        },
        indent=1,
    )


def write(layout: Layout) -> None:
    """Keys, certificates, tokens and every component's configuration."""
    folder = layout.folder
    for name in ("cni", "manifests", "logs", "down", "var"):
        (folder / name).mkdir(exist_ok=True)
    _keys(layout)
    authority = (folder / "ca.crt").read_bytes()
    tokens = ""
    for name, (user, group) in _USERS.items():
        token = secrets.token_hex(16)
        tokens += f'{token},{user},{name},"{group}"\n'
        path = folder / ("kubeconfig" if name == "admin" else f"{name}.kubeconfig")
        path.write_text(kubeconfig(layout.api, authority, token))
    (folder / "tokens").write_text(tokens)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (folder / "containerd.toml").write_text(_containerd(layout))
    for file, content in {
        "cni/10-pods.conflist": _network(layout),
        "kubelet.json": _kubelet(layout),
        "kube-proxy.json": _proxy(layout),
        "audit.json": _AUDIT,
    }.items():
        (folder / file).write_text(json.dumps(content, indent=1))


def _keys(layout: Layout) -> None:
    """An authority, the API server's certificate for each of its names, and the key that signs service accounts' tokens."""
    folder = layout.folder

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "api", "accounts"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl("ec", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=test-authority", "-days", "30", "-out", "ca.crt")
    openssl("req", "-new", "-key", "api.key", "-subj", "/CN=kube-apiserver", "-out", "api.csr")
    services = [f"DNS:{'.'.join(['kubernetes', 'default', 'svc', 'cluster', 'local'][:upto])}" for upto in (1, 2, 3, 5)]
    addresses = [f"IP:{one}" for one in ("127.0.0.1", layout.node, SERVICE)]
    (folder / "api.ext").write_text(
        f"subjectAltName={','.join(['DNS:localhost', *services, *addresses])}\nextendedKeyUsage=serverAuth\n"
    )
    openssl("x509", "-req", "-in", "api.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "api.ext", "-out", "api.crt")  # fmt: skip


def _containerd(layout: Layout) -> str:
    # restrict_oom_score_adj: in some sandboxes runc may not lower its score, and every Pod fails with "can't get final
    # child's PID from pipe: EOF".
    folder = layout.folder
    return f"""version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{layout.containerd}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "localhost/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def _network(layout: Layout) -> Mapping[str, Any]:
    """Each Pod on a line of its own (ptp): every packet is routed, so Services work without a bridge's netfilter module."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{layout.folder}/cni/addresses",
        "ranges": [[{"subnet": layout.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(layout: Layout) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Nobody but this machine reaches the node.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": layout.node,
        "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": f"unix://{layout.containerd}",
        "staticPodPath": f"{layout.folder}/manifests",
        "volumePluginDir": f"{layout.folder}/volume-plugins",
        "resolvConf": f"{layout.folder}/resolv.conf",
        # The machine's disk and memory are not this cluster's business.
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def _proxy(layout: Layout) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{layout.folder}/kube-proxy.kubeconfig"},
        "mode": "iptables",
        "clusterCIDR": layout.pods,
        "hostnameOverride": NODE,
        # Those of conntrack are the whole machine's.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


#: What tests and what they test ask of the API server, without the control plane's own.
_AUDIT: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "None",
            "userGroups": ["system:nodes", "system:serviceaccounts:kube-system", "system:unauthenticated"],
        },
        {"level": "None", "users": [*(user for user, _ in _USERS.values() if user != "admin"), "system:apiserver"]},
        {"level": "Metadata"},
    ],
}

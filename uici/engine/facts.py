"""What can be read of UICI's own process, for executors' ``identity``. Reads /proc; asks no engine.

Sources: cgroups(7) and proc(5); Docker's and containerd's full container ids are 64 hexadecimal digits in
``/proc/self/cgroup`` (cgroup v1) or in the mounts of ``/etc/hostname`` (cgroup v2 with private namespaces). A Pod's uid
stands in its control group and in the mount of ``/etc/hosts``, its name in its service account's token, which is decoded
and not verified: whoever could forge it is this process itself.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uici.executor import Facts

_CONTAINER = re.compile(r"[0-9a-f]{64}")
#: ``/kubepods/burstable/pod<uid>/…``, with underscores where systemd names the group.
_POD_GROUP = re.compile(r"[/-]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})\b")
_POD_MOUNT = re.compile(r"/pods/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def gather(
    *,
    listens: Sequence[str] = (),
    needs: Sequence[str] = (),
    paths: Sequence[str] = (),
    depends_on: Sequence[Any] = (),
    environ: Mapping[str, str] = os.environ,
    proc: Path = Path("/proc"),
    account: Path = _ACCOUNT,
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
            for name in (
                "SUPERVISOR_PROCESS_NAME",
                "SUPERVISOR_GROUP_NAME",
                "SUPERVISOR_SERVER_URL",
                "KUBERNETES_SERVICE_HOST",
            )
            if name in environ
        },
        pod=_pod(environ, proc, account),
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


def _pod(environ: Mapping[str, str], proc: Path, account: Path) -> dict[str, str]:
    """What tells which Pod this is. The downward API's names count last: they are what somebody wrote."""
    found: dict[str, str] = {}
    claims = _claims(_read(account / "token").strip())
    for name, at in (("pod", ""), ("node", "node"), ("serviceaccount", "service_account")):
        about = claims.get(name)
        if isinstance(about, Mapping):
            found[at or "name"] = str(about.get("name") or "")
            if name == "pod":
                found["uid"] = str(about.get("uid") or "")
    found.setdefault("namespace", str(claims.get("namespace") or _read(account / "namespace").strip()))
    group = _POD_GROUP.search(_read(proc / "self/cgroup"))
    if group:
        found["uid"] = group[1].replace("_", "-")
    for line in _read(proc / "self/mountinfo").splitlines():
        fields = line.split(" ")
        # The kubelet mounts these from the Pod's own folder; a process of the node sees every Pod's volumes elsewhere.
        if (
            len(fields) > 4
            and fields[4] in ("/etc/hosts", "/dev/termination-log")
            and (mount := _POD_MOUNT.search(fields[3]))
        ):
            found["uid"] = mount[1]
    if found.get("uid") or "KUBERNETES_SERVICE_HOST" in environ:
        for key, variable in (("name", "POD_NAME"), ("namespace", "POD_NAMESPACE"), ("node", "NODE_NAME")):
            if not found.get(key) and environ.get(variable):
                found[key] = environ[variable]
    return {key: value for key, value in found.items() if value}


def _claims(token: str) -> Mapping[str, Any]:
    """``kubernetes.io`` of a service account's token."""
    body = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)) or b"{}")
    except ValueError:
        return {}
    about = claims.get("kubernetes.io") if isinstance(claims, Mapping) else None
    return about if isinstance(about, Mapping) else {}

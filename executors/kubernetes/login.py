"""Whether this process was given a login to the cluster that it runs in. It reads no login and asks no cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: Where the kubelet puts a Pod's service account.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_cluster(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a Pod that was given a service account."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (ACCOUNT / "token").is_file()


def kubeconfigs(named: str = "", environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where a kubeconfig is looked for: the one that is named, else those of $KUBECONFIG, else the usual one."""
    if named:
        return [Path(named).expanduser()]
    given = environ.get("KUBECONFIG", "")
    return [Path(one).expanduser() for one in (given.split(os.pathsep) if given else ["~/.kube/config"]) if one]

"""The real engines that the tests start: which there are, and why one is missing. One module an engine beside this one.

It must not start anything, use ``DOCKER_HOST`` or the default Docker socket, or install anything.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.engines import debian, gobuild


@dataclass(frozen=True, slots=True)
class Availability:
    """``version`` where the engine is there; else ``missing`` says why, and ``make engines`` or what else mends it."""

    version: str = ""
    missing: str = ""

    def __str__(self) -> str:
        return f"skipped: {self.missing}" if self.missing else f"found {self.version}"


def _printed(*command: str) -> str:
    """What a ``--version`` prints, on whichever stream."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def _debian(program: str, *others: str) -> Availability:
    lacking = [one for one in (program, *others) if shutil.which(one) is None]
    if lacking:
        return Availability(missing=f"{', '.join(lacking)} not found; as root: make engines")
    found = re.search(r"version:? v?(\d[\w.]*)", _printed(program, "--version"))
    return Availability(found[1] if found else "(of unknown version)")


def _docker() -> Availability:
    host = os.environ.get("UICI_TEST_DOCKER_HOST")
    if host:
        return Availability(f"at UICI_TEST_DOCKER_HOST {host}")
    if os.geteuid() != 0:
        return Availability(missing="a private dockerd needs root; or name a Docker for tests in UICI_TEST_DOCKER_HOST")
    return _debian("dockerd", "containerd", "runc", "busybox")


def _built(program: gobuild.Program) -> Availability:
    if not program.path.exists():
        return Availability(missing=f"{program.name} {program.version} is not built yet; run: make engines")
    return Availability(program.version.removeprefix("v"))


def _root() -> Availability:
    if not debian.path().exists():
        return Availability(missing="the Debian root for images is not made yet; as root: make engines")
    return Availability(debian.SUITE)


def _kubernetes() -> Availability:
    given = os.environ.get("UICI_TEST_KUBECONFIG")
    if given:
        return Availability(f"at UICI_TEST_KUBECONFIG {given}")
    if os.geteuid() != 0:
        return Availability(missing="a private cluster needs root; or name a cluster for tests in UICI_TEST_KUBECONFIG")
    lacking = [
        one
        for one in ("containerd", "runc", "ctr", "ip", "iptables", "openssl", "busybox", "unshare")
        if not shutil.which(one)
    ]
    if not Path("/usr/lib/cni/ptp").exists():
        lacking.append("/usr/lib/cni/ptp (containernetworking-plugins)")
    if lacking:
        return Availability(missing=f"{', '.join(lacking)} not found; as root: make engines")
    return _built(gobuild.CLUSTER)


def _supervisord() -> Availability:
    if importlib.util.find_spec("supervisor") is None:
        return Availability(missing="the package supervisor is not installed; run: make setup")
    from importlib.metadata import version

    return Availability(version("supervisor"))


_ENGINES: dict[str, Callable[[], Availability]] = {
    "supervisord": _supervisord,
    "docker": _docker,
    "kubernetes": _kubernetes,
    "helm": lambda: _built(gobuild.HELM),
    "debian": _root,
    "prometheus": lambda: _debian("prometheus", "promtool"),
    "alertmanager": lambda: _debian("prometheus-alertmanager", "amtool"),
}


def names() -> tuple[str, ...]:
    return tuple(_ENGINES)


@cache
def availability(name: str) -> Availability:
    """Of the engine of that name; raises KeyError for one that the tests do not know."""
    return _ENGINES[name]()

"""Programs for the tests that nobody packages, built once from their Go modules and kept outside of every checkout.

They lie under ``$XDG_CACHE_HOME/uici`` (else ``~/.cache/uici``), in a folder named after all that went into them.
``python -m tests.engines`` builds what is missing (``make engines``). Nothing is built while tests run, and nothing is
written into a checkout or into Go's own folders but its module and build caches.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

#: The oldest Go that fetches a newer one by itself where a go.mod asks for it.
_SWITCHES = (1, 21)
#: Fetched by a Go that is older than that.
_TOOLCHAIN = "1.25.5"

_KUBERNETES = "v1.34.4"
_VERSIONS = (
    f"-X k8s.io/component-base/version.gitVersion={_KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 "
    f"-X k8s.io/component-base/version.gitMinor=34 -X k8s.io/client-go/pkg/version.gitVersion={_KUBERNETES}"
)


class BuildError(RuntimeError):
    """A program cannot be built; the message carries the end of Go's own."""


@dataclass(frozen=True, slots=True)
class Program:
    """``source``: a folder with ``go.mod`` and a main package; or ``module``: ``path@version`` for ``go install``."""

    name: str
    version: str
    flags: tuple[str, ...] = ()
    source: Path | None = None
    module: str = ""
    environ: dict[str, str] = field(default_factory=lambda: {"CGO_ENABLED": "0"})

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return cache() / self.name / self._digest() / self.name

    def _digest(self) -> str:
        digest = hashlib.sha256(json.dumps([self.module, self.flags, self.environ, platform.machine()]).encode())
        for one in sorted(self.source.iterdir()) if self.source else []:
            digest.update(f"\0{one.name}\0".encode() + one.read_bytes())
        return digest.hexdigest()[:16]


#: All of a Kubernetes and kubectl in one program; the first argument says which.
CLUSTER = Program(
    "cluster",
    _KUBERNETES,
    ("-trimpath", "-tags", "providerless", "-ldflags", f"-s -w {_VERSIONS}"),
    source=Path(__file__).parent / "kubernetes" / "cluster",
)
HELM = Program("helm", "v3.20.0", ("-trimpath", "-ldflags", "-s -w"), module="helm.sh/helm/v3/cmd/helm@v3.20.0")


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "uici"


def build(program: Program) -> Path:
    """Its path; builds it where it is not there yet, or waits for whoever builds it. Raises BuildError."""
    target = program.path
    if target.exists():
        return target
    cache().mkdir(mode=0o700, parents=True, exist_ok=True)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as work:
                made = _build(program, Path(work))
                made.chmod(0o755)
                made.replace(target)
    return target


def _build(program: Program, work: Path) -> Path:
    command = [_go(), "install" if program.module else "build", "-buildvcs=false", *program.flags]
    environ = {**os.environ, **program.environ, "GOBIN": str(work), "GOWORK": "off", "GOTOOLCHAIN": "auto"}
    if program.source:
        command += ["-o", str(work / program.name), "."]
    else:
        command += [program.module]
    if nice := shutil.which("nice"):  # a build takes all processors; whoever works beside it goes first
        command = [nice, "-n", "10", *command]
    last = ""
    for pause in (0, 5, 15):  # the module proxy is on the network
        time.sleep(pause)
        done = subprocess.run(
            command, cwd=program.source or work, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return work / program.name
        last = done.stderr[-3000:]
    raise BuildError(f"{program.name} {program.version} cannot be built; Go says:\n{last}")


def _go() -> str:
    """A Go that is new enough, or that fetches one that is; raises BuildError."""
    found = [shutil.which("go"), "/usr/local/go/bin/go", *(str(one) for one in Path("/usr/lib").glob("go-*/bin/go"))]
    versions: dict[str, tuple[int, ...]] = {}
    for one in dict.fromkeys(name for name in found if name and Path(name).exists()):
        said = subprocess.run([one, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        if seen := re.match(r"go(\d+)\.(\d+)", said):
            versions[one] = (int(seen[1]), int(seen[2]))
    if not versions:
        raise BuildError("Go not found; install it (Debian: apt-get install golang-go), or as root: make engines")
    best = max(versions, key=lambda one: versions[one])
    return best if versions[best] >= _SWITCHES else _newer(best)


def _newer(old: str) -> str:
    """A newer Go by way of an older one: from the module proxy, checked against the checksum database as any module."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    version = f"v0.0.1-go{_TOOLCHAIN}.linux-{machine}"
    target = cache() / "go" / version
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as work:
            done = subprocess.run(
                [old, "mod", "download", "-json", f"golang.org/toolchain@{version}"],
                cwd=work, env={**os.environ, "GO111MODULE": "on", "GOFLAGS": "-mod=mod"},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                raise BuildError(f"Go {_TOOLCHAIN} cannot be fetched by {old}:\n{(done.stdout + done.stderr)[-2000:]}")
            copy = Path(work) / "go"
            shutil.copytree(json.loads(done.stdout)["Dir"], copy)
            _writable(copy)
            with contextlib.suppress(OSError):  # another one was faster
                copy.rename(target)
    return str(target / "bin" / "go")


def _writable(folder: Path) -> None:
    """A module's files can be neither run nor removed; a toolchain's must be."""
    for one in [folder, *folder.rglob("*")]:
        program = one.is_dir() or {"bin", "tool"} & set(one.relative_to(folder).parts[:-1])
        one.chmod(one.stat().st_mode | stat.S_IWUSR | (0o111 if program else 0))

"""The real helm for the tests. It must not read the user's own helm folders or kubeconfig."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.engines import gobuild


def helm(*arguments: str, kubeconfig: Path, folder: Path, seconds: float = 120) -> str:
    """What it prints; raises RuntimeError with its own message. ``folder`` takes its caches."""
    homes = {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    done = subprocess.run(
        [gobuild.HELM.path, *arguments],
        env={**environ, **homes, "KUBECONFIG": str(kubeconfig)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout

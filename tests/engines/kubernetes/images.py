"""Container images made from a folder, without a registry. It must not need a running engine."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

#: Commands of the image ``localhost/busybox:1``.
COMMANDS = "sh sleep cat httpd wget nc echo tail dd head ls ps kill date env grep id mkdir nslookup printf rm seq test touch true false yes"
PAUSE = "localhost/pause:1"
BUSYBOX = "localhost/busybox:1"


class _Digested:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


def archive(
    target: Path,
    name: str,
    root: Path,
    command: Sequence[str],
    *,
    entrypoint: Sequence[str] = (),
    user: str = "",
    environ: Mapping[str, str] | None = None,
) -> None:
    """Writes an archive as of ``docker save``: one layer of all in ``root``, owned by root. ``command``: what it runs."""
    with tempfile.TemporaryFile(dir=target.parent) as layer:
        digested = _Digested(layer)
        with tarfile.open(fileobj=digested, mode="w|") as tar:  # type: ignore[call-overload]  # only ``write`` is used
            tar.add(root, arcname=".", filter=_of_root)
        size = layer.tell()
        layer.seek(0)
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **(environ or {})}
        config: dict[str, Any] = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "Entrypoint": list(entrypoint),
                "Cmd": list(command),
                "Env": [f"{key}={value}" for key, value in variables.items()],
                "User": user,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digested.digest.hexdigest()}"]},
            "history": [{}],
        }
        written = json.dumps(config).encode()
        file = f"{hashlib.sha256(written).hexdigest()}.json"
        manifest = json.dumps([{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
        with tarfile.open(target, "w") as tar:
            for path, content, length in (
                (file, io.BytesIO(written), len(written)),
                ("layer.tar", layer, size),
                ("manifest.json", io.BytesIO(manifest), len(manifest)),
            ):
                entry = tarfile.TarInfo(path)
                entry.size = length
                tar.addfile(entry, content)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def busybox_root(root: Path) -> Path:
    """Fills a folder with busybox and the names of its commands; raises RuntimeError where it is not installed."""
    program = shutil.which("busybox")
    if not program:
        raise RuntimeError("busybox not found; install busybox-static with: make engines")
    for name in ("bin", "etc", "proc", "sys", "dev", "root", "var", "run", "www"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(Path(program).resolve(), root / "bin" / "busybox")
    for name in COMMANDS.split():
        if not (root / "bin" / name).is_symlink():
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    return root

"""UICI's image as its Dockerfile makes it, without a registry: the Debian root, this checkout's wheel, what it depends on.

Layout, user and variables are the Dockerfile's. It must not write into the checkout.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tests.engines import debian

NAME = "localhost/uici"
USER = "10001:10001"
ENTRYPOINT = ("uici",)
COMMAND = ("serve", "--config", "/etc/uici")
ENVIRON = {
    "PATH": "/opt/uici/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONUNBUFFERED": "1",
    "STATE_DIRECTORY": "/var/lib/uici",
    "CACHE_DIRECTORY": "/var/cache/uici",
}
_EXTRAS = ("docker", "kubernetes")
_CHECKOUT = Path(__file__).parents[2]
_BUILD = "import setuptools.build_meta as build, sys; print(build.build_wheel(sys.argv[1]))"
_SCRIPT = "#!/opt/uici/bin/python\nimport sys\n\nfrom uici.cli import main\n\nsys.exit(main())\n"


def root(folder: Path) -> Path:
    """Fills ``folder/root``; raises RuntimeError."""
    made = debian.tree(folder / "root")
    home = made / "opt" / "uici"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to("/usr/bin/python3")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    packages = home / "lib" / f"python{'.'.join(map(str, debian.PYTHON))}" / "site-packages"
    packages.mkdir(parents=True)
    if sys.version_info[:2] == debian.PYTHON:
        for name in dict.fromkeys(needed()):
            _copy(importlib.metadata.distribution(name), packages)
    else:
        _install(packages)
    with zipfile.ZipFile(wheel(folder)) as archive:
        archive.extractall(packages)
    # Its own root is read-only, so what is not compiled now would be compiled at every start.
    compiled = ["chroot", str(made), "/opt/uici/bin/python", "-m", "compileall", "-q", "/opt/uici/lib"]
    subprocess.run(compiled, check=True, capture_output=True)
    (home / "bin" / "uici").write_text(_SCRIPT)
    (home / "bin" / "uici").chmod(0o755)
    (made / "var" / "lib" / "uici").mkdir()
    (made / "var" / "cache" / "uici").mkdir()
    users = made / "etc" / "passwd"
    text = users.read_text()
    users.unlink()  # a hard link
    users.write_text(f"{text}uici:x:10001:10001::/nonexistent:/usr/sbin/nologin\n")
    return made


def needed() -> Iterator[str]:
    """The distributions that UICI and these extras need, as far as they are installed here."""
    waiting = [Requirement(f"uici[{','.join(_EXTRAS)}]")]
    seen = set()
    while waiting:
        one = waiting.pop()
        extras = ("", *one.extras)
        if (one.name, extras) in seen:
            continue
        seen.add((one.name, extras))
        for line in importlib.metadata.distribution(one.name).requires or ():
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(more)
                yield more.name


def _copy(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if ".." not in file.parts and source.is_file():
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _install(packages: Path) -> None:
    """Where this Python is another one than the image's: the pinned wheels for that one."""
    version = ".".join(map(str, debian.PYTHON))
    machine = os.uname().machine
    platforms = [f"manylinux{one}_{machine}" for one in ("_2_36", "_2_34", "_2_28", "_2_26", "2014", "_2_17")]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages), "--python-version", version,
        "--only-binary=:all:", *(f"--platform={one}" for one in platforms), f"--requirement={_CHECKOUT / 'constraints.txt'}",
        "--require-hashes",
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"what UICI depends on cannot be had for Python {version}:\n{done.stderr[-2000:]}")


def wheel(folder: Path) -> Path:
    """Built of a copy of the checkout."""
    source = folder / "source"
    dull = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks")
    shutil.copytree(_CHECKOUT, source, ignore=dull)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BUILD, str(folder)],
        cwd=source, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the wheel cannot be built:\n{done.stderr[-2000:]}")
    shutil.rmtree(source)
    return folder / done.stdout.split()[-1]

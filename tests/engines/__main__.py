"""Builds what the tests start and nobody packages, as far as it is missing: ``make engines``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.engines import debian, gobuild


def main() -> int:
    missing = 0
    everything: list[tuple[str, Path, Callable[[], Path]]] = [
        (f"{program.name} {program.version}", program.path, partial(gobuild.build, program))
        for program in (gobuild.CLUSTER, gobuild.HELM)
    ]
    everything.append((f"a Debian root ({debian.SUITE})", debian.path(), debian.build))
    for name, path, build in everything:
        begun = time.monotonic()
        there = path.exists()
        try:
            build()
        except (gobuild.BuildError, OSError) as error:
            missing = 1
            print(f"engines: {error}", file=sys.stderr, flush=True)  # noqa: T201  a command's own words
        else:
            how = "there" if there else f"made in {time.monotonic() - begun:.0f} s"
            print(f"engines: {name} {how}", flush=True)  # noqa: T201  a command's own words
    return missing


if __name__ == "__main__":
    sys.exit(main())

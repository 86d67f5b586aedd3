"""Builds what the tests start and nobody packages, as far as it is missing: ``make engines``."""

from __future__ import annotations

import sys
import time

from tests.engines import gobuild


def main() -> int:
    missing = 0
    for program in (gobuild.CLUSTER, gobuild.HELM):
        begun = time.monotonic()
        there = program.path.exists()
        try:
            gobuild.build(program)
        except (gobuild.BuildError, OSError) as error:
            missing = 1
            print(f"engines: {error}", file=sys.stderr, flush=True)  # noqa: T201  a command's own words
        else:
            how = "there" if there else f"built in {time.monotonic() - begun:.0f} s"
            print(f"engines: {program.name} {program.version} {how}", flush=True)  # noqa: T201  a command's own words
    return missing


if __name__ == "__main__":
    sys.exit(main())

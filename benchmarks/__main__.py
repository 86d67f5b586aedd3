"""``python -m benchmarks [NAME …]``: all figures, or those of the modules named (recovery, acceptance, starting, kubernetes)."""

from __future__ import annotations

import os
import platform
import sys

from benchmarks import acceptance, kubernetes, recovery, starting
from benchmarks.figure import HEAD, say

MODULES = {"recovery": recovery, "acceptance": acceptance, "starting": starting, "kubernetes": kubernetes}


def main() -> int:
    names = sys.argv[1:] or list(MODULES)
    if unknown := [name for name in names if name not in MODULES]:
        print(f"no figures {', '.join(unknown)}; there are: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    say(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}")
    print(HEAD, flush=True)
    bad = 0
    for name in names:
        try:
            for figure in MODULES[name].figures():
                print(figure.row(), flush=True)
        except (RuntimeError, AssertionError, OSError) as error:
            say(f"{name} could not be measured: {error}")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())

"""The command line: types what people say into Requests and shows what came of them.

It must not decide what may run, and must not import an SDK, the daemon or the engine before a command needs it.
"""

from __future__ import annotations


def main() -> None:
    """The console script ``uici``."""
    try:
        from uici.cli.group import run

        run()
    except KeyboardInterrupt:  # before ``run`` could say so itself: its words take a moment to be imported
        import sys

        sys.stderr.write("interrupted\n")
        sys.exit(130)


__all__ = ["main"]

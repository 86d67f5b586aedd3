"""The command line: types what people say into Requests and shows what came of them.

It must not decide what may run, and must not import an SDK, the daemon or the engine before a command needs it.
"""

from __future__ import annotations


def main() -> None:
    """The console script ``uici``."""
    from uici.cli.group import run

    run()


__all__ = ["main"]

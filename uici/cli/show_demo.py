"""``uici demo``: its options; the demo itself is ``uici.cli.demo``."""

from __future__ import annotations

import click

from uici.cli import told


@told.command(short_help="Show a recovery on real services.")
@click.option(
    "--environment",
    "-e",
    "environment",
    metavar="NAME",
    default="supervisor",
    show_default=True,
    help="supervisor: a supervisord of its own; docker: containers.",
)
def demo(environment: str) -> int:
    """Show a recovery on real services: one is killed and one hangs, UICI heals both; then it is asked to stop itself,
    and for what its catalog lacks, and refuses. Nothing is left running."""
    from uici.cli.demo import run

    return run(environment)

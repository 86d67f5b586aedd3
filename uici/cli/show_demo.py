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
    help="supervisor: a supervisord of its own; docker: containers; kubernetes: the current context's cluster.",
)
@click.option(
    "--image",
    metavar="IMAGE",
    default="busybox:1.36",
    show_default=True,
    envvar="UICI_DEMO_IMAGE",
    help="On Kubernetes: of the sample service; any with `sh` and `sleep`. Else UICI_DEMO_IMAGE.",
)
def demo(environment: str, image: str) -> int:
    """Show a recovery on real services: one is killed and one hangs, or, on Kubernetes, one is given an image that there is
    not, in a namespace of its own. UICI heals them; then it is asked to stop itself, and for what its catalog lacks, and
    refuses. Nothing is left running."""
    from uici.cli.demo import run

    return run(environment, image)

"""``uici serve``: the daemon in the foreground, as systemd, supervisord and containers want it."""

from __future__ import annotations

import gc

import click

from uici.cli import options, told


@told.command(short_help="Run the daemon.")
@options.config
@click.option(
    "--listen", metavar="HOST:PORT", help="Instead of server.listen in platform.yml; port 0 takes a free one."
)
@click.option(
    "--log",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="Form of the log on stderr; auto: text on a terminal.",
)
def serve(config: str | None, listen: str | None, log: str) -> int:
    """Run the daemon: alerts in, incidents healed or escalated, requests by the API.

    SIGHUP reloads the catalog and keeps the last good one if it does not pass. SIGTERM and Ctrl-C stop in order:
    what runs is finished or recorded; a second one does not wait.
    """
    from uici.daemon.proof import Proof

    # Proven in a process of its own while this one imports the rest.
    proof = Proof(config, alone=True)
    # What is imported now stays for the whole life; to look again and again for garbage in it costs a tenth of the start.
    gc.disable()
    try:
        from uici.daemon import imports, logs

        imports.web()
        logs.configure(form=log)
        from uici.cli import where
        from uici.daemon.serve import serve as run

        loader = where.loader(config)
    except BaseException:
        proof.end()
        raise
    finally:
        gc.freeze()
        gc.enable()
    run(loader, listen=listen, proof=proof)
    return 0

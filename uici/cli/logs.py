"""``uici logs``: what a request logs, while it runs and after. Reads only."""

from __future__ import annotations

import click

from uici.cli import options, told


@told.command(short_help="Show what a request logs.")
@click.argument("request")
@click.option(
    "-f", "--follow", is_flag=True, help="Until the request and its lines are at an end. Else what there is now."
)
@options.config
@options.server
@options.as_json
def logs(request: str, follow: bool, config: str | None, server: str | None, as_json: bool) -> int:
    """Show what a request logs, as `uici run` does while it runs: one line for each, with the name of who said it.

    A connection that breaks is made again, and nothing is shown twice. With --json one object a line, and last how it
    ended. Exit status with --follow: as of `uici run`.
    """
    from uici.cli.door import door
    from uici.cli.lines import Lines
    from uici.model.words import Reason, Status, exit_code

    end = door(config, server).logs(request, follow, Lines(as_json=as_json))
    if as_json:
        import json

        click.echo(json.dumps({"end": end}, ensure_ascii=False))
    else:
        if end["problem"]:
            click.echo(f"some lines may be missing: {end['problem']}", err=True)
        if end["status"]:
            from uici.cli import show

            reason = f" ({end['reason']})" if end["reason"] else ""
            click.echo(f"{show.coloured(end['status'], err=True)}{reason}: {show.clean(end['message'])}", err=True)
    if end["problem"] and not follow:
        return 1
    return exit_code(Status(end["status"]), Reason(end["reason"]) if end["reason"] else None) if end["status"] else 0

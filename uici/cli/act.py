"""``uici approve``, ``deny``, ``cancel``, ``pause``, ``resume`` and ``reopen``: a person's hand on the automation."""

from __future__ import annotations

from typing import Any

import click

from uici.cli import options, told
from uici.model.errors import UICIError

_NOT_YET = (
    "approvals are not in this version yet: a request that needs one ends as needs_approval (exit status 5) and is "
    "escalated; a person with the right may ask for the operation themselves"
)


def _done(said: Any, as_json: bool, text: str) -> int:
    from uici.cli import show

    if as_json:
        show.as_json(said)
    else:
        click.echo(text)
    return 0


@told.command(short_help="Approve a request that waits.")
@click.argument("id")
@options.config
@options.server
@options.as_json
def approve(id: str, config: str | None, server: str | None, as_json: bool) -> int:
    """Approve a request that waits.

    Not in this version yet: a request that needs approval ends as needs_approval and is escalated.
    """
    raise UICIError(_NOT_YET)


@told.command(short_help="Deny a request that waits.")
@click.argument("id")
@options.config
@options.server
@options.as_json
def deny(id: str, config: str | None, server: str | None, as_json: bool) -> int:
    """Deny a request that waits.

    Not in this version yet: a request that needs approval ends as needs_approval and is escalated.
    """
    raise UICIError(_NOT_YET)


@told.command(short_help="Stop a request.")
@click.argument("id")
@options.config
@options.server
@options.as_json
def cancel(id: str, config: str | None, server: str | None, as_json: bool) -> int:
    """Stop a request: what has begun is ended, and nothing is left in doubt unrecorded."""
    from uici.cli.door import door

    return _done(door(config, server).cancel(id), as_json, f"cancelled {id}")


@told.command(short_help="Stop all automation.")
@options.environment("Only there. Else everywhere.")
@options.config
@options.server
@options.as_json
def pause(environment: str | None, config: str | None, server: str | None, as_json: bool) -> int:
    """Stop all automation, in one environment or everywhere, until `uici resume`.

    What runs ends; nothing new is begun by anyone but a person.
    """
    from uici.cli.door import door

    return _done(door(config, server).pause(environment), as_json, f"paused: {environment or 'everywhere'}")


@told.command(short_help="Let automation go on.")
@options.environment("What was paused for this one alone. Else what was paused everywhere.")
@options.config
@options.server
@options.as_json
def resume(environment: str | None, config: str | None, server: str | None, as_json: bool) -> int:
    """Let automation go on, in one environment or everywhere."""
    from uici.cli.door import door

    # Each pause has its own end: who paused one place by name did not mean everywhere.
    said = environment or "everywhere; a place that was paused by its name stays so until: uici resume -e NAME"
    return _done(door(config, server).resume(environment), as_json, f"resumed: {said}")


@told.command(short_help="Give an incident's target back to automation.")
@click.argument("incident")
@options.config
@options.server
@options.as_json
def reopen(incident: str, config: str | None, server: str | None, as_json: bool) -> int:
    """Give an incident's target back to automation, after a failed undo or a doubt closed it."""
    from uici.cli.door import door

    said = door(config, server).reopen(incident)
    # A key is the engine's id and, after the bar, what a person knows it by.
    known_as = ", ".join(key.rpartition("|")[2] for key in said["reopened"].split(", "))
    return _done(said, as_json, f"reopened: {known_as}")

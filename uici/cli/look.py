"""``uici operations``, ``environments``, ``incidents`` and ``approvals``: what there is and what happened. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from uici.cli import options, told
from uici.model.words import IncidentState


@told.command(short_help="List what may be asked.")
@click.argument("name", required=False)
@options.environment("Only what is offered there. Else all of them.")
@options.config
@options.server
@options.as_json
def operations(name: str | None, environment: str | None, config: str | None, server: str | None, as_json: bool) -> int:
    """List what may be asked, or show one operation with its parameters."""
    from uici.cli import show
    from uici.cli.door import door

    listed = door(config, server).operations()
    if environment is not None:
        places = sorted({place for one in listed for place in one["environments"]})
        if environment not in places:
            raise click.UsageError(
                f"no environment {environment!r} offers an operation; there are: {', '.join(places) or 'none'}"
            )
        listed = [one for one in listed if environment in one["environments"]]
    if name is not None:
        found = next((one for one in listed if one["name"] == name), None)
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, [one["name"] for one in listed], 1)
            raise click.UsageError(
                f"there is no operation {name!r}; "
                + (f"did you mean {near[0]!r}?" if near else "see `uici operations`")
            )
        if as_json:
            show.as_json(found)
        else:
            _operation(found)
        return 0
    if as_json:
        show.as_json(listed)
    else:
        show.table(
            ["operation", "risk", "environments", "summary"],
            [[one["name"], one["risk"], ", ".join(one["environments"]) or "-", one["summary"]] for one in listed],
            empty="this catalog has no operations; begin a file with `include: [starter]`",
        )
    return 0


def _operation(one: Mapping[str, Any]) -> None:
    from uici.cli import show

    click.echo(f"{one['name']}: {show.clean(one['summary'])}")
    click.echo(f"  risk: {show.coloured(one['risk'])}")
    click.echo(f"  environments: {', '.join(one['environments']) or 'none'}")
    click.echo("  parameters:")
    needed = one["parameters"].get("required", [])
    for name, schema in one["parameters"].get("properties", {}).items():
        kind = schema.get("type", "any")
        words = [kind if isinstance(kind, str) else " or ".join(kind)]
        words += ["required"] if name in needed else []
        words += [f"default {schema['default']!r}"] if "default" in schema else []
        words += [f"{bound} {schema[bound]}" for bound in ("minimum", "maximum") if bound in schema]
        click.echo(
            f"    {name}: {', '.join(words)}" + (f"; {schema['description']}" if "description" in schema else "")
        )


@told.command(short_help="List where operations run, and how each place does.")
@options.config
@options.server
@options.as_json
def environments(config: str | None, server: str | None, as_json: bool) -> int:
    """List where operations run, and how each place does."""
    from uici.cli import show
    from uici.cli.door import door

    listed = door(config, server).environments()
    if as_json:
        show.as_json(listed)
        return 0
    show.table(
        ["environment", "executor", "stage", "autonomy", "state", "message"],
        [
            [
                one["name"] + (" (default)" if one["default"] else ""),
                one["dialect"],
                one["stage"],
                one["autonomy"] + (", dry run" if one["dry_run"] else ""),
                f"paused by {one['paused']}" if one["paused"] else "ok" if one["health"]["ok"] else "down",
                one["health"]["message"],
            ]
            for one in listed
        ],
    )
    return 0


@told.command(short_help="List incidents, or tell one: what happened and why.")
@click.argument("id", required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in IncidentState]),
    help="Only incidents in this state; may be given more than once.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@options.config
@options.server
@options.as_json
def incidents(
    id: str | None, states: tuple[str, ...], limit: int, config: str | None, server: str | None, as_json: bool
) -> int:
    """List incidents, newest first, or tell one: what happened and why."""
    from uici.cli import show
    from uici.cli.door import door

    entry = door(config, server)
    if id is not None:
        told = entry.incident(id)
        if as_json:
            show.as_json(told)
        else:
            from uici.cli.timeline import tell

            tell(told)
        return 0
    listed = entry.incidents(states, limit)
    if as_json:
        show.as_json(listed)
        return 0
    show.table(
        ["incident", "state", "environment", "target", "runbook", "began", "message"],
        [
            [
                one["id"],
                one["state"],
                one["environment"],
                (one["target"] or {}).get("name"),
                one["runbook"],
                one["started_at"][:19] + "Z",
                str(one["message"] or "").partition("\n")[0],
            ]
            for one in listed
        ],
        empty="no incidents",
    )
    return 0


@told.command(short_help="List what waits for approval.")
@options.config
@options.server
@options.as_json
def approvals(config: str | None, server: str | None, as_json: bool) -> int:
    """List what waits for approval.

    In this version nothing waits: a request that needs approval ends as needs_approval and is escalated.
    """
    from uici.cli import show

    if as_json:
        show.as_json([])
    else:
        click.echo(
            "nothing waits: in this version a request that needs approval ends as needs_approval (exit status 5)"
        )
    return 0

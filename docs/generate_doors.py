"""The reference pages of the doors, from the commands and the route table themselves: ``cli.md`` and ``api.md``."""

from __future__ import annotations

import inspect

import click

from uici.cli.group import COMMANDS, SECTIONS, load, uici
from uici.daemon.counts import GAUGES, Counts
from uici.daemon.table import ROUTES

_NOTE = "<!-- Generated from the code by `make reference`; a test says when it is stale. -->"


def cli_page() -> str:
    """Every command with every argument and option."""
    lines = ["# The command line", "", _NOTE, "", " ".join((uici.help or "").split()), ""]
    lines += [
        "A command talks to the daemon that runs beside the catalog's journal, or to `--server`; where none runs it opens the "
        "journal itself while it works.",
        "",
        "Exit status: 0 done, 1 failed, 2 wrong usage, a catalog that does not hold or an invalid request, 3 refused, "
        "4 unverified, 5 needs approval, 6 in doubt, 130 interrupted.",
        "",
    ]
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _command(name, load(name))
    return "\n".join(lines).rstrip("\n") + "\n"


def _command(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"uici {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"### uici {name}", "", "```text", f"uici {name} {usage}", "```", ""]
    lines += [inspect.cleandoc(command.help or COMMANDS[name][1]), ""]
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        lines += ["| option | what |", "|---|---|"]
    for option in options:
        value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
        if isinstance(option.type, click.Choice):
            value = " " + "\\|".join(option.type.choices)
        default = f" Default: {option.default}." if option.show_default and option.default is not None else ""
        names = ", ".join(f"`{one}`" for one in option.opts)
        told = (option.help or "").replace("|", "\\|")
        lines.append(f"| {names}{value} | {told}{default} |")
    return [*lines, ""]


def api_page() -> str:
    """Every route, what it needs, takes and gives; and every metric."""
    lines = [
        "# The daemon's HTTP doors",
        "",
        _NOTE,
        "",
        "The whole description is OpenAPI 3.1 at `/api/v1/openapi.json`. Errors are `application/problem+json` with a stable "
        "`code`; 422 has the path of each field in `errors`.",
        "",
        "| door | needs | what |",
        "|---|---|---|",
    ]
    for route in ROUTES:
        needs = " or ".join(f"`{right}`" for right in sorted(route.may)) or "nothing"
        person = ", of a person" if route.person else ""
        query = "".join(f" `?{name}`" for name in route.query)
        lines.append(f"| `{route.method} {route.path}`{query} | {needs}{person} | {route.summary} |")
    lines += [
        "",
        "## Metrics",
        "",
        "Those of `GET /metrics`, beside the process's own.",
        "",
        "| metric | what |",
        "|---|---|",
    ]
    helps: dict[str, str] = {}
    for line in Counts().text().decode().splitlines():
        if line.startswith("# HELP "):
            name, _, text = line.removeprefix("# HELP ").partition(" ")
            helps[name] = text
    helps |= GAUGES
    lines += [f"| `{name}` | {text} |" for name, text in helps.items() if not name.startswith("process_")]
    return "\n".join(lines) + "\n"

"""``uici check``: every problem of a catalog at once. It opens no engine."""

from __future__ import annotations

import click

from uici.cli import options, told


@told.command(short_help="Prove a catalog: every problem at once.")
@click.argument("path", required=False, metavar="[PATH]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="github: annotations of GitHub Actions.",
)
@options.config
@options.as_json
def check(path: str | None, form: str, config: str | None, as_json: bool) -> int:
    """Prove a catalog: every problem at once, each with its place and its cure. What passed is remembered, so that the
    daemon's start need not prove it again.

    Exit status: 0 no errors, 2 errors.
    """
    from uici.catalog.report import exit_code, report
    from uici.cli import where
    from uici.daemon import remembered

    loader = where.loader(path or config)
    problems = loader.check(lambda gathered: remembered.remember_passed(loader.path, gathered))
    text = report(problems, "json" if as_json else form, replaced=loader.replaced)
    if text:
        click.echo(text)
    return exit_code(problems)

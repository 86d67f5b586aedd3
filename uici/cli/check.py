"""``uici check``: every problem of a catalog at once. It opens no engine, but for ``--live``."""

from __future__ import annotations

import gc

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
@click.option(
    "--live",
    is_flag=True,
    help="Ask the engines too, where they can be: which calls they serve, whether they can read the bodies (a dry run), "
    "and which rights are missing.",
)
@options.config
@options.as_json
def check(path: str | None, form: str, live: bool, config: str | None, as_json: bool) -> int:
    """Prove a catalog: every problem at once, each with its place and its cure. What passed is remembered, so that the
    daemon's start need not prove it again. No engine is asked, but with --live; nothing is ever changed.

    Exit status: 0 no errors, 2 errors.
    """
    from uici.catalog.report import exit_code, report
    from uici.cli import where
    from uici.daemon import remembered

    loader = where.loader(path or config)
    gc.disable()  # it is over in a moment; looking for garbage takes a tenth of that
    try:
        problems = loader.check(lambda gathered: remembered.remember_passed(loader.path, gathered))
    finally:
        gc.freeze()  # nor at the end of the process
        gc.enable()
    said: list[str] = []
    if live and exit_code(problems) == 0:
        from uici.cli.check_live import live as asked

        found, said = asked(loader.load())
        problems = [*problems, *found]
    form = "json" if as_json else form
    text = report(problems, form, replaced=loader.replaced)
    for line in said if form == "text" else ():
        click.echo(line)
    if text:
        click.echo(text)
    return exit_code(problems)

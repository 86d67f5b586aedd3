"""``uici schema``: JSON Schemas of the catalog's files, so that an editor completes and underlines."""

from __future__ import annotations

import json
from pathlib import Path

import click

from uici.cli import options, told


@told.command(short_help="Print the JSON Schema of a file, for editors.")
@click.argument("name", required=False)
@click.option("--write", metavar="DIR", help="Write all of them into this folder, one file each.")
@options.as_json
def schema(name: str | None, write: str | None, as_json: bool) -> int:
    """Print the JSON Schema of a file, for editors; without a name, list them.

    Point an editor at one with a first line such as
    `# yaml-language-server: $schema=.schema/operations.json`.
    """
    from uici.catalog.schemas import FILES, SUMMARIES
    from uici.catalog.schemas import schema as made

    if write is not None:
        for path in write_all(Path(write)):
            click.echo(path)
        return 0
    if name is None:
        if as_json:
            click.echo(json.dumps({one: SUMMARIES[one] for one in FILES}, indent=2))
        else:
            for one in FILES:
                click.echo(f"{one}: {SUMMARIES[one]}")
        return 0
    name = name.removesuffix(".yml")
    if name not in FILES:
        raise click.UsageError(f"there is no schema {name!r}; there are: {', '.join(FILES)}")
    click.echo(json.dumps(made(name), indent=2))
    return 0


def write_all(folder: Path) -> list[Path]:
    """One ``NAME.json`` for each of the catalog's files; raises UICIError."""
    from uici.catalog.schemas import FILES
    from uici.catalog.schemas import schema as made
    from uici.model.errors import UICIError

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            path = folder / f"{name}.json"
            path.write_text(json.dumps(made(name), indent=2) + "\n", encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UICIError(f"{folder}: cannot be written: {error.strerror}") from error
    return written

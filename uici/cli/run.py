"""``uici run``: one Request, its values typed by the operation's schema. What it may do is the engine's to decide."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from uici.cli import options, told


@told.command(short_help="Ask for one operation and see how it ends.")
@click.argument("operation")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@options.environment("The environment. Else the catalog's default.")
@click.option("--dry-run", is_flag=True, help="Look, and show what would be done; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Confirm an operation that destroys; it is not asked then.")
@click.option("--reason", default="", help="Why; written down with the request.")
@options.config
@options.server
@options.as_json
def run(
    operation: str,
    parameters: tuple[str, ...],
    environment: str | None,
    dry_run: bool,
    yes: bool,
    reason: str,
    config: str | None,
    server: str | None,
    as_json: bool,
) -> int:
    """Ask for one operation and see how it ends.

    Values are typed by the operation's schema: text as it is, numbers, true and false, JSON for lists and objects.
    NAME=@FILE reads the value from a file, NAME=@@TEXT is text that begins with @. What logs while it runs (run_job)
    is shown line by line, unless --json asks for the result alone; `uici logs` shows it again.

    Exit status: 0 done, 1 failed, 2 the request itself is invalid, 3 refused, 4 unverified, 5 needs approval,
    6 in doubt.

    Example: uici run restart_service service=web -e local
    """
    from uici.cli import show
    from uici.cli.door import door
    from uici.cli.lines import Lines
    from uici.model.request import Request, Result

    entry = door(config, server)
    known = entry.operation(operation)
    schema = known["parameters"] if known else {}
    values: dict[str, Any] = {}
    for name, value in (_value(text, schema) for text in parameters):
        if name in values:
            raise click.UsageError(f"{name} is given twice; write it once")
        values[name] = value
    if known and known["risk"] == "destroy" and not (yes or dry_run) and sys.stdin.isatty() and not as_json:
        yes = click.confirm(f"{operation} destroys ({known['summary']}) Do it?", default=False, err=True)
    asked = Request(
        operation=operation, parameters=values, environment=environment, reason=reason, dry_run=dry_run, confirm=yes
    )
    follows = bool(known and known.get("logs")) and not dry_run and not as_json
    lines = Lines() if follows else None
    # Between its lines nobody wants to hear how often it was looked at.
    progress = (lambda _: None) if as_json else _but_samples(show.progress) if follows else show.progress
    result = entry.ask(asked, progress, lines)
    with contextlib.suppress(BrokenPipeError):  # whoever reads may go: how it ended is the exit status all the same
        if as_json:
            show.as_json(result)
        else:
            show.result(result)
    return Result.from_json(result).exit_code


def _but_samples(progress: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    return lambda seen: None if seen.get("kind") == "sample" else progress(seen)


def _value(text: str, schema: Mapping[str, Any]) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        example = next(iter(schema.get("required", ())), "NAME")
        raise click.UsageError(
            f"{text!r} is no NAME=VALUE; write the parameter's name before it: {example}={text or 'VALUE'}"
        )
    kinds = _kinds(schema.get("properties", {}).get(name, {}))
    if value.startswith("@@"):
        value = value[1:]
    elif value.startswith("@"):
        try:
            value = Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise click.UsageError(
                f"{name}: the file {value[1:]!r} cannot be read: {said}; text that begins with @ is written {name}=@{value}"
            ) from None
    return name, _typed(value, kinds)


def _kinds(schema: Any) -> set[str]:
    if not isinstance(schema, Mapping):
        return set()
    kind = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return set(kind)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return {"string"} if all(isinstance(one, str) for one in values) else {"any"}
    return set().union(*(_kinds(one) for name in ("anyOf", "oneOf", "allOf") for one in schema.get(name, ())), set())


def _typed(value: str, kinds: set[str]) -> Any:
    """The value as the schema wants it; what does not fit stays text, and the engine says what is wrong with it."""
    if not kinds or kinds == {"string"}:
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    fits = (
        (isinstance(parsed, bool) and "boolean" in kinds)
        or (type(parsed) is int and kinds & {"integer", "number"})
        or (isinstance(parsed, float) and "number" in kinds)
        or (parsed is None and "null" in kinds)
        or (isinstance(parsed, list) and "array" in kinds)
        or (isinstance(parsed, dict) and "object" in kinds)
        or "any" in kinds
    )
    return parsed if fits else value

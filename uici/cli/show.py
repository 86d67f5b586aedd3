"""How things look on a terminal. Colour only there and not under NO_COLOR; ``--json`` prints the words as they are.

What an engine or a stranger said is shown as text: control characters in it never reach the terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_COLOURS = {
    "done": "green",
    "resolved": "green",
    "pass": "green",
    "recovered": "green",
    "failed": "red",
    "refused": "red",
    "refuse": "red",
    "escalated": "red",
    "in_doubt": "red",
    "unverified": "yellow",
    "needs_approval": "yellow",
    "acting": "cyan",
    "open": "yellow",
    "watching": "cyan",
    "destroy": "red",
    "change": "yellow",
    "observe": "green",
}


def clean(text: Any) -> str:
    """One line of text that cannot move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " if c in "\n\t\r" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def coloured(text: str, *, err: bool = False) -> str:
    colour = _COLOURS.get(text)
    stream = sys.stderr if err else sys.stdout
    if colour is None or not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=colour)


def as_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "none") -> None:
    """Plain columns, as wide as their content; for a pipe they are tab-separated without the heading's decoration."""
    shown = [[clean(cell if cell is not None else "") for cell in row] for row in rows]
    if not shown:
        click.echo(empty)
        return
    if not sys.stdout.isatty():
        for row in [list(columns), *shown]:
            click.echo("\t".join(row))
        return
    widths = [max(len(row[index]) for row in [list(columns), *shown]) for index in range(len(columns))]
    click.echo(
        click.style(
            "  ".join(name.upper().ljust(width) for name, width in zip(columns, widths, strict=True)), bold=True
        )
    )
    for row in shown:
        cells = [coloured(cell) + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def progress(seen: Mapping[str, Any]) -> None:
    """One line a piece of evidence, on stderr, as it happens. Whoever reads may go: the request goes on to its end."""
    verdict = clean(seen.get("verdict", ""))
    data = seen.get("data") or {}
    more = clean(data.get("message", "")) if isinstance(data, Mapping) else ""
    with contextlib.suppress(OSError):
        click.echo(
            f"  {clean(seen.get('kind', '')):<8} {clean(seen.get('name', '')):<32} {coloured(verdict, err=True)}"
            + (f"  {more}" if more else ""),
            err=True,
        )


def result(data: Mapping[str, Any]) -> None:
    """A Result for people: how it ended, why, and the answer."""
    target = data.get("target") or {}
    place = " ".join(
        filter(None, [clean(target.get("name", "")), f"in {data['environment']}" if data.get("environment") else ""])
    )
    dry = " (dry run)" if data.get("dry_run") else ""
    reason = f" ({data['reason']})" if data.get("reason") else ""
    click.echo(f"{coloured(data['status'])}{reason}: {clean(data['operation'])}{dry} {place}".rstrip())
    if data.get("message"):
        for line in str(data["message"]).splitlines():
            click.echo(f"  {clean(line)}")
    for line in would(data):
        click.echo(f"  {line}")
    if data.get("verification"):
        click.echo(f"  verification: {coloured(data['verification'])}")
    if data.get("answer") not in (None, {}, []):
        click.echo("  answer:")
        answer(data["answer"], "    ")
    click.echo(f"  request: {data['id']}")


def would(data: Mapping[str, Any]) -> list[str]:
    """The calls that a dry run would make, with their arguments and what they would touch."""
    lines = []
    for seen in data.get("evidence", ()):
        if seen["kind"] == "call" and seen["verdict"] == "would":
            more = seen.get("data") or {}
            on = f" on {clean(more['on'])}" if more.get("on") else ""
            lines.append(
                f"would call {clean(seen['name'])}{on} {_short(more.get('arguments', more.get('template', {})))}"
            )
            if more.get("touches"):
                lines.append(f"  it would touch {', '.join(clean(one) for one in more['touches'])}")
            if more.get("preview"):
                lines.append(f"  {clean(more['preview'])}")
    return lines


def answer(data: Any, indent: str) -> None:
    if isinstance(data, Mapping):
        for name, value in data.items():
            if isinstance(value, Mapping | list) and value:
                click.echo(f"{indent}{clean(name)}:")
                answer(value, indent + "  ")
            else:
                click.echo(f"{indent}{clean(name)}: {_short(value)}")
    elif isinstance(data, list):
        for one in data:
            if isinstance(one, Mapping):
                click.echo(indent + "- " + ", ".join(f"{clean(name)}: {_short(value)}" for name, value in one.items()))
            else:
                click.echo(f"{indent}- {_short(one)}")
    else:
        click.echo(indent + _short(data))


def lines(text: str, indent: str) -> str:
    """Text of several lines as such, each of them clean."""
    return f"\n{indent}".join(clean(line) for line in text.splitlines())


def looked(result: Mapping[str, Any]) -> str:
    """How a Result ended, in a few words; of one that only looked: what it saw."""
    status, reason = result["status"], result.get("reason")
    message = str(result.get("message") or "").removeprefix(f"{result['operation']}: ")
    if message.partition(" ")[0] == status:  # "done", "done and verified": once is enough
        message = message.removeprefix(status)
        said = [f"{coloured(status)}{clean(message)}"]
    else:
        verification = f" {result['verification']}" if result.get("verification") else ""
        said = [f"{coloured(status)}{verification}{f' ({reason})' if reason else ''}", clean(message)]
    if result.get("risk") == "observe" and status == "done":
        said.append(_brief(result.get("answer")))
    return "; ".join(filter(None, said))


def _brief(answer: Any, most: int = 160) -> str:
    if not isinstance(answer, Mapping):
        return ""
    words = [
        f"{clean(name)}: {len(value)}" if isinstance(value, list) else f"{clean(name)}: {_short(value)}"
        for name, value in answer.items()
        if value not in (None, "", {}) and not isinstance(value, Mapping)
    ]
    text = ", ".join(words)
    return text if len(text) <= most else text[:most].rpartition(", ")[0] + ", …"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(value, ensure_ascii=False, default=str))

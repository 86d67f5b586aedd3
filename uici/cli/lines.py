"""Lines of a request's logs on a terminal: each with the name of who said it, in a colour of its own where there are colours.

What a stranger printed is shown as text: it cannot move the cursor, nor look like another one's line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from uici.cli.show import clean

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red")


class Lines:
    """``as_json``: one JSON object a line, for programs. A line that comes again, after a connection broke, is not shown
    twice."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._json = as_json
        self._colours = not as_json and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._had: dict[str, str] = {}
        self._prefixes: dict[str, str] = {}

    def __call__(self, line: Mapping[str, Any]) -> None:
        source, cursor = str(line["source"]), str(line["cursor"])
        if cursor <= self._had.get(source, ""):
            return
        self._had[source] = cursor
        if self._json:
            said = {name: line[name] for name in ("source", "name", "cursor", "text") if name in line}
            click.echo(json.dumps(said, ensure_ascii=False))
            return
        click.echo(f"{self._prefix(source, str(line.get('name') or source))} {clean(line['text'])}")

    def _prefix(self, source: str, name: str) -> str:
        known = self._prefixes.get(source)
        if known is None:
            known = f"[{clean(name)}]"
            if self._colours:
                known = click.style(known, fg=_COLOURS[len(self._prefixes) % len(_COLOURS)])
            self._prefixes[source] = known
        return known

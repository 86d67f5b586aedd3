"""The route table: what each door is, what it needs, what it takes and gives. OpenAPI is made from it.

A table and nothing more; what a door does is in its handler.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from uici.model.record import dataclass

if TYPE_CHECKING:
    from uici.daemon.server import Daemon
    from uici.daemon.tokens import Caller

Handler = Callable[["Daemon", web.Request, "Caller"], Awaitable[web.StreamResponse]]

#: Of a path's ``{id}`` and the like: one segment, no slash.
SEGMENT = "[A-Za-z0-9_.:~-]{1,253}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``may``: one of these rights opens it; empty: nobody needs a token. ``person``: and only to people.

    ``query``: name -> JSON Schema of its text. ``body``: JSON Schema, None where there is none. ``answers``: status ->
    JSON Schema of the JSON body, or None for another media type (``media``). ``problems``: statuses with problem+json.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    may: frozenset[str] = frozenset()
    person: bool = False
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    answers: Mapping[int, Mapping[str, Any] | None] = field(default_factory=dict)
    media: str = "application/json"
    problems: tuple[int, ...] = ()
    tag: str = "api"

    @property
    def name(self) -> str:
        """For OpenAPI's ``operationId`` and the label in ``/metrics``."""
        return self.handler.__name__

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def pattern(self) -> str:
        """As aiohttp wants it."""
        return re.sub(r"{(\w+)}", lambda m: f"{{{m[1]}:{SEGMENT}}}", self.path)

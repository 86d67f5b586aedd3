"""How an engine's address is said to people: where it is, never the login that may stand in it."""

from __future__ import annotations

import re

# Greedy: a password may hold an ``@`` or a ``/`` that should have been encoded.
_LOGIN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://).*@", re.DOTALL)


def without_login(url: str) -> str:
    """The URL without what stands before its host; a path of a socket is left as it is."""
    return url if url.startswith("unix:") else _LOGIN.sub(r"\1", url)

"""Imports of the daemon without what the libraries would do at import and a daemon has no use for (``docs/decisions/0009``).

Nothing here may weaken what a library does later: what is left out fails closed.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_rich() -> Iterator[None]:
    """structlog imports rich for its tracebacks where it finds it: 50 ms and 5 MB."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["rich"]


def web() -> None:
    """Imports aiohttp, whose client reads all certificates of the system twice at import: 50 ms and some MB.

    Its client then trusts nobody by default: who uses it over TLS passes a context of its own.
    """

    def trusting_nobody() -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    real = ssl.create_default_context
    ssl.create_default_context = trusting_nobody  # type: ignore[assignment]
    ssl.SSLContext.set_default_verify_paths = lambda self: None  # type: ignore[method-assign]
    try:
        import aiohttp.web  # noqa: F401
    finally:
        ssl.create_default_context = real
        del ssl.SSLContext.set_default_verify_paths

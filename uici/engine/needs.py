"""Addresses that UICI needs, out of its catalog: each environment's engine and the Prometheus that it verifies with.

An engine may be reached through something that runs on it (a socket proxy in a container), and is gone with it. Asks
nobody; what a secret reference hides and cannot be filled in is left out, because what needs it cannot be opened either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from uici.catalog import Catalog, secrets
from uici.model import ConfigurationError

_PORTS = {"http": 80, "https": 443, "tcp": 2375, "postgresql": 5432, "postgres": 5432}


def needs_of(catalog: Catalog) -> tuple[str, ...]:
    """``host:port`` and paths of unix sockets, each once."""
    given: list[Any] = [catalog.platform.prometheus, catalog.platform.journal_url]
    given += [environment.settings for environment in catalog.environments.values()]
    found: dict[str, None] = {}
    for one in given:
        try:
            texts = list(_texts(secrets(one)))
        except ConfigurationError:
            continue
        found.update(dict.fromkeys(address for text in texts for address in _address(text)))
    return tuple(found)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value)


def _address(text: str) -> Iterator[str]:
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.startswith("sqlite"):
        return
    if scheme in ("unix", "http+unix"):
        yield "/" + rest.lstrip("/")
        return
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError:
        return
    if host and port:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""Finding executors through the entry-point group ``uici.executors``. Built-ins have no other door."""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points

from uici.executor.contract import Executor
from uici.model import ConfigurationError

GROUP = "uici.executors"


def points(group: str, name: str | None = None) -> tuple[EntryPoint, ...]:
    """What is installed in a group. Read once, and again where ``name`` is not among it: it may have come meanwhile."""
    found = _of(group, tuple(sys.path))
    if name is not None and name not in found.names:
        _of.cache_clear()
        found = _of(group, tuple(sys.path))
    return tuple(found)


@lru_cache(maxsize=2)
def _of(group: str, path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=group)


def names() -> tuple[str, ...]:
    """The installed executors' names, without importing any."""
    return tuple(sorted({point.name for point in points(GROUP)}))


@cache
def load(name: str) -> type[Executor]:
    """The class of an executor; raises ConfigurationError where it or its SDK is not installed."""
    for point in points(GROUP, name):
        if point.name == name:
            try:
                executor: type[Executor] = point.load()
            except ImportError as error:
                raise ConfigurationError(
                    f"executor {name!r} cannot be imported: {error}; install its SDK with: pip install 'uici[{name}]'"
                ) from error
            return executor
    raise ConfigurationError(f"no executor {name!r} is installed; there are: {', '.join(names()) or 'none'}")

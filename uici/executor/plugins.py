"""Finding executors through the entry-point group ``uici.executors``. Built-ins have no other door."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from uici.executor.contract import Executor
from uici.model import ConfigurationError

GROUP = "uici.executors"


def names() -> tuple[str, ...]:
    """The installed executors' names, without importing any."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def load(name: str) -> type[Executor]:
    """The class of an executor; raises ConfigurationError where it or its SDK is not installed."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                executor: type[Executor] = point.load()
            except ImportError as error:
                raise ConfigurationError(
                    f"executor {name!r} cannot be imported: {error}; install its SDK with: pip install 'uici[{name}]'"
                ) from error
            return executor
    raise ConfigurationError(f"no executor {name!r} is installed; there are: {', '.join(names()) or 'none'}")

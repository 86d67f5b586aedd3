"""Calls and open executors for the supervisor's tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from uici.executor import load
from uici.model import Call, Environment, Risk


def call(path: str, timeout: float = 30.0, **arguments: Any) -> Call:
    return Call(on=None, path=path, arguments=arguments, risk=Risk.CHANGE, timeout=timeout)


@contextlib.asynccontextmanager
async def opened(url: str, **definition: Any) -> AsyncIterator[Any]:
    """An executor at that url, reached as everybody reaches it."""
    settings = {"url": url, **definition.pop("settings", {})}
    executor = load("supervisor")()
    await executor.open(Environment.parse("local", {"executor": "supervisor", "settings": settings, **definition}))
    try:
        yield executor
    finally:
        await executor.close()

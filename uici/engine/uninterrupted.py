"""Waiting to the end for what must not be left half done, however often the one who waits is cancelled.

The cancellation is raised afterwards. Must not be used for what has no end of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
    """Its answer or its error; CancelledError where it is well done and the caller was cancelled meanwhile."""
    task = work if isinstance(work, asyncio.Task) else asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    answer = task.result()
    if cancelled is not None:
        raise cancelled
    return answer

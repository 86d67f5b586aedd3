"""Blocking SDKs on a bounded pool of threads, one pool an environment, so that no SDK ever blocks the loop.

A call is over when its thread is: ``run`` never leaves a thread behind that still talks to an engine. Bounding the wait
is the SDK's read timeout; this module must not abandon a running thread to meet a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """``size`` threads, made when needed."""

    def __init__(self, name: str, size: int = 32) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=f"uici-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's answer. When cancelled it still waits for the thread's end, then raises CancelledError."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

"""The library's door: ``uici.connect`` as ``async with`` or, for synchronous code, as plain ``with``.

    async with uici.connect("infrastructure/config") as infrastructure:
        result = await infrastructure.run("restart_service", service="web", environment="local")

It opens the journal itself and so needs it for itself: where a daemon holds it, ``JournalInUseError`` names the holder.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from uici.catalog import UniversalConfigLoader, require_secrets, secrets
from uici.engine.interface import UniversalInfrastructureInterface
from uici.journal import Journal, open_journal
from uici.model import Origin, Request, Result

T = TypeVar("T")


class Connection:
    """Not open until it is entered. ``path`` None: the configuration is looked for as the command line does."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, journal: str | None = None) -> None:
        self._path = path
        self._url = journal
        self._journal: Journal | None = None
        self._infrastructure: UniversalInfrastructureInterface | None = None
        self._loop: _Loop | None = None

    async def __aenter__(self) -> UniversalInfrastructureInterface:
        """Raises ConfigurationError for a catalog that does not hold, JournalInUseError for a journal in use."""
        loader = (
            UniversalConfigLoader(self._path)
            if self._path is not None
            else UniversalConfigLoader.find(None, environ=os.environ)
        )
        catalog = await asyncio.to_thread(loader.load)
        require_secrets(catalog)
        self._journal = await open_journal(
            str(secrets(catalog.platform.journal_url)) if self._url is None else self._url
        )
        try:
            self._infrastructure = UniversalInfrastructureInterface(catalog, self._journal)
            await self._infrastructure.start()
        except BaseException:
            await self._journal.close()
            raise
        return self._infrastructure

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._infrastructure is not None:
                await self._infrastructure.close()
        finally:
            if self._journal is not None:
                await self._journal.close()

    def __enter__(self) -> SynchronousInterface:
        self._loop = _Loop()
        try:
            return SynchronousInterface(self._loop.run(self.__aenter__()), self._loop)
        except BaseException:
            self._loop.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            try:
                self._loop.run(self.__aexit__(kind, error, trace))
            finally:
                self._loop.close()


class SynchronousInterface:
    """The same engine for code without an event loop of its own; safe to use from several threads."""

    def __init__(self, infrastructure: UniversalInfrastructureInterface, loop: _Loop) -> None:
        self._infrastructure = infrastructure
        self._loop = loop

    def run(
        self,
        operation: str,
        *,
        environment: str | None = None,
        reason: str = "",
        dry_run: bool = False,
        confirm: bool = False,
        **parameters: Any,
    ) -> Result:
        return self._loop.run(
            self._infrastructure.run(
                operation, environment=environment, reason=reason, dry_run=dry_run, confirm=confirm, **parameters
            )
        )

    def execute(self, request: Request, origin: Origin) -> Result:
        return self._loop.run(self._infrastructure.execute(request, origin))


class _Loop:
    """An event loop on a thread of its own, so that a plain ``with`` works under a running loop too (a notebook)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="uici", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(path: str | os.PathLike[str] | None = None, *, journal: str | None = None) -> Connection:
    """A connection to the engine, to be entered with ``async with`` or ``with``. ``journal``: an URL such as
    ``sqlite:////var/lib/shop/journal.db``; None: as ``platform.yml`` says."""
    return Connection(path, journal=journal)

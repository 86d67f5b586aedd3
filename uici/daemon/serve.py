"""The daemon's life: wires journal, engine, worker, outbox and doors; reloads; stops without leaving a doubt unrecorded.

Order of a start: configuration → journal → doors (alerts are durable from here on) → engine (environments, doubts) →
worker and outbox. A stop goes the other way. It must not decide anything about an alert or a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from uici import __version__
from uici.catalog import Catalog, CatalogError, UniversalConfigLoader, require_secrets, secrets
from uici.daemon import loop as loops
from uici.daemon import openapi, tokens
from uici.daemon.counts import Counts
from uici.daemon.local import bind, socket_of
from uici.daemon.logs import logger
from uici.daemon.outbox import Outbox
from uici.daemon.proof import Proof
from uici.daemon.running import Running
from uici.daemon.server import Daemon, application, shortcut
from uici.daemon.status import pauses_of, warnings_of
from uici.daemon.table import ROUTES
from uici.daemon.tokens import Tokens
from uici.daemon.watched import watched
from uici.daemon.webhooks import post_alertmanager
from uici.daemon.worker import Worker
from uici.engine import UniversalInfrastructureInterface
from uici.engine.facts import gather
from uici.journal import Entry, Journal, open_journal
from uici.journal.location import path_of
from uici.model import UNENDED, ConfigurationError, JournalError, Platform, Token, UICIError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

#: Seconds that running requests get to end after the first signal; a second signal ends the waiting.
GRACE = 30.0
#: Objects made since the last look for garbage: a storm makes hundreds a millisecond, and leaves hardly any.
GARBAGE = 10_000


def tokens_of(platform: Platform) -> Tokens:
    """The configured tokens with their secrets filled in; raises ConfigurationError that names a missing one."""
    return Tokens(
        Token(name=one.name, token=_filled(f"server.tokens.{one.name}", one.token), may=one.may, person=one.person)
        for one in platform.tokens
    )


def _filled(about: str, text: str) -> str:
    """A text of platform.yml with its secrets filled in; raises ConfigurationError that names what is missing where."""
    try:
        return str(secrets(text))
    except ConfigurationError as error:
        raise ConfigurationError(f"platform.yml: {about}: {error}") from error


def listen_of(platform: Platform, known: Tokens, override: str | None = None) -> tuple[str, int]:
    """Where to listen; raises ConfigurationError for anything but loopback where there are no tokens."""
    host, port = tokens.address(override or platform.listen)
    if not known and not tokens.is_loopback(host):
        raise ConfigurationError(
            f"platform.yml: server.listen is {override or platform.listen!r}, which others can reach, and there are no "
            "server.tokens; add tokens, or listen on 127.0.0.1"
        )
    return host, port


class Serving:
    """One daemon, from its start to its end. ``run`` is the whole life. ``signals``: only a main thread can take them.

    ``proof``: of the loader's folder, begun already.
    """

    def __init__(
        self,
        loader: UniversalConfigLoader,
        *,
        listen: str | None = None,
        ready: Callable[[Daemon], None] | None = None,
        grace: float = GRACE,
        signals: bool = True,
        proof: Proof | None = None,
    ) -> None:
        self._loader, self._listen, self._ready, self._grace = loader, listen, ready, grace
        self._take_signals, self._proof = signals, proof
        self._log: FilteringBoundLogger = logger()
        self._reloading = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self.daemon: Daemon | None = None

    async def run(self) -> None:
        """Until ``stop``. Raises UICIError where it cannot start, with everything taken back."""
        catalog = await asyncio.to_thread((self._proof or Proof(self._loader.path)).catalog)
        require_secrets(catalog)
        platform, known = catalog.platform, tokens_of(catalog.platform)
        escalate_to = [_filled("escalate_to", one) for one in platform.escalate_to]
        host, port = listen_of(platform, known, self._listen)
        url = _filled("journal.url", platform.journal_url)
        opened = await open_journal(url)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(opened.close)
            await self._live(stack, opened, url, catalog, known, escalate_to, host, port)

    async def _live(
        self,
        stack: contextlib.AsyncExitStack,
        opened: Journal,
        url: str,
        catalog: Catalog,
        known: Tokens,
        escalate_to: list[str],
        host: str,
        port: int,
    ) -> None:
        counts = Counts()
        counts.seed(await opened.incidents(states=sorted(UNENDED), limit=100_000))
        running = Running(lambda: infrastructure)

        def seen(entry: Entry) -> None:
            counts.seen(entry)
            if entry.request is not None:
                running.seen(entry)
            if entry.kind == "escalation":
                outbox.wake()

        journal, watch = watched(opened, seen, counts.append.observe)
        database = path_of(url)
        local = socket_of(database)
        tcp = _tcp(host, port)
        stack.callback(tcp.close)
        bound = "{}:{}".format(*tcp.getsockname()[:2])
        # Asked again after a reload, which may name other things that UICI depends on.
        infrastructure = UniversalInfrastructureInterface(
            catalog,
            journal,
            facts=lambda: gather(
                listens=[bound, str(local)],
                paths=[str(database), str(local), str(infrastructure.catalog.path)],
                depends_on=infrastructure.catalog.platform.depends_on,
            ),
        )
        infrastructure.on_progress = running.progress
        outbox = Outbox(journal, escalate_to)
        worker = Worker(infrastructure, notify=outbox.wake)
        daemon = Daemon(infrastructure, journal, watch, counts, known, running, outbox, worker.wake, worker.repeats)
        daemon.openapi = orjson.dumps(openapi.document(ROUTES))
        daemon.listens = [f"http://{bound}", f"unix:{local}"]
        self.daemon = daemon
        await journal.append(
            Entry(kind="started", data={"version": __version__, "pid": os.getpid(), "catalog": catalog.digest}),
            Entry(kind="catalog", data={"digest": catalog.digest, "ok": True, "problems": []}),
        )
        self._warn(daemon)
        # A body that is not wanted is not read: the connection ends with the answer.
        runner = web.AppRunner(
            application(daemon, ROUTES),
            access_log=None,
            handle_signals=False,
            lingering_time=0.0,
            auto_decompress=False,
            shutdown_timeout=2.0,
        )
        await runner.setup()
        shortcut(daemon, next(one for one in ROUTES if one.handler is post_alertmanager), runner)
        stack.push_async_callback(runner.cleanup)
        with bind(local) as unix:
            stack.callback(local.unlink, missing_ok=True)
            for listening in (unix, tcp):
                await loops.Listening(runner, listening, backlog=1024).start()
        with self._signals():
            self._log.info(
                "listening",
                address=daemon.listens[0],
                socket=str(local),
                config=str(catalog.path),
                pid=os.getpid(),
                loop=loops.name(asyncio.get_running_loop()),
            )
            for name, problem in warnings_of(daemon).items():
                self._log.warning("warning", about=name, problem=problem)
            try:
                starting = asyncio.create_task(infrastructure.start(), name="engine-start")
                await self._first(daemon, starting)
                if starting.done():
                    for id in starting.result():
                        self._log.warning("settling what an earlier process left", request=id)
                    daemon.started = True
                    for name, problem in (await pauses_of(daemon)).items():
                        self._log.warning("warning", about=name, problem=problem)
                    self._keep(daemon, "worker", worker.run)
                    self._keep(daemon, "outbox", outbox.run)
                    # Opens every environment: no alert waits for a login, or for the import of an SDK.
                    self._tasks.append(asyncio.create_task(infrastructure.health(), name="environments"))
                    self._log.info("ready", environments=list(catalog.environments))
                    if self._ready is not None:
                        self._ready(daemon)
                    await daemon.stop.wait()
                else:
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)
            finally:
                await self._end(daemon, runner, worker)

    async def _first(self, daemon: Daemon, starting: asyncio.Task[Any]) -> None:
        stopping = asyncio.create_task(daemon.stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _end(self, daemon: Daemon, runner: web.AppRunner, worker: Worker) -> None:
        """Stops accepting, then the worker, then lets what runs end or be recorded, then says that it stopped."""
        daemon.stopping = True
        daemon.stop.set()
        self._log.info("stopping", running=len(daemon.running))
        for site in list(runner.sites):
            await site.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        until = time.monotonic() + self._grace
        await self._unless_hurried(worker.drain, self._grace)
        await self._unless_hurried(daemon.infrastructure.close, max(0.0, until - time.monotonic()))
        with contextlib.suppress(JournalError):
            await daemon.journal.append(Entry(kind="stopped", data={}))
        self._log.info("stopped")

    async def _unless_hurried(self, end: Callable[[float], Awaitable[None]], grace: float) -> None:
        """``end`` with that grace, or with none from the second signal on; what did not end is left to the next start."""
        ending = asyncio.ensure_future(end(0.0 if self._hurry.is_set() else grace))
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([ending, hurried], return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ending.done():
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            await end(0.0)
        else:
            await ending

    def _keep(self, daemon: Daemon, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Runs it for ever: an error of its own is logged, said by /readyz, and it begins again from the journal."""

        async def kept() -> None:
            while True:
                try:
                    await run()
                except Exception as error:  # noqa: BLE001 - the daemon outlives any error of its parts, and says so
                    self._log.error(f"the {name} failed", exc_info=error)
                    daemon.broken[name] = f"it failed and begins again: {type(error).__name__}: {error}"
                await asyncio.sleep(1.0)
                daemon.broken.pop(name, None)

        self._tasks.append(asyncio.create_task(kept(), name=name))

    # Signals

    @contextlib.contextmanager
    def _signals(self) -> Any:
        if not self._take_signals:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hup)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(one)

    def stop(self) -> None:
        if self.daemon is None:
            return
        if self.daemon.stop.is_set():
            self._hurry.set()
        self.daemon.stop.set()

    def _hup(self) -> None:
        self._tasks.append(asyncio.create_task(self.reload(), name="reload"))

    async def reload(self) -> bool:
        """Takes the catalog as it is on disk now; one that does not pass is refused and the last good one stays."""
        daemon = self.daemon
        if daemon is None:
            return False
        async with self._reloading:
            try:
                catalog = await asyncio.to_thread(Proof(self._loader.path).catalog)
                require_secrets(catalog)
                known = tokens_of(catalog.platform)
                escalate_to = [_filled("escalate_to", one) for one in catalog.platform.escalate_to]
                listen_of(catalog.platform, known, self._listen)
                await daemon.infrastructure.replace(catalog)
            except (UICIError, OSError) as error:
                problems = [
                    f"{one.file}:{one.line}:{one.column}: {one.message}"
                    for one in (error.problems if isinstance(error, CatalogError) else ())
                ] or [str(error)]
                daemon.warnings["catalog"] = (
                    f"the last reload was refused and the last good catalog ({daemon.catalog.digest[:12]}) is in use: "
                    f"{problems[0]}{f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''}"
                )
                self._log.error("reload refused", problems=problems[:20], kept=daemon.catalog.digest)
                await self._tell(daemon, {"digest": daemon.catalog.digest, "ok": False, "problems": problems[:100]})
                return False
            daemon.tokens = known
            daemon.outbox.escalate_to = tuple(escalate_to)
            daemon.outbox.wake()
            daemon.warnings.pop("catalog", None)
            self._warn(daemon)
            self._log.info("reloaded", digest=catalog.digest)
            await self._tell(daemon, {"digest": catalog.digest, "ok": True, "problems": []})
            return True

    async def _tell(self, daemon: Daemon, data: Mapping[str, Any]) -> None:
        try:
            await daemon.journal.append(Entry(kind="catalog", data=data))
        except JournalError as error:
            self._log.error("journal failed", problem=str(error))

    def _warn(self, daemon: Daemon) -> None:
        daemon.warnings.pop("tokens", None)
        if not daemon.tokens:
            daemon.warnings["tokens"] = (
                "platform.yml has no server.tokens, so the daemon listens on loopback only and answers every program "
                "on this machine; add tokens to be reached from elsewhere"
            )


def _tcp(host: str, port: int) -> socket.socket:
    """Bound, not listening yet; raises ConfigurationError."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(where)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; is another daemon there? "
            "(platform.yml: server.listen, or `uici serve --listen`)"
        ) from error
    return made


def serve(loader: UniversalConfigLoader, *, listen: str | None = None, proof: Proof | None = None) -> None:
    """Runs the daemon until a signal ends it; raises UICIError where it cannot start."""
    with asyncio.Runner(loop_factory=loops.factory()) as runner:
        runner.run(Serving(loader, listen=listen, proof=proof, ready=_started).run())


def _started(daemon: Daemon) -> None:
    """What the start made stays for the whole life. To look for garbage in it would hold up alerts again and again."""
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


__all__ = ["GRACE", "Serving", "listen_of", "serve", "tokens_of"]

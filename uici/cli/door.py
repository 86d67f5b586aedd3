"""Where a command's words go: to the daemon that runs, or to the engine in this process. Both answer with the API's JSON.

It must not decide anything, and holds the journal only while it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from uici.cli import where
from uici.cli.remote import LAST_LINES, Remote, unknown
from uici.model.errors import UICIError
from uici.model.request import Origin, Request

if TYPE_CHECKING:
    from uici.catalog import Catalog
    from uici.engine import UniversalInfrastructureInterface
    from uici.executor import Line

T = TypeVar("T")
Progress = Callable[[Mapping[str, Any]], None]
JSON = Any
#: Ctrl-C, whoever stops the command, and a terminal that was closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Door(Protocol):
    def operations(self) -> list[JSON]: ...
    def operation(self, name: str) -> JSON | None: ...
    def environments(self) -> list[JSON]: ...
    def permissions(self, environment: str) -> JSON: ...
    def incidents(self, states: Sequence[str], limit: int) -> list[JSON]: ...
    def incident(self, id: str) -> JSON: ...
    def ask(self, request: Request, progress: Progress, lines: Progress | None = None) -> JSON: ...
    def logs(self, id: str, follow: bool, lines: Progress) -> JSON: ...
    def plan(self, payload: Any) -> list[JSON]: ...
    def cancel(self, id: str) -> JSON: ...
    def pause(self, environment: str | None) -> JSON: ...
    def resume(self, environment: str | None) -> JSON: ...
    def reopen(self, incident: str) -> JSON: ...


def door(config: str | None, server: str | None) -> Door:
    """The daemon where one runs, else the engine here; raises ConfigurationError, CatalogError."""
    found = where.client(config, server)
    return Remote(found) if found is not None else Own(config)


class Own:
    """By the engine in this process, which holds the journal meanwhile; raises JournalInUseError where another does."""

    def __init__(self, config: str | None) -> None:
        self.catalog: Catalog = where.loader(config).load()

    @classmethod
    def of(cls, catalog: Catalog) -> Own:
        """Of a catalog that is loaded already."""
        made = cls.__new__(cls)
        made.catalog = catalog
        return made

    def operations(self) -> list[JSON]:
        from uici.daemon.words import operation_json

        return [operation_json(self.catalog, self.catalog.operations[name]) for name in self.catalog.operations]

    def operation(self, name: str) -> JSON | None:
        return next((one for one in self.operations() if one["name"] == name), None)

    def environments(self) -> list[JSON]:
        from uici.daemon.words import environment_json, unchangeable

        async def asked(infrastructure: UniversalInfrastructureInterface) -> list[JSON]:
            paused, health = await infrastructure.journal.paused(), await infrastructure.health()
            return [
                environment_json(self.catalog, environment)
                | {
                    "paused": paused.get(name) or paused.get(None),
                    "unchangeable": await unchangeable(infrastructure, name, health[name]),
                    "health": {"ok": health[name].ok, "message": health[name].message},
                }
                for name, environment in self.catalog.environments.items()
            ]

        return self._with_engine(asked)

    def permissions(self, environment: str) -> JSON:
        self._known(environment)

        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            needed, missing = await infrastructure.permissions(environment)
            return {"needed": needed, "missing": missing}

        return self._with_engine(asked)

    def incidents(self, states: Sequence[str], limit: int) -> list[JSON]:
        from uici.journal import Journal
        from uici.model import IncidentState

        async def asked(journal: Journal) -> list[JSON]:
            found = await journal.incidents(states=[IncidentState(state) for state in states], limit=limit)
            return [incident.to_json() for incident in found]

        return self._with_journal(asked)

    def incident(self, id: str) -> JSON:
        from uici.daemon.words import entry_json
        from uici.journal import Journal

        async def asked(journal: Journal) -> JSON:
            incident = await journal.incident(id)
            if incident is None:
                raise unknown("incident", id)
            results = await journal.results(incident=id, limit=1000)
            entries = await journal.entries(incident=id, limit=10_000)
            return incident.to_json() | {
                "results": [result.to_json() for result in reversed(results)],
                "entries": [entry_json(entry) for entry in entries],
            }

        return self._with_journal(asked)

    def ask(self, request: Request, progress: Progress, lines: Progress | None = None) -> JSON:
        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            infrastructure.on_progress = lambda _, seen: progress(seen.to_json())
            id = new_id()
            running = asyncio.create_task(infrastructure.execute(request, _origin(), id=id))
            following = asyncio.create_task(_follow(infrastructure, id, lines)) if lines is not None else None
            stops: set[asyncio.Task[bool]] = set()

            # A program that is begun with one of them ignored (nohup) goes on ignoring it.
            heard = {one for one in _ENDING if signal.getsignal(one) is not signal.SIG_IGN}

            def unheard() -> None:
                while heard:
                    loop.remove_signal_handler(heard.pop())

            def interrupted() -> None:
                # The first one ends the request in order; from then on they end the program as usual.
                unheard()
                progress({"kind": "cancel", "name": "cancel", "verdict": "asked for; waiting for its end"})
                stops.add(asyncio.create_task(infrastructure.cancel(id, str(_origin()))))

            loop = asyncio.get_running_loop()
            for one in heard:
                loop.add_signal_handler(one, interrupted)
            try:
                result = await running
                if following is not None:
                    await asyncio.wait([following], timeout=LAST_LINES)
                return result.to_json()
            finally:
                unheard()
                if following is not None:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)

        return self._with_engine(asked)

    def logs(self, id: str, follow: bool, lines: Progress) -> JSON:
        from uici.engine.logs import NoLogsError

        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            try:
                feed = await infrastructure.logs(id)
            except NoLogsError as error:
                raise error if error.known else unknown("request", id) from None
            async for piece in feed.follow({}) if follow else feed.read({}):
                for line in piece.lines:
                    lines(_line(line))
            result = await infrastructure.wait(id) if follow else None
            ended = result.to_json() if result is not None else {"status": None, "reason": None, "message": ""}
            return {**{name: ended[name] for name in ("status", "reason", "message")}, "problem": feed.problem}

        return self._with_engine(asked)

    def plan(self, payload: Any) -> list[JSON]:
        from uici.daemon.alertmanager import PayloadError
        from uici.daemon.planning import alerts_of, planned

        now = time.time()
        try:
            post = alerts_of(payload, now)
        except PayloadError as error:
            raise UICIError(f"{error.path}: {error.message}") from None

        async def asked(infrastructure: UniversalInfrastructureInterface) -> list[JSON]:
            return [await planned(infrastructure, alert, now) for alert in post.alerts]

        return self._with_engine(asked)

    def cancel(self, id: str) -> JSON:
        raise UICIError(
            f"no daemon runs for this journal, so no request {id!r} runs; Ctrl-C cancels a `uici run` in its own terminal"
        )

    def pause(self, environment: str | None) -> JSON:
        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            await infrastructure.pause(self._known(environment), str(_origin()))
            return {"paused": environment or "everywhere"}

        return self._with_engine(asked)

    def resume(self, environment: str | None) -> JSON:
        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            await infrastructure.resume(self._known(environment), str(_origin()))
            return {"resumed": environment or "everywhere"}

        return self._with_engine(asked)

    def reopen(self, incident: str) -> JSON:
        async def asked(infrastructure: UniversalInfrastructureInterface) -> JSON:
            from uici.engine.reopening import keys_of

            keys = await keys_of(infrastructure.journal, incident)
            if not keys:
                raise unknown("incident", incident)
            for key in keys:
                await infrastructure.reopen(key, str(_origin()))
            return {"reopened": ", ".join(keys)}

        return self._with_engine(asked)

    def _known(self, environment: str | None) -> str | None:
        if environment is not None and environment not in self.catalog.environments:
            raise UICIError(
                f"there is no environment {environment!r}; there are: {', '.join(self.catalog.environments)}"
            )
        return environment

    def _with_journal(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async def all_of_it() -> T:
            from uici.catalog import secrets
            from uici.journal import open_journal

            journal = await open_journal(str(secrets(self.catalog.platform.journal_url)))
            try:
                return await work(journal)
            finally:
                await journal.close()

        return asyncio.run(all_of_it())

    def _with_engine(self, work: Callable[[UniversalInfrastructureInterface], Awaitable[T]]) -> T:
        async def opened(journal: Any) -> T:
            from uici.engine import UniversalInfrastructureInterface

            infrastructure = UniversalInfrastructureInterface(self.catalog, journal)
            try:
                await infrastructure.start()
                return await work(infrastructure)
            finally:
                await infrastructure.close()

        return self._with_journal(opened)


async def _follow(infrastructure: UniversalInfrastructureInterface, id: str, lines: Progress) -> None:
    from uici.model import UICIError

    with contextlib.suppress(UICIError):
        feed = await infrastructure.logs(id)
        async for piece in feed.follow({}):
            for line in piece.lines:
                lines(_line(line))


def _line(line: Line) -> dict[str, str]:
    return {"source": line.source, "name": line.name, "cursor": line.cursor, "text": line.text}


def new_id() -> str:
    """A request's id, in the same form as the daemon's."""
    import secrets

    return f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


def _origin() -> Origin:
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Origin("human", name)

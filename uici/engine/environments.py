"""Open environments: each with its executor, its engine's id and what of that engine is UICI's own.

Secrets are filled into the settings here, right before ``Executor.open``, and are handed to nobody else but the redactor.
An environment that cannot be opened stays closed and says why; it keeps no other from working.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fnmatch
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from uici.catalog import Catalog, secrets
from uici.engine.redact import Redactor
from uici.executor import Executor, Facts, Health, Identity, Target, load
from uici.model import Clock, ConfigurationError, Environment, Resource, UICIError, UnreachableError

#: Seconds that a read of an engine outside of a Call may take (opening, identity, locate, resolve, health).
READ_LIMIT = 30.0
#: Seconds that an identity may be old (SAFETY.md, "Self").
IDENTITY_AGE = 30.0
#: Seconds for which an environment that could not be opened is not tried again: each try may take its whole limit.
AWAY = 5.0

T = TypeVar("T")


@dataclasses.dataclass(slots=True)
class OpenEnvironment:
    """One environment with its open executor. ``engine``: the engine's own id, read when it was opened. ``identity`` and
    ``listing`` (of its inventory) are kept for a while, with when they were asked for; ``located`` until the next change."""

    environment: Environment
    executor: Executor
    engine: str
    identity: Identity | None = None
    identity_at: float = float("-inf")
    listing: dict[str, Any] | None = None
    listed_at: float = float("-inf")
    located: dict[Target, tuple[float, list[Resource]]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.environment.name


async def bounded(what: str, reading: Awaitable[T], limit: float = READ_LIMIT) -> T:
    """A read with a limit. A timeout, and whatever a plugin raises that it must not, is no answer: UnreachableError."""
    try:
        async with asyncio.timeout(limit):
            return await reading
    except TimeoutError as error:
        raise UnreachableError(f"{what}: no answer within {limit:.0f} s; is the engine running?") from error
    except UICIError:
        raise
    except Exception as error:  # a plugin's bug must not take the engine's walk with it
        raise UnreachableError(f"{what}: its executor failed inside: {type(error).__name__}: {error}") from error


class OpenEnvironments:
    """Opens an environment when it is first needed and keeps it. ``facts``: of every process that shares the journal."""

    def __init__(self, catalog: Catalog, facts: Callable[[], Facts], clock: Clock) -> None:
        self._catalog = catalog
        self.facts = facts
        self._clock = clock
        self._open: dict[str, OpenEnvironment] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._known_engines: dict[str, str] = {}
        self._secrets: set[str] = set()
        self._retired: list[Executor] = []
        self._not_opened: dict[str, float] = {}
        self._away: dict[str, tuple[float, Environment, UnreachableError]] = {}
        self._needed: frozenset[str] = frozenset()
        self.redactor = Redactor()

    def __iter__(self) -> Iterator[OpenEnvironment]:
        return iter(list(self._open.values()))

    async def get(self, name: str) -> OpenEnvironment:
        """The open environment; raises UnreachableError or ConfigurationError where it cannot be opened."""
        return await self._get(self._catalog.environments[name])

    async def opened(self, environment: Environment) -> OpenEnvironment:
        """Of a journaled environment: the open one of that name if it has the same definition, else its own."""
        return await self._get(environment)

    async def _get(self, environment: Environment) -> OpenEnvironment:
        async with self._locks.setdefault(environment.name, asyncio.Lock()):
            place = self._open.get(environment.name)
            if place is not None and _same(place.environment, environment):
                return (
                    place if place.environment is environment else dataclasses.replace(place, environment=environment)
                )
            self._raise_if_away(environment)
            executor: Executor = load(environment.executor)()
            settings = secrets(environment.settings)
            self._learn(environment.settings, settings)
            try:
                await bounded(
                    f"environment {environment.name}",
                    executor.open(dataclasses.replace(environment, settings=settings)),
                )
                engine = await bounded(f"environment {environment.name}", executor.engine_id())
            except BaseException as error:
                if isinstance(error, UnreachableError):
                    self._away[environment.name] = self._clock(), environment, error
                await executor.close()
                raise
            opened = OpenEnvironment(environment, executor, engine)
            current = self._catalog.environments.get(environment.name)
            if current is None or _same(current, environment):
                self._open[environment.name] = opened
                self._known_engines[environment.name] = engine
            else:
                self._retired.append(executor)  # closed with the engine: a command still ends by it
            return opened

    def forget(self, place: OpenEnvironment) -> None:
        """Another engine answers there now: whoever needs it next opens it anew. What runs ends by the old one."""
        current = self._open.get(place.name)
        if current is not None and current.executor is place.executor:
            del self._open[place.name]
            self._known_engines.pop(place.name, None)
            self._retired.append(place.executor)

    def _raise_if_away(self, environment: Environment) -> None:
        """Whoever waited for a try that failed, or comes right after it, has its answer: an engine that hangs takes its
        limit once, and not once for each alert."""
        if (away := self._away.get(environment.name)) is not None:
            at, tried, error = away
            if _same(tried, environment) and 0 <= self._clock() - at < AWAY:
                raise error.with_traceback(None)

    def _learn(self, references: Any, filled: Any) -> None:
        """Remembers the values that references gave, so that they are hidden wherever an engine prints them."""
        before = len(self._secrets)
        self._collect(references, filled)
        if len(self._secrets) != before:
            self.redactor = Redactor(self._secrets)

    def _collect(self, references: Any, filled: Any) -> None:
        if isinstance(references, Mapping):
            for key, value in references.items():
                self._collect(value, filled[key])
        elif isinstance(references, list | tuple):
            for old, new in zip(references, filled, strict=True):
                self._collect(old, new)
        elif isinstance(references, str) and references != filled:
            self._secrets.add(str(filled))

    async def names_of(self, place: OpenEnvironment, patterns: Iterable[str]) -> tuple[str, ...]:
        """Every environment that may address this engine, of those that the patterns name.

        One that was never needed is opened for it. Of one that cannot be opened nobody can tell, so it counts.
        """
        asked = [one for one in patterns if one != "*"]
        named = [one for one in self._catalog.environments if any(fnmatch.fnmatchcase(one, two) for two in asked)]
        unsure = await self._not_to_be_opened(named)
        same = {name for name, known in self._known_engines.items() if known == place.engine}
        return tuple(sorted({place.name, *same, *unsure}))

    async def _not_to_be_opened(self, names: Iterable[str]) -> list[str]:
        """Opens those that were never needed; gives those that cannot be opened, which is tried once in a while."""
        now = self._clock()

        async def look(name: str) -> None:
            try:
                await self.get(name)
            except (UnreachableError, ConfigurationError):
                self._not_opened[name] = now

        unknown = [name for name in names if name not in self._known_engines]
        wanted = [name for name in unknown if self._not_opened.get(name, float("-inf")) + IDENTITY_AGE <= now]
        await asyncio.gather(*(look(name) for name in wanted))
        return [name for name in unknown if name not in self._known_engines]

    async def identity(self, place: OpenEnvironment, *, fresh: bool = False) -> Identity:
        """The union of what UICI is and needs on this engine, seen from every environment that addresses it.

        At most ``IDENTITY_AGE`` old; ``fresh`` asks anew. An environment that cannot tell makes it unknown, and so does one
        in which UICI needs something, which may be another name of this engine and cannot be opened.
        """
        asked: list[OpenEnvironment] = []
        found: list[Identity] = []
        # A journaled environment may stand beside the open one of its name.
        itself = [] if place in list(self) else [place]
        while mates := [one for one in (*self, *itself) if one.engine == place.engine and one not in asked]:
            asked += mates
            found += await asyncio.gather(*(self._identity(one, fresh=fresh) for one in mates))
            if closed := await self._not_to_be_opened(self._like(place)):
                return Identity(
                    unknown=f"platform.yml's `depends_on` names something in {', '.join(closed)}, which cannot be opened: "
                    "it may be another name of this engine"
                )
        resources: dict[tuple[str, str, str], Resource] = {}
        for identity in found:
            resources.update({(one.engine, one.kind, one.id): one for one in identity.resources})
        unknown = next((identity.unknown for identity in found if identity.unknown is not None), None)
        shows = "; ".join(dict.fromkeys(identity.shows for identity in found if identity.shows))
        return Identity(resources=tuple(resources.values()), shows=shows, unknown=unknown)

    def _like(self, place: OpenEnvironment) -> list[str]:
        """Environments in which UICI needs something and that may be other names of this engine."""
        executor, known = place.environment.executor, self._catalog.environments
        return [name for name in known if name in self._needed and known[name].executor == executor]

    async def _identity(self, place: OpenEnvironment, *, fresh: bool) -> Identity:
        if not fresh and place.identity is not None and 0 <= self._clock() - place.identity_at < IDENTITY_AGE:
            return place.identity
        asked_at, facts = self._clock(), self.facts()
        self._needed = frozenset(str(one.get("environment")) for one in facts.names)
        try:
            identity = await bounded(f"identity in {place.name}", place.executor.identity(facts))
        except UnreachableError as error:
            return Identity(unknown=str(error))
        place.identity, place.identity_at = identity, asked_at
        return identity

    async def health(self) -> dict[str, Health]:
        """Of every environment of the catalog; one that cannot be opened is not healthy and says why."""

        async def ask(name: str) -> Health:
            try:
                place = await self.get(name)
                return await bounded(f"environment {name}", place.executor.health(), 5.0)
            except (UnreachableError, ConfigurationError) as error:
                return Health(ok=False, message=str(error))

        names = list(self._catalog.environments)
        return dict(zip(names, await asyncio.gather(*(ask(name) for name in names)), strict=True))

    async def replace(self, catalog: Catalog) -> None:
        """Takes a new catalog. What changed is opened anew when next needed; the old is closed with the engine, because
        a command that still runs ends by its own copy."""
        self._catalog = catalog
        for name, place in list(self._open.items()):
            current = catalog.environments.get(name)
            if current is None or not _same(current, place.environment):
                self._retired.append(place.executor)
                del self._open[name]
                self._known_engines.pop(name, None)
            else:
                self._open[name] = dataclasses.replace(place, environment=current)

    async def close(self) -> None:
        for executor in (*self._retired, *(place.executor for place in self)):
            # One that does not close must not keep the others, or the journal, from it.
            with contextlib.suppress(UICIError):
                await bounded("closing", executor.close(), 5.0)
        self._open.clear()
        self._retired.clear()


def _same(one: Environment, other: Environment) -> bool:
    """Whether both lead to the same engine in the same way (autonomy and the like may differ)."""
    return (one.executor, one.dialect, dict(one.settings)) == (other.executor, other.dialect, dict(other.settings))

"""The contract's own look at an engine: few and cheap requests on the event loop, and what cannot change is asked once.

Everything here reads; a missing object is None, an engine that does not answer an UnreachableError.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from docker.errors import DockerException

from uici.executor import Settings, without_login
from uici.executor.wire import Said, Wire
from uici.model import UnreachableError
from uici_executors.docker import resources
from uici_executors.docker.connection import Client, Exchange
from uici_executors.docker.made import Attrs, Made, Ties, ties_of
from uici_executors.docker.outcomes import refused, unreachable
from uici_executors.docker.place import address_of

#: Seconds that one read may take, and one look of the contract, however many reads it is.
TIMEOUT, LOOK = 10.0, 25.0
#: Seconds after which the engine's own id is asked again.
ENGINE_AGE = 30.0


class Reads:
    """One engine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base_url = str(settings["base_url"])
        self._where = f"the Docker engine at {without_login(self.base_url)}"
        self._wire: Wire | None = None
        self._client: Client | None = None
        self._version: str | None = None
        self._engine: tuple[str, float] | None = None
        self._asking = asyncio.Lock()
        self._made = Made()
        #: Where the engine keeps everything, on its own host.
        self.root_dir = "/var/lib/docker"

    # The engine

    async def client(self) -> Client:
        """docker-py's; raises UnreachableError while the engine cannot be asked for its version."""
        if self._client is None:
            version = await self.version()
            with self._reaching():
                self._client = self._client or Client(self.settings, version, self.forget_engine, self._made)
        return self._client

    async def version(self) -> str:
        """Of the Engine API: the settings' word, else the engine's own, which is asked once."""
        if self._version is None:
            given = str(self.settings.get("api_version", "auto"))
            said = await self._json("/version") if given == "auto" else {"ApiVersion": given}
            if not isinstance(said, Mapping) or not said.get("ApiVersion"):
                raise UnreachableError(f"{self._where} is none: GET /version tells no ApiVersion")
            self._version = str(said["ApiVersion"])
        return self._version

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def forget_engine(self) -> None:
        """A connection was lost: another engine may answer now."""
        self._engine = None

    async def engine(self) -> str:
        """``info.ID``, asked again after a lost connection and at most every 30 s."""
        async with self._asking:
            known = self._engine
            if known is None or time.monotonic() - known[1] > ENGINE_AGE:
                info = await self.get("/info")
                if not info or not info.get("ID"):
                    raise UnreachableError(f"{self._where} does not tell its id (GET /info); is it starting?")
                self.root_dir = str(info.get("DockerRootDir") or self.root_dir)
                known = self._engine = (str(info["ID"]), time.monotonic())
            return known[0]

    # The wire

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """What fails for want of an answer is an UnreachableError."""
        try:
            yield
        except ValueError:  # of an address that is none; the error repeats what may be a password
            raise UnreachableError(
                f"{self._where} cannot be asked: its base_url is no address; write unix:///path or tcp://host:port"
            ) from None
        except (DockerException, OSError) as error:  # a TimeoutError is an OSError
            raise UnreachableError(unreachable(error, self.base_url)) from error

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """All reads of one look together have ``LOOK`` seconds: whoever waits for it gives up soon after."""
        try:
            async with asyncio.timeout(LOOK):
                yield
        except TimeoutError as error:
            raise UnreachableError(f"{self._where} answers too slowly: a look took too long ({LOOK:g} s)") from error

    async def said(self, path: str, params: Mapping[str, Any] | None = None, within: float = TIMEOUT) -> Said:
        """One GET as it is (``path`` with the API's version), within so many seconds.

        Raises OSError (a TimeoutError is one).
        """
        async with asyncio.timeout(within):
            return await self._connections().get(path, params)

    async def posted(self, path: str, exchange: Exchange) -> Said:
        """One POST without a body, as it is (``path`` with the API's version), until the exchange's deadline.

        Notes in it what may have been changed. Raises OSError (a TimeoutError is one).
        """

        def sent() -> None:
            exchange.sending = True

        try:
            async with asyncio.timeout(exchange.remaining()):
                said = await self._connections().post(path, sent)
        except BaseException:
            exchange.changed |= exchange.sending
            raise
        exchange.changed |= not refused(said.status)
        return said

    def _connections(self) -> Wire:
        """Raises what ``address_of`` raises."""
        if self._wire is None:
            self._wire = Wire(address_of(self.settings), self.forget_engine)
        return self._wire

    async def _json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        with self._reaching():
            said = await self.said(path, params)
        if said.status in (301, 400, 404):
            return None
        if said.status >= 400:
            text = said.body[:500].decode("utf-8", "replace")
            raise UnreachableError(f"{self._where} refused GET {path}: {text}; see its log")
        try:
            return orjson.loads(said.body)
        except ValueError as error:
            raise UnreachableError(
                f"{self._where} is none: its answer to GET {path} cannot be read: {error}"
            ) from error

    async def get(self, path: str, **params: Any) -> Any:
        """One GET of the Engine API; None for what is not there, and for a name that Docker would give nothing."""
        return await self._json(f"/v{await self.version()}{path}", params)

    async def events(self, seconds: float, **filters: Sequence[str]) -> AsyncIterator[Attrs]:
        """What the engine reports for so long, or until it ends that. Raises UnreachableError when it goes away."""
        path = f"/v{await self.version()}/events"
        with self._reaching():
            lines = self._connections().lines(path, {"filters": _json(filters)}, seconds)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    event: Attrs = orjson.loads(line)
                    yield event

    # Objects

    async def _object(self, kind: str, name: str, end: str = "") -> Attrs | None:
        """Inspected by name. No name may become another path (``..``) or the list of its kind (nothing)."""
        if any(part in ("", ".", "..") for part in name.split("/")):
            return None
        found: Attrs | None = await self.get(f"/{kind}/{quote(name, safe='/:@' if kind == 'images' else '')}{end}")
        return found

    async def container(self, name: str) -> Attrs | None:
        """Inspected, by exact name or full id: the engine itself would take a prefix."""
        found = await self._object("containers", name, "/json")
        if found is None or name not in (found["Id"], found["Name"].lstrip("/")):
            return None
        attrs: Attrs = found
        self._made.learn(attrs)
        return attrs

    async def containers(self, **filters: Sequence[str]) -> list[Attrs]:
        """Listed, not inspected; the stopped ones too."""
        given = {"filters": _json(filters)} if filters else {}
        return list(await self.get("/containers/json", all=1, **given) or ())

    async def members(self, project: str | None, service: str) -> list[Attrs]:
        """The listed containers of a Compose service, without one-off ones and those that a deployment set aside."""
        wanted = [f"{resources.SERVICE}={service}", *([f"{resources.PROJECT}={project}"] if project else [])]
        return [one for one in await self.containers(label=wanted) if resources.team_of(one)]

    async def network(self, name: str) -> Attrs | None:
        found = await self._object("networks", name)
        return found if found and name in (found["Id"], found["Name"]) else None

    async def volume(self, name: str) -> Attrs | None:
        found = await self._object("volumes", name)
        return found if found and found["Name"] == name else None

    async def image(self, name: str) -> Attrs | None:
        return await self._object("images", name, "/json")

    async def environment(self, container: str) -> dict[str, str]:
        """A container's variables, by its full id; empty when it is gone."""
        attrs = await self.container(container)
        pairs = (one.partition("=") for one in ((attrs or {}).get("Config") or {}).get("Env") or ())
        return {name: value for name, equals, value in pairs if equals}

    async def ties(self, listed: Sequence[Attrs]) -> dict[str, Ties]:
        """What each of these containers leans on; each is inspected once in its life, but who bears a name may change."""
        known: dict[str, Ties] = {}
        for one in listed:
            if (ties := self._made.ties(one["Id"])) is None and (attrs := await self.container(one["Id"])) is not None:
                ties = ties_of(attrs)
            if ties is not None:
                known[one["Id"]] = ties.among(listed)
        self._made.keep(one["Id"] for one in listed)
        return known


def _json(filters: Mapping[str, Sequence[str]]) -> str:
    return json.dumps({key: list(value) for key, value in filters.items()})

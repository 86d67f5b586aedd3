"""DockerExecutor: plain data to docker-py and back. It decides nothing, repeats nothing, lets no live object out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from uici.executor import (
    Changed,
    Checked,
    Diff,
    Facts,
    Health,
    Identity,
    JSONSchema,
    Line,
    Marks,
    Outcome,
    Permission,
    Settings,
    StepToCheck,
    Target,
    Threads,
    without_login,
)
from uici.model import Call, Environment, Pinned, Resource, Risk, UnreachableError
from uici_executors.docker import calls, checks, follow, resources, risks, touches
from uici_executors.docker.identity import identity
from uici_executors.docker.reads import Reads

DEFAULT_SOCKET = "/var/run/docker.sock"


class DockerExecutor:
    """One Docker engine: containers, and Compose services by their labels."""

    dialects: ClassVar[tuple[str, ...]] = ("docker",)
    settings: ClassVar[JSONSchema] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "base_url": {
                "type": "string",
                "pattern": "^(unix:///|tcp://|https?://|\\$\\{)",
                "default": f"unix://{DEFAULT_SOCKET}",
                "description": "Where the engine listens: unix:///path, or tcp://host:port (with `tls`).",
            },
            "api_version": {
                "type": "string",
                "pattern": "^(auto|1\\.[0-9]+)$",
                "default": "auto",
                "description": "Version of the Engine API; auto asks the engine.",
            },
            "tls": {
                "type": "object",
                "additionalProperties": False,
                "required": ["ca_cert"],
                "dependentRequired": {"client_cert": ["client_key"], "client_key": ["client_cert"]},
                "properties": {
                    "ca_cert": {"type": "string", "description": "Path of the CA's certificate."},
                    "client_cert": {"type": "string"},
                    "client_key": {"type": "string"},
                    "verify": {"type": "boolean", "default": True},
                },
            },
            "threads": {
                "type": "integer",
                "minimum": 1,
                "maximum": 256,
                "default": 32,
                "description": "How many changes, and how many looks, may be under way at one time.",
            },
        },
    }

    def __init__(self) -> None:
        self._environment = ""
        self._opened: Reads | None = None
        self._calls: Threads | None = None
        self._observes: Threads | None = None
        self._posts = asyncio.Semaphore(32)
        #: Of the last identity: what a container with too much reach is held to touch.
        self._own: tuple[Resource, ...] = ()

    # Before ``open``

    def detect(self) -> Settings | None:
        """The socket that ``DOCKER_HOST`` names, as for every tool of Docker's, else the usual one; None: there is none.

        An engine behind TCP is no part of this machine.
        """
        named = os.environ.get("DOCKER_HOST", "")
        socket = named.removeprefix("unix://") if named.startswith("unix:///") else DEFAULT_SOCKET
        return {"base_url": f"unix://{socket}"} if Path(socket).is_socket() else None

    def check(self, step: StepToCheck) -> Checked:
        return checks.check(step)

    def risk(self, pinned: Pinned) -> Risk:
        """Of the real arguments; what takes down what it would not seem to is not for the table but for ``touches``."""
        return risks.risk(pinned.call.path, pinned.call.arguments)

    # The engine

    async def open(self, environment: Environment) -> None:
        """Makes the pools; does not wait for the engine, which may come up later."""
        settings = {"base_url": f"unix://{DEFAULT_SOCKET}", **environment.settings}
        self._environment = environment.name
        self._opened = Reads(settings)
        threads = int(settings.get("threads", 32))
        self._calls = Threads(environment.name, threads)
        self._observes = Threads(f"{environment.name}-observes", threads)
        self._posts = asyncio.Semaphore(threads)

    async def close(self) -> None:
        for pool in (self._calls, self._observes):
            if pool is not None:
                pool.close()
        opened, self._opened, self._calls, self._observes = self._opened, None, None, None
        if opened is not None:
            await opened.close()

    @property
    def _reads(self) -> Reads:
        if self._opened is None:
            raise UnreachableError("the Docker executor is not open")
        return self._opened

    async def engine_id(self) -> str:
        """Docker's ``info.ID``."""
        reads = self._reads
        async with reads.looking():
            return await reads.engine()

    async def locate(self, target: Target) -> list[Resource]:
        """By exact name or full id: a container; a Compose service (``namespace``: its project); an object of another
        kind where the operation asks for one."""
        reads = self._reads
        async with reads.looking():
            return await _locate(reads, target)

    async def identity(self, facts: Facts) -> Identity:
        reads = self._reads
        async with reads.looking():
            found = await identity(reads, facts, self._environment)
        self._own = found.resources
        return found

    async def resolve(self, call: Call) -> Pinned:
        reads = self._reads
        async with reads.looking():
            return await touches.pin(reads, call, self._own)

    async def preview(self, call: Call) -> Diff | None:
        """Docker documents no dry run."""
        return None

    async def run(self, call: Call) -> Outcome:
        """One call. Over when its thread or its connection is; its reads end at ``call.timeout``."""
        observe = risks.risk(call.path, call.arguments) is Risk.OBSERVE
        pool = self._observes if observe else self._calls
        if pool is None:
            raise UnreachableError("the Docker executor is not open")
        return await calls.run(self._reads, call, pool, self._posts, observe=observe)

    def stream(
        self, call: Call, *, after: Marks | None = None, until: asyncio.Event | None = None
    ) -> AsyncIterator[Line]:
        """Lines of ``Container.logs``."""
        return follow.lines(self._reads, call, after, until)

    def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        """Docker's events about these containers, and about new ones of the same owner."""
        return follow.changes(self._reads, resources)

    async def health(self) -> Health:
        try:
            async with self._reads.looking():
                info = await self._reads.get("/version")
            engine = await self.engine_id()
        except UnreachableError as error:
            return Health(ok=False, message=str(error))
        return Health(ok=True, message=f"Docker {(info or {}).get('Version', '?')}, engine {engine}")

    def permissions(self, calls: Sequence[Call]) -> list[Permission]:
        """Docker knows one right only: to talk to its socket."""
        return [Permission(name=f"docker: access to {without_login(str(self._settings().get('base_url')))}")]

    async def missing(self, permissions: Sequence[Permission]) -> list[Permission]:
        """All of them where the socket refuses this user; an engine that is down lacks no right."""
        try:
            async with self._reads.looking():
                await self._reads.get("/version")
        except UnreachableError as error:
            if "ermission denied" in str(error):
                return list(permissions)
        return []

    def _settings(self) -> Mapping[str, Any]:
        return self._opened.settings if self._opened else {}


async def _locate(reads: Reads, target: Target) -> list[Resource]:
    name = target.name
    if target.kind in ("service", resources.CONTAINER, resources.COMPOSE_SERVICE):
        return await _services(reads, target)
    engine = await reads.engine()
    if target.kind == resources.NETWORK:
        network = await reads.network(name)
        return [resources.network(engine, network)] if network else []
    if target.kind == resources.VOLUME:
        volume = await reads.volume(name)
        return [resources.volume(engine, name, volume)] if volume else []
    if target.kind == resources.IMAGE:
        image = await reads.image(name)
        found = [resources.image(engine, image)] if image else []
        return [one for one in found if name in one.names]
    return []


async def _services(reads: Reads, target: Target) -> list[Resource]:
    """Containers and Compose services of that name; both are asked for at the same time."""
    name, (project, slash, service) = target.name, target.name.rpartition("/")
    as_container = target.kind != resources.COMPOSE_SERVICE
    as_service = target.kind != resources.CONTAINER and (not slash or target.namespace in (None, project))

    async def nothing() -> None:
        return None

    engine, attrs, members = await asyncio.gather(
        reads.engine(),
        reads.container(name) if as_container else nothing(),
        reads.members(project or target.namespace, service) if as_service else nothing(),
    )
    located = []
    if attrs and target.namespace in (None, resources.labels_of(attrs).get(resources.PROJECT)):
        located.append(resources.container(engine, attrs))
    if target.kind == resources.CONTAINER:
        return located
    teams: dict[str, list[Mapping[str, Any]]] = {}
    for one in members or ():
        teams.setdefault(resources.labels_of(one)[resources.PROJECT], []).append(one)
    services = [resources.compose_service(engine, key, service, team) for key, team in sorted(teams.items())]
    located = [await _service_of(reads, engine, one) for one in located]
    # A container that bears its own service's name is that service.
    return [one for one in located if one.owner not in {service.owner for service in services}] + services


async def _service_of(reads: Reads, engine: str, found: Resource) -> Resource:
    """The Compose service of a container that is all there is of it; a container among several stays itself."""
    compose = resources.compose_of(found.labels)
    if compose is None or resources.set_aside(found.name):
        return found
    team = await reads.members(*compose)
    return resources.compose_service(engine, *compose, team) if len(team) == 1 else found

"""DockerExecutor: plain data to docker-py and back. It decides nothing, repeats nothing, lets no live object out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from uici.executor import (
    Changed,
    Checked,
    Diff,
    Done,
    Facts,
    Health,
    Identity,
    JSONSchema,
    Line,
    Outcome,
    Permission,
    Rejected,
    Settings,
    StepToCheck,
    Target,
    Threads,
    without_login,
)
from uici.model import Call, Environment, Pinned, Resource, Risk, UnreachableError
from uici_executors.docker import answers, checks, follow, resources, risks, sdk, touches, words
from uici_executors.docker.connection import Exchange, exchanging, last, late, looking, outcome
from uici_executors.docker.identity import identity
from uici_executors.docker.reads import Reads

T = TypeVar("T")

#: Arguments that become a part of a path of the Engine API.
_FULL_ID = re.compile(r"[0-9a-f]{64}")
_NAMES = frozenset(
    "container container_id exec_id id image image_id name net_id network_id node_id plugin_name repository service "
    "service_id task task_id volume_id".split()
)
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
        self._looks: Threads | None = None
        self._observes: Threads | None = None
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
        self._calls = Threads(environment.name, int(settings.get("threads", 32)))
        self._observes = Threads(f"{environment.name}-observes", int(settings.get("threads", 32)))
        self._looks = Threads(f"{environment.name}-looks", 8)

    async def close(self) -> None:
        for pool in (self._calls, self._observes, self._looks):
            if pool is not None:
                pool.close()
        if self._opened is not None:
            self._opened.close()
        self._opened = self._calls = self._observes = self._looks = None

    async def _look(self, function: Callable[..., T], *arguments: Any) -> T:
        """A read of the contract, on its own threads: calls under way never keep it waiting."""
        if self._looks is None:
            raise UnreachableError("the Docker executor is not open")

        def look() -> T:
            with looking():
                return function(*arguments)

        return await self._looks.run(look)

    @property
    def _reads(self) -> Reads:
        if self._opened is None:
            raise UnreachableError("the Docker executor is not open")
        return self._opened

    async def engine_id(self) -> str:
        """Docker's ``info.ID``."""
        return await self._look(self._reads.engine)

    async def locate(self, target: Target) -> list[Resource]:
        """By exact name or full id: a container; a Compose service (``namespace``: its project); an object of another
        kind where the operation asks for one."""
        return await self._look(_locate, self._reads, target)

    async def identity(self, facts: Facts) -> Identity:
        found = await self._look(identity, self._reads, facts, self._environment)
        self._own = found.resources
        return found

    async def resolve(self, call: Call) -> Pinned:
        return await self._look(touches.pin, self._reads, call, self._own)

    async def preview(self, call: Call) -> Diff | None:
        """Docker documents no dry run."""
        return None

    async def run(self, call: Call) -> Outcome:
        """One call. Over when its thread is; its reads end at ``call.timeout``."""
        observe = risks.risk(call.path, call.arguments) is Risk.OBSERVE
        pool = self._observes if observe else self._calls
        if pool is None:
            raise UnreachableError("the Docker executor is not open")
        exchange = Exchange(call.timeout)
        if call.path == "probe.check" and not call.arguments.get("url"):
            return _run(self._reads, call, exchange)  # there is nothing to ask, so nothing to wait for
        timer = asyncio.get_running_loop().call_later(call.timeout, exchange.expire)
        try:
            return await pool.run(_run, self._reads, call, exchange)
        finally:
            timer.cancel()

    def stream(self, call: Call) -> AsyncIterator[Line]:
        """Lines of ``Container.logs``; the cursor is the time of a line, for ``since``."""
        return follow.lines(self._reads, call)

    def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        """Docker's events about these containers, and about new ones of the same owner."""
        return follow.changes(self._reads, resources)

    async def health(self) -> Health:
        try:
            info = await self._look(self._reads.get, "/version")
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
            await self._look(self._reads.get, "/version")
        except UnreachableError as error:
            if "ermission denied" in str(error):
                return list(permissions)
        return []

    def _settings(self) -> Mapping[str, Any]:
        return self._opened.settings if self._opened else {}


def _locate(reads: Reads, target: Target) -> list[Resource]:
    engine, name = reads.engine(), target.name
    if target.kind == resources.NETWORK:
        network = reads.network(name)
        return [resources.network(engine, network)] if network else []
    if target.kind == resources.VOLUME:
        volume = reads.volume(name)
        return [resources.volume(engine, name, volume)] if volume else []
    if target.kind == resources.IMAGE:
        image = reads.image(name)
        found = [resources.image(engine, image)] if image else []
        return [one for one in found if name in one.names]
    if target.kind not in ("service", resources.CONTAINER, resources.COMPOSE_SERVICE):
        return []
    located = []
    if target.kind != resources.COMPOSE_SERVICE:
        attrs = reads.container(name)
        if attrs and target.namespace in (None, resources.labels_of(attrs).get(resources.PROJECT)):
            located.append(resources.container(engine, attrs))
    if target.kind != resources.CONTAINER:
        project, slash, service = name.rpartition("/")
        teams: dict[str, list[Mapping[str, Any]]] = {}
        if not slash or target.namespace in (None, project):
            for one in reads.members(project or target.namespace, service):
                teams.setdefault(resources.labels_of(one)[resources.PROJECT], []).append(one)
        services = [resources.compose_service(engine, key, service, team) for key, team in sorted(teams.items())]
        located = [_service_of(reads, engine, one) for one in located]
        # A container that bears its own service's name is that service.
        located = [one for one in located if one.owner not in {service.owner for service in services}] + services
    return located


def _service_of(reads: Reads, engine: str, found: Resource) -> Resource:
    """The Compose service of a container that is all there is of it; a container among several stays itself."""
    compose = resources.compose_of(found.labels)
    if compose is None or resources.set_aside(found.name):
        return found
    team = reads.members(*compose)
    return resources.compose_service(engine, *compose, team) if len(team) == 1 else found


def _run(reads: Reads, call: Call, exchange: Exchange) -> Outcome:
    """On a thread of its own."""
    observe = risks.risk(call.path, call.arguments) is Risk.OBSERVE
    own = call.path in words.METHODS
    try:
        client = reads.client() if call.path != "probe.check" else None
    except UnreachableError as error:
        return Rejected(errors=("UnreachableError",), message=str(error), reason="unreachable")
    if not own and sdk.find(call.path) is None:
        return Rejected(
            errors=("AttributeError",), message=f"the installed docker-py has no {call.path}; see uici check"
        )
    receiver, _, method = call.path.rpartition(".")
    with exchanging(exchange):
        try:
            if own:
                return Done(answer=answers.plain(words.run(reads, call.path, call.arguments)))
            given: Any
            target: Any = client
            if call.on is not None:
                target = _model(client, receiver, call.on)
            elif receiver:
                target = getattr(client, receiver)
            _stay_in_place(call.arguments)
            arguments = call.arguments
            if call.path == "api.create_container_from_config":
                arguments = answers.filled(arguments, reads.environment)
            if method == "logs" and not arguments.get("stream") and not isinstance(arguments.get("tail"), int):
                given = last(getattr(target, method)(**{"follow": False, **arguments, "stream": True}))
            elif call.path == "containers.list" and (ids := _ids_alone(arguments)) is not None:
                given = _by_id(target, ids)
            else:
                given = getattr(target, method)(**arguments)
            if method == "reload":
                given = target
            answer = answers.plain(given)
            if exchange.expired:
                return late(exchange, call.path, observe=observe)
            return Done(answer=answer, resources=_resources(reads, receiver, method, given))
        except UnreachableError as error:  # a reference could not be filled in, so nothing was sent
            return Rejected(errors=("UnreachableError",), message=str(error), reason="unreachable")
        except Exception as error:  # noqa: BLE001 - every exception has an outcome: whatever is not listed is unknown
            return outcome(error, exchange, call, reads.base_url, observe=observe)


def _ids_alone(arguments: Mapping[str, Any]) -> list[str] | None:
    """The full ids that a listing of whole containers is limited to; None where it is limited by anything else."""
    ids = (arguments.get("filters") or {}).get("id")
    if (
        not arguments.get("all")
        or arguments.keys() - {"all", "ignore_removed", "filters"}
        or len(arguments["filters"]) != 1
    ):
        return None
    ids = ids if isinstance(ids, list) else []
    return ids if ids and all(isinstance(one, str) and _FULL_ID.fullmatch(one) for one in ids) else None


def _by_id(containers: Any, ids: Sequence[str]) -> list[Any]:
    """What docker-py's listing gives (it lists, then inspects each), with one request a container instead of two."""
    from docker.errors import NotFound

    found = []
    for one in ids:
        with contextlib.suppress(NotFound):
            found.append(containers.get(one))
    return found


def _stay_in_place(arguments: Mapping[str, Any]) -> None:
    """docker-py puts names into paths as they are, and ``..`` would lead to another object of another kind."""
    for key, value in arguments.items():
        if key in _NAMES and isinstance(value, str) and {".", ".."} & set(value.split("/")):
            raise ValueError(f"{key}: {value[:100]!r} is no name of anything in Docker")


def _model(client: Any, name: str, on: Resource) -> Any:
    """docker-py's object for a Resource, without asking for it: its methods need the id alone."""
    collection = getattr(client, sdk.COLLECTION_OF[name])
    return collection.prepare_model({"Id": on.id, "ID": on.id, "Name": on.name if on.kind == "plugin" else on.id})


def _resources(reads: Reads, receiver: str, method: str, given: Any) -> tuple[Resource, ...]:
    """Of each object in an answer."""
    models = given if isinstance(given, list) else [given]
    engine = ""
    found = []
    for one in models:
        make = _MAKERS.get(type(one).__name__)
        if make and getattr(one, "attrs", None):
            engine = engine or reads.engine()
            found.append(make(engine, one.attrs))
    return tuple(found)


_MAKERS: Mapping[str, Callable[[str, Any], Resource]] = {
    "Container": resources.container,
    "Image": resources.image,
    "Network": resources.network,
    "Volume": lambda engine, attrs: resources.volume(engine, attrs["Name"], attrs),
}

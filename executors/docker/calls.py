"""Running a call of the catalog: docker-py's own code on its own words, an Outcome for whatever comes of it.

What only asks, in plain GETs, and the changes that are one POST without a body, are done on the event loop: docker-py says
what it wants, ``reads`` gets it, docker-py reads it. All else runs on a thread. Nothing is repeated here, and no live object
is let out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import requests
from docker.errors import NotFound

from uici.executor import Done, Outcome, Rejected, Threads
from uici.executor.wire import Said
from uici.model import Call, Resource, UnreachableError, normalised
from uici.model.record import dataclass
from uici_executors.docker import answers, resources, sdk, words
from uici_executors.docker.connection import (
    Client,
    Exchange,
    PostWantedError,
    ThreadNeededError,
    WantedError,
    exchanging,
    last,
    posted,
    response,
)
from uici_executors.docker.outcomes import late, outcome
from uici_executors.docker.reads import Reads

#: Bytes of answers above which reading them would keep the loop from others.
LARGE = 200_000

_FULL_ID = re.compile(r"[0-9a-f]{64}")
#: One POST without a body, and nothing else.
_ONE_POST = frozenset(f"Container.{name}" for name in ("kill", "pause", "restart", "start", "stop", "unpause"))
#: Arguments that become a part of a path of the Engine API.
_NAMES = frozenset(
    "container container_id exec_id id image image_id name net_id network_id node_id plugin_name repository service "
    "service_id task task_id volume_id".split()
)


@dataclass(frozen=True, slots=True)
class _Work:
    """A call that docker-py can run now. ``engine``: its id, where the call answers with objects."""

    path: str
    target: Any
    method: str
    arguments: Mapping[str, Any]
    engine: str = ""


async def run(reads: Reads, call: Call, pool: Threads, posts: asyncio.Semaphore, *, observe: bool) -> Outcome:
    """``pool``: where it runs if it cannot on the loop; ``posts``: how many changes may be under way there. Over when its
    thread or its connection is."""
    exchange = Exchange(call.timeout)

    def came_to(error: Exception) -> Outcome:
        return outcome(error, exchange, call, reads.base_url, observe=observe)

    try:
        if call.path == words.PROBE:
            if not call.arguments.get("url"):  # there is nothing to ask, so nothing to wait for
                return Done(answer=words.probed(**call.arguments))
            return Done(answer=await pool.run(words.probed, **call.arguments))
        async with asyncio.timeout(call.timeout):
            client = await reads.client()
            if call.path == words.PLAN:
                return Done(answer=answers.plain(await words.plan(reads, **call.arguments)))
            if call.path not in words.METHODS and sdk.find(call.path) is None:
                said = f"the installed docker-py has no {call.path}; see uici check"
                return Rejected(errors=("AttributeError",), message=said)
            work = await _work(reads, client, call)
            if call.path in _ONE_POST:
                async with posts:
                    found = await _on_loop(reads, work, exchange, pool, posts=True)
            else:
                found = await _on_loop(reads, work, exchange, pool) if observe and not _of_many(work) else None
            if found is not None:
                return found
    except UnreachableError as error:  # nothing was sent that changes
        return Rejected(errors=("UnreachableError",), message=str(error), reason="unreachable")
    except TimeoutError as error:
        return came_to(requests.exceptions.ReadTimeout(error))
    except OSError as error:
        known = isinstance(error, requests.exceptions.RequestException)  # docker-py's errors are OSErrors too
        return came_to(error if known else requests.exceptions.ConnectionError(error))
    except Exception as error:  # noqa: BLE001 - every exception has an outcome: whatever is not listed is unknown
        return came_to(error)

    def on_thread() -> Outcome:
        with exchanging(exchange):
            try:
                done = _done(work)
                return late(exchange, call.path, observe=observe) if exchange.expired else done
            except Exception as error:  # noqa: BLE001 - no exception leaves the thread: each has its outcome
                return came_to(error)

    timer = asyncio.get_running_loop().call_later(exchange.remaining(), exchange.expire)
    try:
        return await pool.run(on_thread)
    finally:
        timer.cancel()


async def _work(reads: Reads, client: Client, call: Call) -> _Work:
    """Looks up what the call leans on; raises UnreachableError, and ValueError where it may not run as it is."""
    receiver, _, method = call.path.rpartition(".")
    if call.path == words.DISCARD:
        key = await words.discardable(reads, **call.arguments)
        return _Work(call.path, client.api, "remove_container", {"container": key, "v": False, "force": False})
    target: Any = getattr(client, receiver) if receiver and call.on is None else client
    if call.on is not None:
        target = _model(client, receiver, call.on)
    _stay_in_place(call.arguments)
    arguments = call.arguments
    if call.path == "api.create_container_from_config":
        arguments = await answers.filled(arguments, reads.environment)
    known = sdk.find(call.path)
    objects = (known is not None and known.answer) or call.path == "containers.run"
    engine = await reads.engine() if objects else ""
    return _Work(call.path, target, method, arguments, engine)


async def _on_loop(reads: Reads, work: _Work, exchange: Exchange, pool: Threads, *, posts: bool = False) -> Done | None:
    """None: docker-py wants more for it than plain GETs, or one POST where it ``posts``; nothing that changes was sent.

    Raises docker-py's errors and OSError (a TimeoutError is one).
    """
    served: dict[str, requests.Response] = {}
    length = 0

    def done() -> Done:
        with exchanging(Exchange(exchange.remaining(), served)):
            return _done(work)

    async def serve(path: str) -> Said:
        said = await reads.said(path, within=exchange.remaining())
        served[path] = response(path, said.status, said.reason, said.headers, said.body)
        return said

    async def send(path: str) -> None:
        sending = asyncio.ensure_future(reads.posted(path, exchange))
        try:
            said = await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait(
                [sending]
            )  # it may be done all the same, and what it touches must not be let go until then
            raise
        if 300 <= said.status < 400 and said.status != 304:  # 304: it is as it should be already
            raise ConnectionError(f"it answered {said.status} to a POST: something else than an engine")
        served[posted(path)] = response(path, said.status, said.reason, said.headers, said.body)

    while True:
        try:
            return await pool.run(done) if length > LARGE else done()
        except ThreadNeededError:
            if exchange.sending:
                raise
            return None
        except PostWantedError as wanted:
            if not posts:
                return None
            await send(wanted.path)
            continue
        except WantedError as wanted:
            paths = wanted.paths
        said = await asyncio.gather(*(serve(path) for path in paths))
        if any(300 <= one.status < 400 for one in said):
            return None
        length += sum(len(one.body) for one in said)


def _of_many(work: _Work) -> bool:
    """Whether docker-py asks for each of what it lists by itself: one after another, beginning anew with each answer."""
    listing = work.method == "list" and not work.arguments.get("sparse")
    return listing and (work.path != "containers.list" or _ids_alone(work.arguments) is None)


def _done(work: _Work) -> Done:
    """docker-py runs it, here and now."""
    arguments, function = work.arguments, getattr(work.target, work.method)
    given: Any
    if work.method == "logs" and not arguments.get("stream") and not isinstance(arguments.get("tail"), int):
        given = last(function(**{"follow": False, **arguments, "stream": True}))
    elif work.path == "containers.list" and (ids := _ids_alone(arguments)) is not None:
        given = _by_id(work.target, ids)
    else:
        given = function(**arguments)
    if work.method == "reload":
        given = work.target
    return Done(answer=answers.plain(given), resources=_resources(work.engine, given))


def _ids_alone(arguments: Mapping[str, Any]) -> list[str] | None:
    """The full ids that a listing of whole containers is limited to; None where it is limited by anything else."""
    filters = arguments.get("filters") or {}
    if not arguments.get("all") or arguments.keys() - {"all", "ignore_removed", "filters"} or filters.keys() != {"id"}:
        return None
    ids = filters["id"] if isinstance(filters["id"], list) else []
    return ids if ids and all(isinstance(one, str) and _FULL_ID.fullmatch(one) for one in ids) else None


def _by_id(containers: Any, ids: Sequence[str]) -> list[Any]:
    """What docker-py's listing gives (it lists, then inspects each), with one request a container instead of two."""
    found: list[Any] = []
    wanted: list[str] = []
    for one in ids:
        try:
            found.append(containers.get(one))
        except NotFound:
            continue
        except WantedError as error:
            wanted += error.paths
    if wanted:
        raise WantedError(*wanted)
    return sorted(found, key=lambda one: normalised(one.attrs["Created"]), reverse=True)  # the newest first, as there


def _stay_in_place(arguments: Mapping[str, Any]) -> None:
    """docker-py puts names into paths as they are, and ``..`` would lead to another object of another kind."""
    for key, value in arguments.items():
        if key in _NAMES and isinstance(value, str) and {".", ".."} & set(value.split("/")):
            raise ValueError(f"{key}: {value[:100]!r} is no name of anything in Docker")


def _model(client: Any, name: str, on: Resource) -> Any:
    """docker-py's object for a Resource, without asking for it: its methods need the id alone."""
    collection = getattr(client, sdk.COLLECTION_OF[name])
    return collection.prepare_model({"Id": on.id, "ID": on.id, "Name": on.name if on.kind == "plugin" else on.id})


def _resources(engine: str, given: Any) -> tuple[Resource, ...]:
    """Of each object in an answer."""
    found = []
    for one in given if isinstance(given, list) else [given]:
        make = _MAKERS.get(type(one).__name__)
        if make and getattr(one, "attrs", None):
            found.append(make(engine, one.attrs))
    return tuple(found)


_MAKERS: Mapping[str, Callable[[str, Any], Resource]] = {
    "Container": resources.container,
    "Image": resources.image,
    "Network": resources.network,
    "Volume": lambda engine, attrs: resources.volume(engine, attrs["Name"], attrs),
}

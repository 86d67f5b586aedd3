"""The HTTP application: one wrapper around every handler that authenticates, bounds, counts and answers errors.

It must not know what a door does, and must not read a body before it knows who sends it and that it is not too large.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from uici.daemon import tokens
from uici.daemon.counts import Counts
from uici.daemon.logs import logger
from uici.daemon.problem import ProblemError, unavailable, wrong_shape
from uici.daemon.routes import Route
from uici.daemon.running import Running
from uici.daemon.tokens import Caller, Tokens
from uici.model import ConfigurationError, JournalError, UnreachableError

if TYPE_CHECKING:
    from uici.catalog import Catalog
    from uici.daemon.outbox import Outbox
    from uici.daemon.repeats import Repeats
    from uici.daemon.watched import WatchedJournal
    from uici.engine import UniversalInfrastructureInterface
    from uici.journal import Journal

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Of JSON bodies at the API; the payload of a webhook is checked field by field and needs no such bound.
DEPTH = 32
#: Bytes of a body at the API.
API_BODY = 256 * 1024
_READ_SECONDS = 30.0


@dataclass
class Daemon:
    """What the doors share. ``ready``: names of what is not; ``warnings``: what works but should be looked at."""

    infrastructure: UniversalInfrastructureInterface
    journal: Journal
    watched: WatchedJournal
    counts: Counts
    tokens: Tokens
    running: Running
    outbox: Outbox
    wake: Callable[[], None]
    repeats: Repeats
    openapi: bytes = b""
    started: bool = False
    stopping: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    listens: list[str] = field(default_factory=list)
    streams: int = 0
    began: float = field(default_factory=time.time)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    health: tuple[float, Mapping[str, Any]] = (0.0, {})
    health_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def catalog(self) -> Catalog:
        return self.infrastructure.catalog


def application(daemon: Daemon, routes: Sequence[Route]) -> web.Application:
    """All routes behind the wrapper, and problem+json for whatever has none."""
    handler_args = {"max_line_size": 8190, "logger": Unreadable(daemon)}
    app = web.Application(middlewares=[_errors(daemon)], handler_args=handler_args)
    for route in routes:
        app.router.add_route(
            route.method, route.pattern, _wrapped(daemon, route), expect_handler=_expect, name=route.name
        )
    return app


class Unreadable(logging.LoggerAdapter[logging.Logger]):
    """Where aiohttp tells of what cannot be read as HTTP, which it answers itself: counted, and one line. Whoever sends such
    bytes needs no token, and must not fill the log with tracebacks."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(server_logger, {})
        self._daemon = daemon

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        error = more.get("exc_info")
        if not isinstance(error, HttpProcessingError):
            super().log(level, msg, *args, **more)
            return
        self._daemon.counts.responses.add("none", str(error.code))
        self._daemon.counts.refusals.add("none", "http")
        problem = f"it cannot be read as HTTP: {type(error).__name__}"
        logger().warning("refused", door="none", status=error.code, code="http", problem=problem, remote=args[-1])


async def _expect(request: web.Request) -> None:
    """Nothing yet: ``100 Continue`` is sent by ``read``, once it is known that the body is wanted."""


def _wrapped(daemon: Daemon, route: Route) -> Answering:
    responses, name, handler = daemon.counts.responses, route.name, route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await handler(daemon, request, _admitted(daemon, route, request))
        responses.add(name, str(response.status))
        return response

    return handle


def _errors(daemon: Daemon) -> Any:
    @web.middleware
    async def errors(request: web.Request, handler: Answering) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - each kind is told apart where it is answered
            return _refusal(daemon, request, error, request.match_info.route.name or "none")

    return errors


def shortcut(daemon: Daemon, route: Route, runner: web.AppRunner) -> None:
    """From now on that route's own address is answered without looking for a route; by the same wrapper, as at any door.

    A storm of alerts is one address asked thousands of times a second.
    """
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is set up before its shortcut")
    ordinary = cast("Answering", server.request_handler)
    wrapped, method, path, name = _wrapped(daemon, route), route.method, route.path, route.name

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.raw_path != path or request.method != method:
            return await ordinary(request)
        try:
            return await wrapped(request)
        except Exception as error:  # noqa: BLE001 - each kind is told apart where it is answered
            return _refusal(daemon, request, error, name)

    server.request_handler = cast("Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]", handle)


def _refusal(daemon: Daemon, request: web.Request, error: Exception, door: str) -> web.Response:
    """What is answered instead, counted and logged. Raises the error where nobody is there to be answered."""
    if isinstance(error, ConnectionResetError):
        raise error
    problem = _problem_of(request, error)
    if request.can_read_body and not request.content.at_eof():
        problem.close = True
    daemon.counts.responses.add(door, str(problem.status))
    daemon.counts.refusals.add(door, problem.code)
    logger().warning(
        "refused",
        door=door,
        status=problem.status,
        code=problem.code,
        problem=problem.detail,
        remote=request.remote,
        method=request.method[:16],
    )
    return problem.response()


def _problem_of(request: web.Request, error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return ProblemError(
                405,
                "method_not_allowed",
                f"{request.method[:16]} is not offered here; this door takes {allowed}",
                headers={"Allow": allowed},
            )
        case web.HTTPException():
            return ProblemError(
                error.status,
                "not_found" if error.status == 404 else "http",
                "there is nothing at this address; /api/v1/openapi.json lists what there is"
                if error.status == 404
                else str(error.reason),
            )
        case JournalError():
            logger().error("journal failed", problem=str(error))
            return unavailable(
                "journal", "the journal cannot be read or written now, so nothing was accepted; try again"
            )
        case UnreachableError():
            return unavailable("unreachable", str(error))
        case ConfigurationError():  # a secret that has gone since the start, an SDK that was taken away
            return unavailable("configuration", str(error), 60)
    # A door never falls: the caller gets 500 and a place to look, the log gets the traceback.
    logger().error("a door failed", method=request.method, path=request.path[:256], exc_info=error)
    return ProblemError(500, "internal", "this is an error of UICI's own; its log has the traceback")


def _admitted(daemon: Daemon, route: Route, request: web.Request) -> Caller:
    """Who calls, if this door is open to them. Raises ProblemError 401 or 403."""
    caller = _caller(daemon, request, needed=bool(route.may))
    if route.may and not route.may & caller.may:
        raise ProblemError(
            403,
            "permission",
            f"{caller.name} may not do this: it needs {' or '.join(sorted(route.may))}; "
            f"platform.yml: server.tokens.{caller.name}.may gives rights",
        )
    if route.person and not caller.person:
        raise ProblemError(
            403,
            "person",
            f"only a person may do this and {caller.name} is not known to be one; use the command line on the daemon's "
            "machine, or a token with `person: true`",
        )
    return caller


NOBODY = Caller("nobody", frozenset(), False, "open")


def _caller(daemon: Daemon, request: web.Request, *, needed: bool) -> Caller:
    known, token = daemon.tokens, tokens.bearer(request.headers.get(hdrs.AUTHORIZATION))
    if token is not None:
        # Who shows a token means to be known by it: at no door is it as if there were none.
        caller = known.caller(token)
        if caller is not None:
            return caller
        if needed:
            raise _unauthenticated(
                "this token is not known here; "
                + ("server.tokens in platform.yml names those that are" if known else _NO_TOKENS)
            )
        return NOBODY
    local = _local(request)
    if local is not None:
        return tokens.peer(local)
    if not known:
        _no_browser(request)
        return tokens.LOOPBACK
    if needed:
        raise _unauthenticated("a token is needed; send it as `Authorization: Bearer TOKEN`")
    return NOBODY


_NO_TOKENS = "platform.yml has no server.tokens: send none, or give it this one"


def _local(request: web.Request) -> socket.socket | None:
    """The connection, where it came by the local socket."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    return connection if connection is not None and connection.family == socket.AF_UNIX else None


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="uici"'})


def _no_browser(request: web.Request) -> None:
    """Without tokens a page in this machine's browser could post here; its name and its headers give it away."""
    host = request.headers.get(hdrs.HOST, "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if not tokens.is_loopback(name.removeprefix("[").removesuffix("]")) or hdrs.ORIGIN in request.headers:
        raise ProblemError(
            403,
            "cross_site",
            "without tokens only programs on this machine are answered, by a loopback address and not from web pages; "
            "configure server.tokens in platform.yml",
        )


async def read(request: web.Request, limit: int) -> bytes:
    """The body, at most ``limit`` bytes. Raises ProblemError 413 (without reading the rest), 415 or 400."""
    headers = request.headers
    if hdrs.CONTENT_ENCODING in headers and headers[hdrs.CONTENT_ENCODING].lower() != "identity":
        raise ProblemError(415, "encoding", "compressed bodies are not read; send it plain", close=True)
    if headers.get(hdrs.CONTENT_TYPE) != "application/json" and request.content_type != "application/json":
        raise ProblemError(415, "media_type", "send JSON, with the header `Content-Type: application/json`", close=True)
    length = request.content_length
    if length is not None and length > limit:
        raise too_large(limit)
    if hdrs.EXPECT in headers and headers[hdrs.EXPECT].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    content = request.content
    try:
        if length is not None and content.total_bytes >= length:
            return content.read_nowait(length) if length else b""
        parts, seen = [], 0
        async with asyncio.timeout(_READ_SECONDS):
            async for part in content.iter_any():
                seen += len(part)
                if seen > limit:
                    raise too_large(limit)
                parts.append(part)
        return b"".join(parts)
    except TimeoutError:
        raise ProblemError(400, "slow", f"the body did not arrive within {_READ_SECONDS:g} s", close=True) from None
    except web.PayloadAccessError:
        raise ProblemError(400, "body", "the body cannot be read", close=True) from None


def too_large(limit: int) -> ProblemError:
    return ProblemError(
        413,
        "too_large",
        f"the body is larger than {limit} bytes; send less at once"
        + ("" if limit == API_BODY else ", or raise server.limits.body in platform.yml"),
        close=True,
    )


def loads(body: bytes) -> Any:
    """Parsed JSON; raises ProblemError 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(400, "not_json", f"the body is not JSON: {error}") from None


async def document(request: web.Request, limit: int = API_BODY) -> dict[str, Any]:
    """The JSON object in the body, bounded in size and depth; raises ProblemError. No body: an empty object."""
    if not request.body_exists:
        return {}
    data = loads(await read(request, limit) or b"{}")
    if not isinstance(data, dict):
        raise wrong_shape("$", "an object is wanted")
    _bounded(data, "$", DEPTH)
    return data


def _bounded(data: Any, path: str, depth: int) -> None:
    if isinstance(data, dict | list):
        if not depth:
            raise wrong_shape(path[:200], f"nested deeper than {DEPTH}")
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            if isinstance(value, dict | list):
                _bounded(value, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key}]", depth - 1)


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON. What orjson does not take (integers over 64 bits in an engine's answer) json does."""
    try:
        body = orjson.dumps(data)
    except TypeError:
        body = json.dumps(data, default=str).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)

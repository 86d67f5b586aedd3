"""The wire to one API server: the official client's asynchronous flavour, asked for raw JSON, with every wait bounded.

Nothing here repeats a change: the client's own retries are off, and aiohttp's one too; nothing is sent on to where an answer
points. What an answer proves is said in ``outcomes``. Nothing here decides what may be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from uici.executor import without_login
from uici.model import DeniedError, UnreachableError
from uici_executors.kubernetes import deadline
from uici_executors.kubernetes.access import Access
from uici_executors.kubernetes.rest import Rest, Whole

Object = Mapping[str, Any]

#: Seconds that one read of the contract may take, and that a connection may take to come about.
LOOK, CONNECT = 20.0, 5.0
#: Objects a page.
PAGE = 500
#: The engine's id is the uid of this.
ENGINE = "/api/v1/namespaces/kube-system"
#: Of an answer that an API server does not give.
NOT_ITSELF = "something between UICI and the API server answers (a login page, a proxy): see where the login leads"
#: Bytes of an answer that are read at the most.
MOST = 256 * 1024 * 1024

_ERRORS = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    404: "NotFoundException",
    409: "ConflictException",
    422: "UnprocessableEntityException",
}


class AnswerError(Exception):
    """The server's answer to one request was no success. ``status``: of HTTP; ``reason``: the server's own word for it
    (``Conflict``); ``said``: its message."""

    def __init__(self, status: int, reason: str, said: str) -> None:
        super().__init__(f"Kubernetes answered {status} {reason}: {said}")
        self.status, self.reason, self.said = status, reason, said

    @property
    def names(self) -> tuple[str, ...]:
        """What ``accept`` and ``retry`` may call it: the client's class, then the server's reason."""
        own = "ServiceException" if 500 <= self.status <= 599 else _ERRORS.get(self.status)
        reason = (self.reason,) if self.reason else ()
        return (*((own,) if own else ()), "ApiException", "OpenApiException", *reason)


class Server:
    """One API server with one login. ``settings``: of the environment, secrets filled in. ``access``: of the other one that
    is opened for the same environment; both lead to one cluster."""

    def __init__(self, settings: Mapping[str, Any], access: Access | None = None) -> None:
        self._settings = settings
        self.access = access or Access(settings)
        self._client: Any = None
        self._making = asyncio.Lock()
        self._old: list[Any] = []

    @property
    def address(self) -> str:
        return self.access.address or "the API server"

    async def client(self) -> Any:
        """The client's ApiClient, made when first asked for: importing it takes half a second. Raises ConfigurationError,
        UnreachableError, AnswerError (401, 403)."""
        async with self._making:
            if self._client is None:
                self._client = await self._make()
        return self._client

    async def _make(self) -> Any:
        configuration = await self.access.configuration()
        configuration.retries = None  # False counts as none of 0 tries, and so as tries without an end after each 5xx
        configuration.connection_pool_maxsize = int(self._settings.get("connections", 64))
        configuration.trace_configs = [_straight()]
        # Read once here: for each request aiohttp would look for it, and for a ~/.netrc, in two other threads.
        configuration.proxy = configuration.proxy or _proxy(str(configuration.host))
        configuration.client_session_kwargs = {"trust_env": False, "middlewares": (_once,)}
        client: Any = deadline.client_class()(configuration)
        client.rest_client = Rest(client.rest_client, _sent_on, CONNECT)
        try:
            if self.access.engine:
                await self._is_the_same(client)
        except BaseException:
            await client.close()
            raise
        return client

    async def _is_the_same(self, client: Any) -> None:
        """A renewed login leads to the cluster that is known. Raises UnreachableError, AnswerError (401, 403)."""
        try:
            async with asyncio.timeout(LOOK):
                found = _uid(await _asked(client, "GET", ENGINE, LOOK))
        except AnswerError as error:
            if error.status in (401, 403):
                raise
            raise _unread(ENGINE, self.address, error) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnreachableError(self.unreachable(error)) from error
        if found != self.access.engine:
            raise UnreachableError(
                f"the cluster at {self.address} is another now (kube-system is {found or 'not told'}, and was "
                f"{self.access.engine}): see where {self.access.where} leads; start UICI anew if it is meant"
            )

    async def renew(self, refused: Any) -> None:
        """The login is read anew for the next request: the server knows that of this client no more. What is under way ends
        on the old one."""
        async with self._making:
            if self._client is not None and self._client is refused:
                self._old.append(self._client)
                self._client = None
            while len(self._old) > 1:
                await self._old.pop(0).close()

    async def close(self) -> None:
        for client in (*self._old, *([self._client] if self._client is not None else [])):
            await client.close()
        self._old.clear()
        self._client = None

    async def engine(self) -> str:
        """The uid of ``kube-system``, as it was first told. Raises UnreachableError."""
        return self.access.engine or await self.engine_now()

    async def engine_now(self) -> str:
        """The same, asked of the server now. Where it is another, nothing more is sent until it is the first one again.
        Raises UnreachableError."""
        client = self._client
        found = _uid(await self.get(ENGINE) or {})
        if not found:
            raise UnreachableError(f"{self.address} has no namespace kube-system, so it cannot be told which it is")
        if found != (self.access.engine or found):
            await self.renew(client or self._client)  # whoever comes next is asked for the first one again
        self.access.engine = self.access.engine or found
        return found

    async def get(self, path: str, **query: str | int) -> dict[str, Any] | None:
        """One object or one page; None where there is none. Raises UnreachableError, with the server's own reason."""
        try:
            return await self.ask("GET", path, query=query)
        except AnswerError as error:
            if error.status == 404 and not (_always(path) and error.reason != "NotFound"):
                return None
            raise _unread(path, self.address, error) from error

    async def names(self, path: str) -> list[dict[str, Any]]:
        """The metadata of every object of a listing, nothing else of them."""
        return await self.items(path, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")

    async def items(self, path: str, *, accept: str = "application/json", **query: str | int) -> list[dict[str, Any]]:
        """Every object of a listing, page by page. A listing that grew too old on the way (410) is begun once more."""
        for _ in range(2):
            found: list[dict[str, Any]] = []
            more = ""
            while True:
                following: dict[str, str | int] = {"continue": more} if more else {}
                try:
                    page = await self.ask("GET", path, query={"limit": PAGE, **query, **following}, accept=accept)
                except AnswerError as error:
                    if error.status == 404 and not _always(path):
                        return []  # a kind that this cluster does not serve
                    if error.status == 410 and more:
                        break
                    raise _unread(path, self.address, error) from error
                kind = str(page.get("kind", "")).removesuffix("List")
                for one in page.get("items") or ():
                    one.setdefault("kind", kind)
                    one.setdefault("apiVersion", page.get("apiVersion", ""))
                    found.append(one)
                more = (page.get("metadata") or {}).get("continue") or ""
                if not more:
                    return found
        raise UnreachableError(f"GET {path} at {self.address}: the listing grew too old twice while it was read")

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = LOOK,
    ) -> dict[str, Any]:
        """One request of ours and its JSON answer; it only looks, so a login that is refused is read anew and tried once
        more. Raises AnswerError, UnreachableError."""

        asked = {"query": query, "body": body, "content_type": content_type, "accept": accept}
        try:
            async with asyncio.timeout(seconds):
                client = await self.client()
                try:
                    return await _asked(client, method, path, seconds, **asked)
                except AnswerError as error:
                    if error.status != 401:
                        raise
                await self.renew(client)
                return await _asked(await self.client(), method, path, seconds, **asked)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnreachableError(self.unreachable(error)) from error

    @contextlib.asynccontextmanager
    async def reading(
        self, path: str, query: Mapping[str, str | int], *, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that goes on (a watch, a log), open as long as the block. ``silence``: seconds without a byte after
        which it ends with TimeoutError; of a quiet log not even the headers come. Raises AnswerError, UnreachableError."""
        try:
            async with asyncio.timeout(silence):
                client = await self.client()
                sent = await client.param_serialize(
                    method="GET",
                    resource_path=path,
                    query_params=[(name, str(value)) for name, value in query.items()],
                    header_params={"Accept": "*/*"},
                    auth_settings=["BearerToken"],
                )
                going_on = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=silence)
                found = await client.call_api(*sent, _preload_content=False, _request_timeout=going_on)
                response: aiohttp.ClientResponse = found.response
                if response.status >= 300:
                    if response.status == 401:
                        await self.renew(client)
                    raise refusal(response.status, await _read(response))
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(self.unreachable(error)) from error
        try:
            yield response
        finally:
            # Its close waits, unawaited, for the server's farewell in TLS, past the end of whoever read; nothing more is wanted.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    def unreachable(self, error: BaseException) -> str:
        why = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            why = "no answer in time"
        return f"the API server at {self.address} does not answer: {why[:500]}; see that it runs and that the login names the right one"


def limits(seconds: float) -> aiohttp.ClientTimeout:
    """Of one request: in all, and for the connection."""
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT, seconds))


async def _asked(
    client: Any,
    method: str,
    path: str,
    seconds: float,
    *,
    query: Mapping[str, str | int] | None = None,
    body: Any = None,
    content_type: str = "application/json",
    accept: str = "application/json",
) -> dict[str, Any]:
    sent = await client.param_serialize(
        method=method,
        resource_path=path,
        query_params=[(name, str(value)) for name, value in (query or {}).items()],
        header_params={"Accept": accept, "Content-Type": content_type},
        body=body,
        auth_settings=["BearerToken"],
    )
    response = await client.call_api(*sent, _preload_content=False, _request_timeout=limits(seconds))
    return await answer_of(response.response)


def _straight() -> aiohttp.TraceConfig:
    """No request is sent on to another address: a POST would become a GET there, and a login would go to whoever asks."""

    async def sent_on(_: Any, __: Any, on: aiohttp.TraceRequestRedirectParams) -> None:
        on.response.close()
        raise _sent_on(on.response.status, on.response.headers.get("Location", "?"))

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(sent_on)
    return trace


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A change goes out once. aiohttp sends PUT and DELETE again where the connection ends without an answer: the first may
    have been done all the same, and the second's 404 or 409 would say that nothing was."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and aiohttp does not try again
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method == "GET":
            raise
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


def _sent_on(status: int, to: str) -> AnswerError:
    return AnswerError(status, "", f"it sends on to {without_login(to)[:200]}; {NOT_ITSELF}")


def _uid(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("uid") or "")


def _always(path: str) -> bool:
    """Whether every API server serves this: where it is not there, something else answers."""
    return path.startswith(("/api/v1/", "/apis/apps/v1/", "/apis/batch/v1/"))


def _proxy(address: str) -> str | None:
    """That the environment names for this address."""
    parts = urllib.parse.urlsplit(address)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


async def answer_of(response: aiohttp.ClientResponse | Whole) -> dict[str, Any]:
    """The JSON of an answer. Raises AnswerError for what is no success or no JSON."""
    body = await _read(response)
    if response.status >= 300:
        raise refusal(response.status, body)
    try:
        found = orjson.loads(body) if body else {}
    except ValueError as error:
        shown = body[:200].decode("utf-8", "replace")
        raise AnswerError(response.status, "", f"what is no JSON ({shown!r}); {NOT_ITSELF}") from error
    return found if isinstance(found, dict) else {"items": found}


async def _read(response: aiohttp.ClientResponse | Whole) -> bytes:
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > MOST:
            response.close()
            raise ValueError(f"the answer is larger than {MOST} bytes")
    return b"".join(parts)


def refusal(status: int, body: bytes) -> AnswerError:
    """A Status object says it in the server's own words; anything else is shown as it is."""
    try:
        said = orjson.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("kind") == "Status":
        return AnswerError(status, str(said.get("reason") or ""), str(said.get("message") or "")[:2000])
    return AnswerError(status, "", body[:500].decode("utf-8", "replace"))


def _unread(path: str, address: str, error: AnswerError) -> UnreachableError:
    kind = DeniedError if error.status in (401, 403) else UnreachableError
    return kind(f"GET {path} at {address}: {error}{cure(error)}")


def cure(error: AnswerError) -> str:
    if error.status == 401:
        return "; the login has expired or is not known there: renew it"
    if error.status == 403:
        return "; give this login that right (`uici rbac` prints what is needed)"
    return ""


async def lines_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a stream, without their ends; a line longer than the buffer comes in pieces."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > 1_000_000:
            yield rest
            rest = b""
    if rest:
        yield rest

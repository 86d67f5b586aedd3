"""The wire to one API server: the official client's asynchronous flavour, asked for raw JSON, with every wait bounded.

Nothing here repeats a request: the client's own retries are off. What an answer proves is said in ``outcome``; what was
sent and not answered is never called undone. Nothing here decides what may be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from uici.executor import Outcome, Rejected, Unknown, without_login
from uici.model import ConfigurationError, DeniedError, UnreachableError
from uici_executors.kubernetes.login import in_cluster, kubeconfigs

Object = Mapping[str, Any]

#: Seconds that one read of the contract may take, and that a connection may take to come about.
LOOK, CONNECT = 20.0, 5.0
#: Objects a page.
PAGE = 500
#: Bytes of an answer that are read at the most.
MOST = 256 * 1024 * 1024

_REASONS = {401: "permission", 403: "permission", 404: "unknown_target", 409: "conflict"}
#: 4xx answers by what stands between UICI and a server that gave up waiting: they prove nothing.
_NOT_THE_SERVERS = frozenset({408, 499})
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
    """One API server with one login. ``settings``: of the environment, secrets filled in."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._client: Any = None
        self._making = asyncio.Lock()
        self._old: list[Any] = []
        self._engine = ""
        self.address = "the API server"

    async def client(self) -> Any:
        """The client's ApiClient, made when first asked for: importing it takes half a second. Raises ConfigurationError,
        UnreachableError."""
        async with self._making:
            if self._client is None:
                self._client = await self._make()
        return self._client

    async def _make(self) -> Any:
        aio = await asyncio.to_thread(_imported)
        configuration = aio.client.Configuration()
        try:
            if self._settings.get("kubeconfig") or self._settings.get("context") or not in_cluster():
                looked = kubeconfigs(self._settings.get("kubeconfig") or "")
                if not any(one.is_file() for one in looked):
                    # The client takes a file that is not there for an empty one.
                    raise OSError(f"there is no kubeconfig at {', '.join(map(str, looked))}")
                await aio.config.load_kube_config(
                    config_file=self._settings.get("kubeconfig"),
                    context=self._settings.get("context"),
                    client_configuration=configuration,
                    persist_config=False,
                )
            else:
                aio.config.load_incluster_config(client_configuration=configuration)
        except (aio.config.ConfigException, OSError, ValueError) as error:
            where = self._settings.get("kubeconfig") or "$KUBECONFIG or ~/.kube/config"
            raise ConfigurationError(
                f"no login to Kubernetes: {error}; see {where} and `settings` of the environment"
            ) from error
        configuration.retries = False
        configuration.connection_pool_maxsize = int(self._settings.get("connections", 64))
        self.address = without_login(str(configuration.host))
        return aio.client.ApiClient(configuration)

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
        """The uid of ``kube-system``. Raises UnreachableError."""
        if not self._engine:
            found = await self.get("/api/v1/namespaces/kube-system")
            if found is None:
                raise UnreachableError(f"{self.address} has no namespace kube-system, so it cannot be told which it is")
            self._engine = str(found["metadata"]["uid"])
        return self._engine

    async def get(self, path: str, **query: str | int) -> dict[str, Any] | None:
        """One object or one page; None where there is none. Raises UnreachableError, with the server's own reason."""
        try:
            return await self.ask("GET", path, query=query)
        except AnswerError as error:
            if error.status == 404:
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
                    if error.status == 404:
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

        async def once(client: Any) -> dict[str, Any]:
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

        client = await self.client()
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await once(client)
                except AnswerError as error:
                    if error.status != 401:
                        raise
                await self.renew(client)
                return await once(await self.client())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnreachableError(self.unreachable(error)) from error

    @contextlib.asynccontextmanager
    async def reading(
        self, path: str, query: Mapping[str, str | int], *, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that goes on (a watch, a log), open as long as the block. ``silence``: seconds without a byte after
        which it ends with TimeoutError; of a quiet log not even the headers come. Raises AnswerError, UnreachableError."""
        client = await self.client()
        try:
            async with asyncio.timeout(silence):
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
                if response.status >= 400:
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
            response.close()

    def unreachable(self, error: BaseException) -> str:
        why = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            why = "no answer in time"
        return f"the API server at {self.address} does not answer: {why[:500]}; see that it runs and that the login names the right one"


def limits(seconds: float) -> aiohttp.ClientTimeout:
    """Of one request: in all, and for the connection."""
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT, seconds))


def _imported() -> Any:
    from kubernetes import aio

    return aio


async def answer_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises AnswerError for what is no success, ValueError for what is no JSON."""
    body = await _read(response)
    if response.status >= 400:
        raise refusal(response.status, body)
    found = json.loads(body) if body else {}
    return found if isinstance(found, dict) else {"items": found}


async def _read(response: aiohttp.ClientResponse) -> bytes:
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
        said = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("kind") == "Status":
        return AnswerError(status, str(said.get("reason") or ""), str(said.get("message") or "")[:2000])
    return AnswerError(status, "", body[:500].decode("utf-8", "replace"))


def _unread(path: str, address: str, error: AnswerError) -> UnreachableError:
    kind = DeniedError if error.status in (401, 403) else UnreachableError
    return kind(f"GET {path} at {address}: {error}{_cure(error)}")


def _cure(error: AnswerError) -> str:
    if error.status == 401:
        return "; the login has expired or is not known there: renew it"
    if error.status == 403:
        return "; give this login that right (`uici rbac` prints what is needed)"
    return ""


def rejected(error: AnswerError, path: str, *, observe: bool) -> Outcome:
    """What an answer that is no success proves: a 4xx of the server's, that nothing was done."""
    if observe or (400 <= error.status < 500 and error.status not in _NOT_THE_SERVERS):
        return Rejected(
            errors=error.names,
            message=f"{error}{_cure(error)}",
            reason=_REASONS.get(error.status, "executor"),
            # What exists already would exist the next time too.
            stale=not observe and error.status == 409 and error.reason == "Conflict",
        )
    return Unknown(message=f"{path}: {error}; it may have been done")


def failed(error: Exception, server: Server, path: str, *, observe: bool, sent: bool) -> Outcome:
    """Of an exception: where nothing was sent, nothing was done."""
    if isinstance(error, UnreachableError | TimeoutError | aiohttp.ClientError | OSError | ssl.SSLError):
        # A connection that did not come about carried nothing.
        refused = isinstance(error, aiohttp.ClientConnectorError) or not sent
        if observe or refused:
            message = str(error) if isinstance(error, UnreachableError) else server.unreachable(error)
            return Rejected(errors=_names(error), message=message, reason="unreachable")
        return Unknown(
            message=f"no answer to {path} from {server.address}: {error or type(error).__name__}; it may have been done"
        )
    if observe or not sent:
        return Rejected(errors=_names(error), message=f"{path}: {error}")
    return Unknown(message=f"{path} failed with {type(error).__name__}: {error}; it may have been done")


def _names(error: Exception) -> tuple[str, ...]:
    return tuple(one.__name__ for one in type(error).__mro__ if issubclass(one, Exception) and one is not Exception)


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

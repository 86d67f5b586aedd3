"""One call of a translation, sent as the client's own method would send it, and what its answer proves.

Listings are read page by page; writes name UICI as their field manager and refuse fields that the server does not know.
It must not repeat a call, and lets no object of the client out: an answer is Kubernetes' JSON as in its API reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import aiohttp

from uici.executor import Done, Outcome, Rejected, Unknown
from uici.model import Call, Resource, Risk, UnreachableError
from uici_executors.kubernetes import pinning, risks, sdk, words
from uici_executors.kubernetes.connection import NOT_ITSELF, PAGE, AnswerError, Server, answer_of
from uici_executors.kubernetes.outcomes import failed, rejected
from uici_executors.kubernetes.resources import resource

#: Under which managedFields show what UICI wrote.
MANAGER = "uici"
#: Bytes that are kept of a text answer (a log): the last ones.
PRINTED = 1_000_000
#: Objects above which making something of them takes milliseconds.
MANY = 50
#: Words that ask somebody, and wait.
_ASKING = ("probe.", "prometheus.")
#: What almost every operation asks; the client's classes are imported one by one, a second's work in all.
_USUAL = ("AppsV1Api", "CoreV1Api")
#: Arguments that become a part of a path.
_PARTS = frozenset({"name", "namespace", "plural", "group", "version"})


async def run(server: Server, call: Call) -> Outcome:
    """One call; it is over at ``call.timeout`` seconds at the latest."""
    if call.path in words.WORDS:
        return await _word(call)
    observe = risks.risk(call.path, call.arguments) is Risk.OBSERVE
    api, _, method = call.path.rpartition(".")
    if sdk.find(call.path) is None or api == "pods":
        return Rejected(errors=("AttributeError",), message=f"the installed client has no {call.path}; see uici check")
    sent = False
    try:
        async with asyncio.timeout(call.timeout):
            client = await server.client()
            asks = await _class(api)
            bound = getattr(asks(client), f"{method}_without_preload_content")
            takes = _takes(asks, method)
            arguments = _filled(takes, call)
            takes.bind(client, **arguments)
            stay_in_place(arguments)
            sent = True
            ask = _listed if _is_listing(method, arguments) else _sent
            try:
                answer = await ask(bound, arguments)
            except AnswerError as error:
                if error.status != 401:
                    raise
                await server.renew(client)
                if not observe:
                    raise
                # A look is asked once more with the login as it is now; a change is sent once.
                bound = getattr(asks(await server.client()), f"{method}_without_preload_content")
                answer = await ask(bound, arguments)
        strange = None if observe or method.startswith("connect_") else _strange(call, answer)
        if strange is not None:
            return Unknown(message=f"{call.path}: {server.address} answered with {strange}; it may have been done")
        return Done(answer=answer, resources=await _resources(server, answer))
    except AnswerError as error:
        if error.status == 404 and api == "CustomObjectsApi":
            error = _unserved(error, call.arguments)
        return pinning.tested(rejected(error, call.path, observe=observe), call, error)
    except (TypeError, ValueError) as error:
        # pydantic refuses arguments before anything is sent; an answer that is no JSON came from somebody else.
        before = type(error).__name__ == "ValidationError" or not sent
        return failed(error, server, call.path, observe=observe, sent=not before)
    except (UnreachableError, TimeoutError, aiohttp.ClientError, OSError) as error:
        return failed(error, server, call.path, observe=observe, sent=sent)


def _strange(call: Call, answer: Any) -> str | None:
    """Why an answer does not show that the API server did what was asked; None: it does, or it is a log's text."""
    method = sdk.find(call.path)
    if isinstance(answer, str) and method is not None and method.verb in ("get", "list"):
        return None
    if not isinstance(answer, Mapping) or not answer.get("kind") or not answer.get("apiVersion"):
        return f"what is no object of Kubernetes ({str(answer)[:200]!r}); {NOT_ITSELF}"
    wanted = pinning.pinned_uid(call)
    about = answer.get("details") if answer["kind"] == "Status" else answer.get("metadata")
    found = (about or {}).get("uid")
    if wanted and found != wanted and not (answer["kind"] == "Status" and found is None):
        return f"an object that was not asked for (uid {found or 'not told'}, not {wanted}); {NOT_ITSELF}"
    return None


def _unserved(error: AnswerError, arguments: Mapping[str, Any]) -> AnswerError:
    """A path that leads nowhere says less than what is missing."""
    if error.reason == "NotFound" and "could not find the requested resource" not in error.said:
        return error
    group, version, plural = (arguments.get(name, "?") for name in ("group", "version", "plural"))
    said = f"{error.said.strip()}; nothing in this cluster serves {plural} of {group}/{version}"
    return AnswerError(error.status, error.reason, said)


async def _word(call: Call) -> Outcome:
    """One of the executor's own words; they only look, so what goes wrong left nothing behind."""
    many = sum(len(one) for one in call.arguments.values() if isinstance(one, list)) > MANY
    try:
        if many or call.path.startswith(_ASKING):
            return Done(answer=await asyncio.to_thread(words.run, call.path, call.arguments))
        return Done(answer=words.run(call.path, call.arguments))  # sooner done than handed over
    except (TypeError, ValueError) as error:
        return Rejected(errors=(type(error).__name__,), message=f"{call.path}: {error}")
    except UnreachableError as error:
        return Rejected(errors=("UnreachableError",), message=str(error), reason="unreachable")


def prepare() -> None:
    """Imports what almost every call needs, so that no alert waits for that. Blocks for a second or so; needs no server."""
    with contextlib.suppress(ImportError):  # the first call says what is not installed
        for name in _USUAL:
            _imported(name)
            sdk.names(name)  # maps its source


async def _class(name: str) -> Callable[[Any], Any]:
    """One of the client's, imported in a thread: the loop goes on meanwhile."""
    found = _CLASSES.get(name)
    return found if found is not None else await asyncio.to_thread(_imported, name)


_CLASSES: dict[str, Callable[[Any], Any]] = {}
#: Modules that import each other must not be imported in two threads at once: one would see a half of the other.
_IMPORTING = threading.Lock()


def _imported(name: str) -> Callable[[Any], Any]:
    with _IMPORTING:
        from kubernetes.aio import client

        found: Callable[[Any], Any] = getattr(client, name)
    _CLASSES[name] = found
    return found


@cache
def _takes(asks: Callable[[Any], Any], method: str) -> inspect.Signature:
    """Of the method itself, its receiver first."""
    return inspect.signature(getattr(asks, f"{method}_without_preload_content"))


def _filled(signature: inspect.Signature, call: Call) -> dict[str, Any]:
    """The call's arguments with what every call of UICI's says."""
    arguments = dict(call.arguments)
    takes = signature.parameters
    method = call.path.rpartition(".")[2]
    if "body" in takes and method.startswith(("patch_", "create_", "replace_")):
        for name, value in (("field_manager", MANAGER), ("field_validation", "Strict")):
            if name in takes:
                arguments.setdefault(name, value)
    if "body" in arguments and method.startswith("patch_"):
        arguments["_content_type"] = sdk.content_type(method, arguments["body"])
    arguments["_request_timeout"] = float(call.timeout)
    return arguments


def stay_in_place(arguments: Mapping[str, Any]) -> None:
    """Names become parts of a path, and ``..`` would lead to another object of another kind."""
    for name, value in arguments.items():
        if isinstance(value, str) and name in _PARTS and (value in ("", ".", "..") or set("/%?#") & set(value)):
            raise ValueError(f"{name}: {value[:100]!r} is no name of anything in Kubernetes")


def _is_listing(method: str, arguments: Mapping[str, Any]) -> bool:
    return method.startswith("list_") and not {"limit", "_continue", "watch"} & arguments.keys()


async def _listed(bound: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """A whole listing, page by page; one that grew too old on the way (410) is begun once more."""
    for last in (False, True):
        whole: dict[str, Any] = {}
        more: str | None = None
        while True:
            following = {"_continue": more} if more else {}
            try:
                page = await _sent(bound, {**arguments, "limit": PAGE, **following})
            except AnswerError as error:
                if error.status != 410 or not more or last:
                    raise
                break
            if whole:
                whole["items"].extend(page.get("items") or ())
            else:
                whole = {**page, "items": list(page.get("items") or ())}
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                whole["metadata"] = {
                    key: value
                    for key, value in (page.get("metadata") or {}).items()
                    if key not in ("continue", "remainingItemCount")
                }
                return whole
    raise AnswerError(410, "Expired", "the listing grew too old twice while it was read")


async def _sent(bound: Any, arguments: Mapping[str, Any]) -> Any:
    """JSON, or text where the server answers with text."""
    response: aiohttp.ClientResponse = await bound(**arguments)
    try:
        kind = response.headers.get("Content-Type", "json")
        if response.status < 300 and "json" not in kind and ("html" not in kind or _is_proxy(bound)):
            return (await _last(response)).decode("utf-8", "replace")
        return await answer_of(response)
    finally:
        response.release()


def _is_proxy(bound: Any) -> bool:
    """Whether what lies behind the API server answers, in whatever way."""
    return str(bound.__name__).startswith("connect_")


async def _last(response: aiohttp.ClientResponse) -> bytes:
    """The last of what is printed, however much that is."""
    kept = bytearray()
    async for chunk in response.content.iter_any():
        kept += chunk
        if len(kept) > 2 * PRINTED:
            del kept[:-PRINTED]
    return bytes(kept[-PRINTED:])


async def _resources(server: Server, answer: Any) -> tuple[Resource, ...]:
    """Of the object in the answer; the objects of a listing have no methods, so nobody asks for them."""
    metadata = answer.get("metadata") if isinstance(answer, Mapping) else None
    if not isinstance(metadata, Mapping) or not metadata.get("uid") or "kind" not in answer:
        return ()
    return (resource(await server.engine(), answer),)

"""What docker-py's exceptions prove of a call: rejected only where nothing was done; unknown for all else.

Must not send anything, nor ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker.errors
import requests
import urllib3

from uici.executor import Outcome, Rejected, Unknown, without_login
from uici.model import Call

if TYPE_CHECKING:
    from uici_executors.docker.connection import Exchange

#: Said by what stands between UICI and an engine when it gives up waiting, so they prove nothing.
NOT_THE_ENGINES = frozenset({408, 499})
#: 4xx answers to these do not prove that nothing was done: the engine stops the container first, then fails.
IN_TWO_STEPS = frozenset({"Container.restart", "api.restart", "Container.remove", "api.remove_container"})
_REASONS = {401: "permission", 403: "permission", 404: "unknown_target", 409: "conflict"}


def refused(status: int) -> bool:
    """Whether it is the engine's own word that it has done nothing of a request."""
    return 400 <= status < 500 and status not in NOT_THE_ENGINES


def outcome(error: Exception, exchange: Exchange, call: Call, base_url: str, *, observe: bool) -> Outcome:
    """What an exception of the SDK proves."""
    path = call.path
    in_two_steps = path in IN_TWO_STEPS and ("remove" not in path or bool(call.arguments.get("force")))
    if isinstance(error, docker.errors.APIError) and error.response is not None:
        status, said = error.response.status_code, str(error.explanation or error)
        rejected = refused(status) and not exchange.changed
        if rejected and in_two_steps and not observe:
            rejected = status in (401, 403) or (status == 404 and "no such" in said.lower())
        if rejected or observe:
            return Rejected(
                errors=_names(error),
                message=f"Docker answered {status}: {said}",
                reason=_REASONS.get(status, "executor"),
            )
        return Unknown(message=f"Docker answered {status} to {path}: {said}; it may have been done in part")
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        if observe or not (exchange.changed or exchange.sending):
            return Rejected(errors=_names(error), message=unreachable(error, base_url), reason="unreachable")
        where = without_login(base_url)
        return Unknown(message=f"no answer to {path} from {where}: {_short(error)}; it may have been done")
    if isinstance(error, docker.errors.DockerException | TypeError | ValueError) and (
        observe or not (exchange.changed or exchange.sending)
    ):
        return Rejected(errors=_names(error), message=f"{path}: {_short(error)}")
    return Unknown(message=f"{path} failed with {type(error).__name__}: {_short(error)}; it may have been done")


def late(exchange: Exchange, path: str, *, observe: bool) -> Outcome:
    """Of a call that was cut off at its deadline; what it gave until then is not its answer."""
    if observe or not exchange.changed:
        return Rejected(errors=("TimeoutError",), message=f"{path} was not done in time", reason="unreachable")
    return Unknown(message=f"{path} was cut off at its deadline; it may have been done, or still be under way")


def unreachable(error: Exception, base_url: str) -> str:
    where = without_login(base_url)
    why = _short(error).replace(base_url, where)
    return (
        f"the Docker engine at {where} does not answer: {why}; see that dockerd runs there and that base_url is right"
    )


def _names(error: Exception) -> tuple[str, ...]:
    """The class names that ``accept`` and ``retry`` may use, most derived first."""
    return tuple(one.__name__ for one in type(error).__mro__ if issubclass(one, Exception) and one is not Exception)


def _short(error: Exception) -> str:
    """The innermost reason: requests wraps urllib3's wrapping of the socket's."""
    inner: BaseException = error
    while True:
        further = inner.args[0] if inner.args else None
        if not isinstance(further, BaseException):
            break
        inner = further
    reason = getattr(inner, "reason", None)
    return str(reason if isinstance(reason, BaseException) else inner)[:500] or type(error).__name__

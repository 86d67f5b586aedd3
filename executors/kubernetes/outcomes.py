"""What an answer, or none, proves of a call. What was sent and not answered is never called undone. Nothing is asked here."""

from __future__ import annotations

import ssl

import aiohttp

from uici.executor import Outcome, Rejected, Unknown
from uici.model import UnreachableError
from uici_executors.kubernetes.connection import AnswerError, Server, cure

_REASONS = {401: "permission", 403: "permission", 404: "unknown_target", 409: "conflict"}
#: 4xx answers by what stands between UICI and a server that gave up waiting: they prove nothing.
_NOT_THE_SERVERS = frozenset({408, 499})


def rejected(error: AnswerError, path: str, *, observe: bool) -> Outcome:
    """What an answer that is no success proves: a 4xx of the server's, that nothing was done."""
    if observe or (400 <= error.status < 500 and error.status not in _NOT_THE_SERVERS):
        return Rejected(
            errors=error.names,
            message=f"{error}{cure(error)}",
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

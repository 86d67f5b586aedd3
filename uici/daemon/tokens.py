"""Who calls: bearer tokens, the local socket's peer, or, without any tokens, whoever is on loopback.

Tokens are compared as digests and in constant time; none is ever printed, logged or kept as text after the start.
Rights are checked here for whole doors; what a Request may do is the engine's to decide.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import pwd
import socket
import struct
from collections.abc import Iterable

from uici.model import ConfigurationError, Origin, Token
from uici.model.record import dataclass

RIGHTS = frozenset({"alerts", "observe", "operate", "approve", "metrics"})
#: Of the local socket: approving and posting alerts need a token here too.
LOCAL_RIGHTS = frozenset({"observe", "operate", "metrics"})
#: Of whoever is on loopback where no tokens are configured: never approve.
OPEN_RIGHTS = RIGHTS - {"approve"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands at the door. ``door``: ``token``, ``local`` (the unix socket) or ``loopback`` (no tokens configured)."""

    name: str
    may: frozenset[str]
    person: bool
    door: str

    def origin(self) -> Origin:
        """A token that is not a person's is a program's: ``library:`` and its name."""
        return Origin("human" if self.person else "library", self.name, self.may & {"observe", "operate", "approve"})


LOOPBACK = Caller("loopback", OPEN_RIGHTS, False, "loopback")


class Tokens:
    """The configured tokens, secrets filled in; raises ConfigurationError for empty ones and for two alike."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._known: list[tuple[bytes, Caller]] = []
        seen: dict[bytes, str] = {}
        for token in tokens:
            if not token.token.strip():
                raise ConfigurationError(
                    f"platform.yml: server.tokens.{token.name} is empty; give it a long random text"
                )
            digest = _digest(token.token.strip().encode())
            if digest in seen:
                raise ConfigurationError(
                    f"platform.yml: server.tokens.{token.name} is the same text as {seen[digest]}; give each its own"
                )
            seen[digest] = token.name
            self._known.append((digest, Caller(token.name, token.may, token.person, "token")))

    def __bool__(self) -> bool:
        return bool(self._known)

    def caller(self, presented: str) -> Caller | None:
        """Whose token that is, or None. Looks at all of them, whichever matches."""
        digest = _digest(presented.encode("utf-8", "surrogateescape"))
        found = None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def bearer(header: str | None) -> str | None:
    """The token of an ``Authorization: Bearer …`` header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def peer(connection: socket.socket) -> Caller:
    """The user at the other end of the local socket, as the kernel says it (Linux); elsewhere its owner, by mode 0600."""
    uid = os.getuid()
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Caller(name, LOCAL_RIGHTS, True, "local")


def address(listen: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8080``, ``[::1]:8080`` or ``:8080`` (every address); raises ConfigurationError."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(
            f"platform.yml: server.listen is {listen!r}; write it as host:port, such as 127.0.0.1:8080"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

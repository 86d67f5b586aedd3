"""``touches: elsewhere`` is the operator's word that a call acts outside of this engine. It is never believed of UICI itself.

Every address that the call's arguments name is looked up first: UICI's own machine (its listener and its store are
there), the addresses that it needs, and metadata services are refused. What an address redirects to is the executor's to
refuse in the same way. A name that cannot be looked up cannot be told to be elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

#: Metadata services of the large clouds that are not link-local (link-local ones are refused as such).
METADATA = frozenset({"metadata.google.internal", "metadata", "fd00:ec2::254", "100.100.100.200"})
#: Seconds that looking a name up may take.
LIMIT = 5.0

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::\d{1,5})?")


async def not_elsewhere(arguments: Mapping[str, Any], needs: Sequence[str]) -> str | None:
    """Why the arguments do not all lead elsewhere, or None. ``needs``: ``host:port`` that UICI listens on or needs."""
    needed = {host for text in needs for host in [_host(text)] if host}
    for text in _texts(arguments):
        host = _host(text)
        if host is None:
            continue
        if host in METADATA:
            return f"{host} is a metadata service"
        addresses = await _addresses(host)
        if addresses is None:
            # Not every word with a dot is a host; one inside an URL is.
            if "://" in text:
                return f"{host} cannot be looked up, so where it leads cannot be told"
            continue
        for address in addresses:
            why = _own(address)
            if why is not None:
                return f"{host} is {address}, {why}"
        if host in needed or needed & set(addresses):
            return f"{host} is what UICI listens on or needs"
    return None


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value)


def _host(text: str) -> str | None:
    try:
        if "://" in text:
            return urlsplit(text).hostname
        if _HOST.fullmatch(text) and ("." in text or ":" in text or text == "localhost"):
            return urlsplit(f"//{text}").hostname
    except ValueError:
        return None
    return None


async def _addresses(host: str) -> list[str] | None:
    try:
        async with asyncio.timeout(LIMIT):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _own(text: str) -> str | None:
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.is_loopback or address.is_unspecified:
        return "which is UICI's own machine"
    if address.is_link_local:
        return "which is link-local, where metadata services are"
    if str(address) in METADATA:
        return "which is a metadata service"
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Only an address of this machine can be bound to.
        try:
            probe.bind((text, 0))
        except OSError:
            return None
    return "which is UICI's own machine"

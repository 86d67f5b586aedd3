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
#: Words of the arguments that are looked at.
WORDS = 1000

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::\d{1,5})?")
#: ``db``, ``root@db``, ``db:5432``, ``db:/file``.
_NAMED = re.compile(r"(?:[^@]*@)?([a-z0-9][a-z0-9._-]*?)\.?(?::(?:[0-9]+|/.*)?)?")
_BETWEEN = re.compile(r"[\s,;|&<>(){}\"'`=]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def not_elsewhere(arguments: Mapping[str, Any], needs: Sequence[str]) -> str | None:
    """Why the arguments do not all lead elsewhere, or None. ``needs``: ``host:port`` that UICI listens on or needs."""
    needed = {host for text in needs for host in [_host(text)] if host}
    paths = [path for text in needs if (path := text.removeprefix("unix://")).startswith("/")]
    words = [word for text in _texts(arguments) for word in _words(text)]
    if len(words) > WORDS:
        return f"it names more than {WORDS} things, too many to look each of them up"
    hosts: dict[str, bool] = {}
    for text in words:
        own = next((path for path in paths if path in text), None)
        if own is not None:
            return f"{own} is what UICI listens on or needs"
        # A word alone is no address to be looked up, but may be the name by which UICI itself reaches something.
        named = _NAMED.fullmatch(text.lower())
        if named is not None and named[1] in {*needed, socket.gethostname().lower()}:
            return f"{named[1]} is UICI's own machine, or what it listens on or needs"
        host = _host(text)
        if host is not None:
            hosts[host] = hosts.get(host, False) or "://" in text
    found = await asyncio.gather(*(_addresses(host) for host in hosts))
    reached = (
        {one for known in await asyncio.gather(*map(_addresses, needed)) for one in known or ()} if hosts else set()
    )
    for (host, in_url), addresses in zip(hosts.items(), found, strict=True):
        if host in METADATA:
            return f"{host} is a metadata service"
        if addresses is None:
            # Not every word with a dot is a host; one inside an URL is.
            if in_url:
                return f"{host} cannot be looked up, so where it leads cannot be told"
            continue
        for address in addresses:
            why = _own(address)
            if why is not None:
                return f"{host} is {address}, {why}"
        if host in needed or reached & set(addresses):
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


def _words(text: str) -> Iterator[str]:
    """An address may stand in the middle of a command line, a list or a setting."""
    yield from filter(None, _BETWEEN.split(text))


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
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address in the clothes of IPv6 leads where the IPv4 address does.
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _own(str(inside))
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

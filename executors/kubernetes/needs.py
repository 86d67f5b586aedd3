"""Whoever answers at an address that UICI needs, as far as it runs in this cluster: Services and Pods. Reads only."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from uici_executors.kubernetes.reach import host_path
from uici_executors.kubernetes.resources import KINDS

if TYPE_CHECKING:
    from uici_executors.kubernetes.identity import Look

#: Seconds that the resolver may take.
_RESOLVE = 3.0
#: Services that only name another one lead on so often.
_DEEPEST = 5


async def needed(look: Look, address: str) -> None:
    """``host:port``, a URL or a unix path: all that carries whoever answers there becomes UICI's own."""
    if address.startswith(("/", "unix:")):
        if look.node and look.mine is None:
            look.add(host_path(look.engine, address.removeprefix("unix:").replace("//", "/")))
        return
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    except ValueError:
        return
    await _host(look, host, port, _DEEPEST)


async def _host(look: Look, host: str, port: int | None, left: int) -> None:
    if not host or not left:
        return
    if (at := _address(host)) is not None:
        await _at(look, at, port)
        return
    for name, namespace in _names(look, host):
        found = await look.view.read(KINDS["Service"], namespace, name)
        if found is not None:
            await look.service(found)
            outside = (found.get("spec") or {}).get("externalName")
            if outside:
                await _host(look, str(outside).lower(), port, left - 1)
            return
    if await _balanced(look, host):
        return
    alias, addresses = await _resolved(host)
    if alias not in ("", host) and await _balanced(look, alias):
        return
    for one in addresses:
        await _at(look, one, port)


async def _balanced(look: Look, host: str) -> bool:
    """Whether a load balancer of this name leads to Services here: many clouds tell its name alone, and its addresses change."""
    leads = False
    for one in await look.everywhere("Service"):
        if host in {str(balancer.get("hostname") or "").lower().rstrip(".") for balancer in _balancers(one)}:
            await look.service(one)
            leads = True
    return leads


def _balancers(service: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()


def _names(look: Look, host: str) -> Iterator[tuple[str, str]]:
    """Services that a name may be in the cluster's own DNS: ``db``, ``db.shop``, ``db.shop.svc…``, ``db-0.db.shop…``."""
    labels = host.split(".")
    own = str(look.mine["metadata"]["namespace"]) if look.mine is not None else ""
    if "svc" in labels[1:] and labels.index("svc", 1) >= 2:
        at = labels.index("svc", 1)
        yield labels[at - 2], labels[at - 1]
        return
    if look.mine is None:
        return  # only a Pod asks that DNS
    if len(labels) == 1 and own:
        yield labels[0], own
    elif len(labels) == 2:
        yield labels[0], labels[1]
        yield labels[1], own
    elif len(labels) == 3:
        yield labels[1], labels[2]


async def _resolved(host: str) -> tuple[str, list[str]]:
    """The name that it is an alias of, if any, and its addresses. What does not resolve answers nobody now."""
    try:
        async with asyncio.timeout(_RESOLVE):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, TimeoutError, UnicodeError):
        return "", []
    alias = next((one[3] for one in found if one[3]), "").lower().rstrip(".")
    return alias, list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


async def _at(look: Look, address: str, port: int | None) -> None:
    """Who has this address, or answers at it."""
    place = ipaddress.ip_address(address)
    if place.is_loopback or place.is_unspecified:
        shares = look.mine is None or bool(look.mine["spec"].get("hostNetwork"))
        if look.node and shares:  # else within its own Pod, or on a machine that is no node
            await _on_node(look, look.node, port)
        return
    before = len(look.found)
    # A cluster may have many Pods: only those are listed that may be it. The second address of one cannot be selected.
    query = {} if ":" in address else {"fieldSelector": f"status.podIP={address}"}
    services, pods = await asyncio.gather(look.everywhere("Service"), look.everywhere("Pod", **query))
    for one in services:
        spec = one.get("spec") or {}
        addresses = {
            *(spec.get("clusterIPs") or ()),
            *(spec.get("externalIPs") or ()),
            *(balancer.get("ip") for balancer in _balancers(one)),
        }
        if address in addresses:
            await look.service(one)
    for one in pods:
        ips = {part.get("ip") for part in (one.get("status") or {}).get("podIPs") or ()}
        shared = bool((one.get("spec") or {}).get("hostNetwork"))
        if address in ips and (not shared or _serves(one, port)):
            await look.carrier(one)
    if len(look.found) == before:
        for node in await look.view.all("Node", None):
            if address in _addresses(node):
                await _on_node(look, str(node["metadata"]["name"]), port)


async def _on_node(look: Look, node: str, port: int | None) -> None:
    """Who answers at a port of a node: behind a node port, or a Pod that has it."""
    at_node = {"fieldSelector": f"spec.nodeName={node}"}
    services, pods = await asyncio.gather(look.everywhere("Service"), look.everywhere("Pod", **at_node))
    for one in services:
        if any(part.get("nodePort") == port for part in (one.get("spec") or {}).get("ports") or ()):
            await look.service(one)
    for one in pods:
        if _serves(one, port):
            await look.carrier(one)


def _serves(pod: Mapping[str, Any], port: int | None) -> bool:
    """Whether a Pod may answer at this port of its node; one in the node's network that declares none may."""
    spec = pod.get("spec") or {}
    ports = [one for part in spec.get("containers") or () for one in part.get("ports") or ()]
    if any(one.get("hostPort") == port for one in ports):
        return True
    return bool(spec.get("hostNetwork")) and (not ports or any(one.get("containerPort") == port for one in ports))


def _addresses(node: Mapping[str, Any]) -> set[str]:
    return {str(one.get("address")) for one in (node.get("status") or {}).get("addresses") or ()}


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "127.0.0.1" if host == "localhost" else None

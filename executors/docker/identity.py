"""What of one Docker engine UICI is and needs: its container and all that carries it, and where its store answers.

Evidence only: cgroups and mounts (``Facts``), addresses, labels. Where they do not suffice, ``unknown``; never a guess
that nothing is there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from uici.executor import Facts, Identity
from uici.model import Resource
from uici_executors.docker import resources
from uici_executors.docker.listeners import serving
from uici_executors.docker.made import Attrs, Ties
from uici_executors.docker.reads import Reads

_SHORT = re.compile(r"[0-9a-f]{12}")
#: Seconds that looking one name up may take.
LOOKING_UP = 5.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound


async def identity(reads: Reads, facts: Facts, environment: str) -> Identity:
    """Asked of the engine now."""
    if not (facts.pids or facts.containers or facts.machine_id or facts.hostname):
        return Identity(unknown="nothing is known of UICI's own process, so nobody can tell whether it runs here")
    look = _Look(reads, facts)
    await look.begin()
    shows = await look.own()
    meanings = await asyncio.gather(*(look.meant(need) for need in facts.needs))
    for need, meant in zip(facts.needs, meanings, strict=True):
        await look.need(need, meant)
    for name in facts.names:
        if name.get("environment") in (None, environment):
            await look.named(name)
    await look.paths()
    return Identity(resources=tuple(dict.fromkeys(look.found)), shows=shows)


class _Look:
    def __init__(self, reads: Reads, facts: Facts) -> None:
        self.reads = reads
        self.facts = facts
        self.engine = ""
        self.listed: list[Attrs] = []
        self.by_id: Mapping[str, Attrs] = {}
        self.ties: Mapping[str, Ties] = {}
        self.addresses: set[str] = set()
        self.found: list[Resource] = []
        self.mine: list[Attrs] = []
        self._done: set[str] = set()

    async def begin(self) -> None:
        self.engine = await self.reads.engine()
        self.listed = await self.reads.containers()
        self.by_id = {one["Id"]: one for one in self.listed}
        self.ties = await self.reads.ties(self.listed)
        self.addresses = {address for one in self.listed for address in _addresses_of(one)}

    async def own(self) -> str:
        """The container that UICI runs in, if any; the words that show it."""
        ids = [one for one in self.facts.containers if one in self.by_id]
        if not ids and _SHORT.fullmatch(self.facts.hostname):
            ids = [one for one in self.by_id if one.startswith(self.facts.hostname)]
        # Who lives in its namespaces may answer at its loopback; and one that shares its network is found by the other's
        # files (cgroup v2 names none).
        ids += [key for key, tie in self.ties.items() if tie.spaces & set(ids) and key not in ids]
        self.mine = [self.by_id[one] for one in ids]
        for one in self.mine:
            await self.carrier(one)
        if self.mine:
            return f"UICI runs in the container {', '.join(resources.names_of(one)[0] for one in self.mine)}"
        if self.facts.containers:
            elsewhere = ", ".join(one[:12] for one in self.facts.containers)
            return f"UICI's container ({elsewhere}) is none of this engine's {len(self.listed)} containers"
        return f"UICI's process {self.facts.pids[:1]} lies in no container: its cgroups and mounts name none"

    async def carrier(self, attrs: Attrs) -> None:
        """A container that UICI is or needs, with all that would take it down."""
        if attrs["Id"] in self._done:
            return
        self._done.add(attrs["Id"])
        labels = resources.labels_of(attrs)
        self.found.append(resources.container(self.engine, attrs))
        compose = resources.compose_of(labels)
        if compose:
            team = [one for one in self.listed if resources.team_of(one) == compose]
            self.found.append(resources.compose_service(self.engine, *compose, team))
        await self._image(attrs)
        for name, end in ((attrs.get("NetworkSettings") or {}).get("Networks") or {}).items():
            if end.get("NetworkID") and name not in ("none", "host"):  # which nobody can take away
                self.found.append(resources.network(self.engine, {"Id": end["NetworkID"], "Name": name, "Labels": {}}))
        for mount in attrs.get("Mounts") or ():
            if mount.get("Type") == "volume" and mount.get("Name"):
                self.found.append(resources.volume(self.engine, mount["Name"]))
            elif mount.get("Type") == "bind" and mount.get("Source"):
                self.found.append(resources.path(self.engine, mount["Source"]))
        ties = self.ties.get(attrs["Id"])
        for key in (ties.spaces | ties.others) if ties else ():
            if key in self.by_id:
                await self.carrier(self.by_id[key])
        if compose:
            for needed in labels.get(resources.DEPENDS_ON, "").split(","):
                service = needed.partition(":")[0]
                for one in self.listed:
                    if service and resources.team_of(one) == (compose[0], service):
                        await self.carrier(one)

    async def _image(self, attrs: Attrs) -> None:
        key, name = attrs.get("ImageID", ""), str(attrs.get("Image", ""))
        found = await self.reads.image(key) if key else None
        image = resources.image(self.engine, found or {"Id": key, "RepoTags": [name]})
        self.found.append(image)

    # What it needs

    async def need(self, address: str, meant: Sequence[str]) -> None:
        """``host:port``, a URL or a unix path: whoever answers there. ``meant``: what its name is looked up as."""
        if address.startswith(("/", "unix:")):
            return await self._socket(address.removeprefix("unix:").replace("//", "/"))
        parts = _parts(address)
        host = (parts.hostname or "").lower()
        try:
            port = parts.port
        except ValueError:
            port = None
        hosts = [host, *meant]
        for one in self.listed:
            if any([await self._answers(one, name, port) for name in hosts]):
                await self.carrier(one)
                # Who lives in its network may be the one that answers there.
                for key, tie in self.ties.items():
                    if one["Id"] in tie.spaces:
                        await self.carrier(self.by_id[key])
        here = not self.mine or any(_runs_in_the_hosts_network(one) for one in self.mine)
        if here and port is not None and any(name in _LOOPBACK or _is_address(name) for name in hosts):
            await self._in_the_hosts_network(port)
        return None

    async def meant(self, address: str) -> list[str]:
        """What a name in an address is looked up as by UICI now, of the places where this engine or its machine may answer."""
        host = "" if address.startswith(("/", "unix:")) else (_parts(address).hostname or "").lower()
        if host in _LOOPBACK or _is_address(host):
            return []
        engine = urlsplit(str(self.reads.settings.get("base_url", ""))).hostname or ""
        found, engines = await asyncio.gather(_addresses(host), _addresses(engine))
        inside = bool(self.mine or self.facts.containers)
        return [
            one
            for one in found
            if one in self.addresses or one in engines or await asyncio.to_thread(_of_the_machine, one, inside)
        ]

    async def _in_the_hosts_network(self, port: int) -> None:
        """Docker does not know the ports of those containers; where /proc does not tell either, each may be it."""
        there = [one for one in self.listed if _runs_in_the_hosts_network(one)]
        if there:
            ids = await asyncio.to_thread(serving, port)
            for one in there:
                if ids is None or one["Id"] in ids:
                    await self.carrier(one)

    async def _answers(self, attrs: Attrs, host: str, port: int | None) -> bool:
        if host in _addresses_of(attrs):
            return True
        if port is not None and (host in _LOOPBACK or _is_address(host)) and host not in self.addresses:
            for published in attrs.get("Ports") or ():
                if published.get("PublicPort") == port and (
                    host in _LOOPBACK or published.get("IP") in (host, "0.0.0.0", "::")  # noqa: S104 - compared
                ):
                    return True
        return not _is_address(host) and host not in _LOOPBACK and await self._called(attrs, host)

    async def _called(self, attrs: Attrs, host: str) -> bool:
        """By a name that Docker's own DNS, or a person, gives a container."""
        compose = resources.compose_of(resources.labels_of(attrs))
        names = {name.lower() for name in resources.names_of(attrs)} | {attrs["Id"][:12]}
        names |= {compose[1].lower()} if compose else set()
        if host in names:
            return True
        if not self.mine:
            return False
        shared = self._networks(attrs) & {network for one in self.mine for network in self._networks(one)}
        if not shared:
            return False
        inspected = await self.reads.container(attrs["Id"]) or {}
        ends = (inspected.get("NetworkSettings") or {}).get("Networks") or {}
        aliases = {
            alias.lower()
            for name, end in ends.items()
            if {name, end.get("NetworkID")} & shared
            for alias in end.get("Aliases") or ()
        }
        return host in aliases

    @staticmethod
    def _networks(attrs: Attrs) -> set[str]:
        """By id and by name: one that was never started knows the names alone, and is heard once it is."""
        ends = (attrs.get("NetworkSettings") or {}).get("Networks") or {}
        return {*ends, *(end["NetworkID"] for end in ends.values() if end.get("NetworkID"))}

    async def _socket(self, path: str) -> None:
        """Containers that share the folder of a socket; the engine's own socket is served by the engine.

        Who mounts the socket itself asks there, and does not answer; folders of many sockets tell nothing.
        """
        own = str(self.reads.settings.get("base_url", "")).removeprefix("unix://")
        if _real(path) == _real(own):
            return
        self.found.append(resources.path(self.engine, path))
        folder = path.rpartition("/")[0]
        if folder in ("", "/run", "/var/run", "/tmp"):  # noqa: S108 - compared, not used
            return
        for one in self.listed:
            if any(mount.get("Source") == folder for mount in one.get("Mounts") or ()):
                await self.carrier(one)

    async def named(self, wanted: Mapping[str, Any]) -> None:
        """What platform.yml says that no SDK can tell."""
        kind, name = str(wanted.get("kind") or "container"), str(wanted.get("id") or wanted.get("name") or "")
        if kind in (resources.CONTAINER, resources.COMPOSE_SERVICE, "service"):
            for one in self.listed:
                compose = resources.compose_of(resources.labels_of(one))
                if name in (one["Id"], *resources.names_of(one)) or (
                    compose and name in (compose[1], f"{compose[0]}/{compose[1]}")
                ):
                    await self.carrier(one)
        elif kind == resources.NETWORK and (network := await self.reads.network(name)):
            self.found.append(resources.network(self.engine, network))
        elif kind == resources.VOLUME and (volume := await self.reads.volume(name)):
            self.found.append(resources.volume(self.engine, name, volume))
        elif kind == resources.IMAGE and (image := await self.reads.image(name)):
            self.found.append(resources.image(self.engine, image))
        elif kind == resources.PATH:
            self.found.append(resources.path(self.engine, name))

    async def paths(self) -> None:
        """Journal, configuration, program: as paths of the host, or as the volume that they lie in."""
        if self.mine:
            return  # they lie in its mounts, which are all taken already, or in the container itself
        for path in self.facts.paths:
            if path.startswith("/"):
                places = dict.fromkeys((path, _real(path)))
                self.found += [resources.path(self.engine, place) for place in places]
        volumes: Sequence[Attrs] = (await self.reads.get("/volumes") or {}).get("Volumes") or ()
        for one in volumes:
            place = str(one.get("Mountpoint") or "")
            if place and any(path.startswith(place.rstrip("/") + "/") for path in self.facts.paths):
                self.found.append(resources.volume(self.engine, one["Name"], one))


def _real(path: str) -> str:
    """Where links lead; of UICI's own paths, which are at hand."""
    return os.path.realpath(path)


def _runs_in_the_hosts_network(attrs: Attrs) -> bool:
    return attrs.get("State") == "running" and (attrs.get("HostConfig") or {}).get("NetworkMode") == "host"


def _parts(address: str) -> SplitResult:
    return urlsplit(address if "//" in address else f"//{address}")


async def _addresses(host: str) -> list[str]:
    """What it is looked up as; empty where it is not: UICI cannot reach anything by that name then."""
    if not host:
        return []
    try:
        async with asyncio.timeout(LOOKING_UP):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _of_the_machine(address: str, inside: bool) -> bool:
    """Whether it is, or may be, one of the machine that UICI is on. From ``inside`` of a container nobody can tell which of
    the private ones are."""
    if inside and not ipaddress.ip_address(address.partition("%")[0]).is_global:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _addresses_of(attrs: Attrs) -> set[str]:
    """A container's own."""
    ends = ((attrs.get("NetworkSettings") or {}).get("Networks") or {}).values()
    return {str(end[key]) for end in ends for key in ("IPAddress", "GlobalIPv6Address") if end.get(key)}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

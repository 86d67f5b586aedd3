"""Pinning: which real things a call would touch, asked of the engine right before it. Reads only; decides nothing.

What Docker takes only by selector (prune) or what nobody can bound (a command, a privileged container, the engine's own
socket) is ``unknown``; what can be told of it is listed all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from uici.model import Call, Pinned, Resource, Touch
from uici_executors.docker import resources
from uici_executors.docker.made import Attrs
from uici_executors.docker.reach import Reach, wants_of
from uici_executors.docker.reads import Reads
from uici_executors.docker.words import undiscardable

#: Methods that take a running container away, and all that lives in its namespaces.
TAKES = frozenset({"kill", "pause", "remove", "remove_container", "restart", "stop"})
#: Methods that touch a container and leave it running.
KEEPS = frozenset(
    {"commit", "export", "get_archive", "rename", "resize", "start", "unpause", "update", "update_container"}
)
#: Methods that do inside a container what nobody can foresee.
INSIDE = frozenset({"attach", "attach_socket", "exec_create", "exec_resize", "exec_run", "exec_start", "put_archive"})


class View:
    """What the engine has now, asked once for one ``resolve``."""

    def __init__(self, reads: Reads, own: Sequence[Resource], engine: str, listed: list[Attrs]) -> None:
        self.reads, self.own = reads, own
        self.engine, self.listed = engine, listed

    def find(self, name: str) -> Attrs | None:
        """A listed container by full id or exact name; the id first, as Docker does: a name may be another one's id."""
        for one in self.listed:
            if name == one["Id"]:
                return one
        return next((one for one in self.listed if name in resources.names_of(one)), None)

    def touch(self, attrs: Attrs, *, takes: bool = False) -> Touch:
        """One container, with the replicas of its topmost owner."""
        labels = resources.labels_of(attrs)
        compose = resources.compose_of(labels)
        team = [attrs]
        if compose:
            team = [one for one in self.listed if resources.team_of(one) == compose] or team
        return Touch(
            resource=resources.container(self.engine, attrs),
            healthy=sum(resources.healthy(one) for one in team),
            desired=len(team),
            takes=int(takes and resources.healthy(attrs)),
            managed_by="docker-swarm" if resources.SWARM_SERVICE in labels else None,
        )

    async def with_sharers(self, attrs: Attrs) -> list[Touch]:
        """A container that goes down, and those that live in its namespaces and go with it."""
        found = [self.touch(attrs, takes=True)]
        ties = await self.reads.ties(self.listed)
        found += [
            self.touch(one, takes=True)
            for one in self.listed
            if one["Id"] in ties and attrs["Id"] in ties[one["Id"]].spaces
        ]
        return found

    async def image(self, name: str) -> Resource | None:
        attrs = await self.reads.image(name)
        return resources.image(self.engine, attrs) if attrs else None

    def users_of_image(self, image: Resource) -> list[Touch]:
        return [self.touch(one) for one in self.listed if one.get("ImageID") == image.id]

    def users_of_volume(self, name: str) -> list[Touch]:
        users = (one for one in self.listed if any(mount.get("Name") == name for mount in one.get("Mounts") or ()))
        return [self.touch(one, takes=True) for one in users]

    def members_of(self, network: Attrs) -> list[Attrs]:
        """Its running containers, and the stopped ones that are configured for it."""
        found = []
        for one in self.listed:
            ends = (one.get("NetworkSettings") or {}).get("Networks") or {}
            # One that was never started knows a network by its name alone.
            ids = {end.get("NetworkID") or name for name, end in ends.items()}
            if one["Id"] in (network.get("Containers") or {}) or ids & {network["Id"], network.get("Name")}:
                found.append(one)
        return found


async def pin(reads: Reads, call: Call, own: Sequence[Resource]) -> Pinned:
    """The call made exact, and all that it touches. ``own``: the last identity's resources."""
    engine, listed = await asyncio.gather(reads.engine(), reads.containers())
    view = View(reads, own, engine, listed)
    receiver, _, method = call.path.rpartition(".")
    resolver = _RESOLVERS.get(call.path) or _RESOLVERS.get(f"{receiver}.*")
    if resolver is None:
        return Pinned(call=call, unknown=f"nothing here tells what {call.path} touches")
    pinned = await resolver(view, call, method)
    seen: dict[Resource, Touch] = {}
    for touch in pinned.touches:
        kept = seen.get(touch.resource)
        if kept is None or touch.takes > kept.takes:
            seen[touch.resource] = touch
    return replace(pinned, touches=tuple(seen.values()))


Resolver = Callable[[View, Call, str], Awaitable[Pinned]]


def _subject(call: Call, argument: str) -> str:
    """What the call is on: its Resource, or an argument of the low-level client."""
    if call.on is not None:
        return call.on.id
    given = call.arguments.get(argument)
    return str(given.get("Id", "")) if isinstance(given, Mapping) else str(given or "")


def _gone(call: Call, kind: str, name: str) -> Pinned:
    return Pinned(call=call, unknown=f"there is no {kind} {name[:100]!r} of exactly this name or full id")


async def _container(view: View, call: Call, method: str) -> Pinned:
    name = _subject(call, "container")
    attrs = view.find(name)
    if attrs is None:
        return _gone(call, "container", name)
    if call.on is None:
        call = replace(call, arguments={**call.arguments, "container": attrs["Id"]})
    if method in INSIDE:
        return await _inside(view, call, attrs)
    if method in TAKES:
        touches = await view.with_sharers(attrs)
        if method.startswith("remove") and call.arguments.get("v"):
            touches += [
                Touch(resource=resources.volume(view.engine, mount["Name"]))
                for mount in attrs.get("Mounts") or ()
                if mount.get("Type") == "volume"
            ]
        return Pinned(call=call, touches=tuple(touches))
    touches = [view.touch(attrs)]
    if method == "rename":
        touches += await _renamed(view, attrs, str(call.arguments.get("name", "")))
    if method == "commit":
        touches += await _tagged(view, call)
    if method.startswith("update"):
        touches = [view.touch(attrs, takes=await _starves(view.reads, attrs, call.arguments))]
    return Pinned(call=call, touches=tuple(touches))


async def _renamed(view: View, attrs: Attrs, name: str) -> list[Touch]:
    """Who bears the name now, and who answers to it on the networks where it will be heard."""
    reach = Reach(view)
    for end in ((attrs.get("NetworkSettings") or {}).get("Networks") or {}).values():
        if end.get("NetworkID"):
            await reach.aliases({"Id": end["NetworkID"]}, [name], but=attrs["Id"])
    other = view.find(name)
    # Its own project's, so that it stays in its namespace; not its whole labels: what locks that name is its name.
    project = {key: one for key, one in resources.labels_of(attrs).items() if key == resources.PROJECT}
    return [*([view.touch(other)] if other else ()), _named(view, name, project), *reach.touches]


async def _starves(reads: Reads, attrs: Attrs, arguments: Mapping[str, Any]) -> bool:
    """Whether a new memory limit lies below what is in use now: the kernel would kill."""
    from uici_executors.docker.risks import size

    limit = arguments.get("mem_limit")
    if not limit or attrs.get("State") != "running":
        return False
    stats = await reads.get(f"/containers/{attrs['Id']}/stats", stream="false", **{"one-shot": "true"}) or {}
    memory = stats.get("memory_stats") or {}
    inner = memory.get("stats") or {}
    cache = inner.get("total_inactive_file", inner.get("inactive_file", 0))
    return bool(memory.get("usage", 0) - cache > size(limit))


async def _inside(view: View, call: Call, attrs: Attrs) -> Pinned:
    inspected = await view.reads.container(attrs["Id"])
    if inspected is None:
        return _gone(call, "container", attrs["Id"])
    reach = Reach(view)
    await reach.of(inspected.get("HostConfig") or {})
    for mount in inspected.get("Mounts") or ():
        await reach.mount(mount)
    if call.arguments.get("privileged"):
        reach.everything("the command is privileged")
    why = "what is done inside a container cannot be foreseen; declare `touches:` for this step if you know it"
    return Pinned(
        call=call,
        touches=(view.touch(attrs), *reach.touches),
        unknown="; ".join([why, *reach.unbounded]),
    )


def _named(view: View, name: str, labels: Mapping[str, str]) -> Touch:
    """A container that is not there yet: its name and labels, for locks and for what is protected."""
    made = resources.container(view.engine, {"Id": f"new:{name}", "Names": [f"/{name}"], "Labels": dict(labels)})
    return Touch(resource=made)


async def _create(view: View, call: Call, method: str) -> Pinned:
    wants = wants_of(call.path, call.arguments)
    reach = Reach(view)
    await reach.of(wants.host)
    await reach.joins(wants)
    touches = [_named(view, wants.name, wants.labels), *reach.touches]
    return Pinned(call=call, touches=tuple(touches), unknown="; ".join(reach.unbounded) or None)


async def _discard(view: View, call: Call, method: str) -> Pinned:
    attrs = view.find(str(call.arguments.get("container_id", "")))
    why = undiscardable(attrs)
    if why or attrs is None:
        return Pinned(call=call, unknown=why)
    call = replace(call, arguments={"container_id": attrs["Id"]})
    return Pinned(call=call, touches=(view.touch(attrs),))


async def _image(view: View, call: Call, method: str) -> Pinned:
    name = _subject(call, "image")
    image = await view.image(name)
    if image is None:
        return _gone(call, "image", name)
    touches = [Touch(resource=image), *view.users_of_image(image)]
    if method == "tag":
        touches = [Touch(resource=image), *await _tagged(view, call)]
    return Pinned(call=call, touches=tuple(touches))


async def _tagged(view: View, call: Call) -> list[Touch]:
    """The image that bears the name now and would lose it."""
    repository, tag = str(call.arguments.get("repository") or ""), call.arguments.get("tag")
    if not tag and ":" in repository.rpartition("/")[2]:
        repository, _, tag = repository.rpartition(":")
    image = await view.image(f"{repository}:{tag or 'latest'}") if repository else None
    return [Touch(resource=image)] if image else []


async def _pull(view: View, call: Call, method: str) -> Pinned:
    if call.arguments.get("all_tags"):
        return Pinned(call=call, unknown="pulling all tags replaces images that cannot be told before")
    return Pinned(call=call, touches=tuple(await _tagged(view, call)))


async def _network(view: View, call: Call, method: str) -> Pinned:
    name = _subject(call, "net_id")
    network = await view.reads.network(name)
    if network is None:
        return _gone(call, "network", name)
    own = Touch(resource=resources.network(view.engine, network))
    if call.on is None and "net_id" in call.arguments:
        call = replace(call, arguments={**call.arguments, "net_id": network["Id"]})
    if "disconnect" not in method and "connect" not in method:
        members = [view.touch(one, takes=True) for one in view.members_of(network)]
        return Pinned(call=call, touches=(own, *members))
    given = str(call.arguments.get("container") or "")
    attrs = view.find(given)
    if attrs is None:
        return _gone(call, "container", given)
    call = replace(call, arguments={**call.arguments, "container": attrs["Id"]})
    if "disconnect" in method:
        return Pinned(call=call, touches=(view.touch(attrs, takes=True), own))
    reach = Reach(view)
    await reach.aliases(network, list(call.arguments.get("aliases") or ()), but=attrs["Id"])
    return Pinned(call=call, touches=(view.touch(attrs), own, *reach.touches))


async def _new_network(view: View, call: Call, method: str) -> Pinned:
    arguments = call.arguments
    if arguments.get("ipam") or arguments.get("options") or arguments.get("driver") not in (None, "bridge"):
        return Pinned(
            call=call, unknown="a network with addresses, options or a driver of its own may reroute the host"
        )
    name = str(arguments.get("name", ""))
    there = await view.reads.network(name)
    made = resources.network(
        view.engine, there or {"Id": f"new:{name}", "Name": name, "Labels": arguments.get("labels")}
    )
    return Pinned(call=call, touches=(Touch(resource=made),))


async def _volume(view: View, call: Call, method: str) -> Pinned:
    name = _subject(call, "name")
    attrs = await view.reads.volume(name)
    if attrs is None:
        return _gone(call, "volume", name)
    own = Touch(resource=resources.volume(view.engine, name, attrs))
    return Pinned(call=call, touches=(own, *view.users_of_volume(name)))


async def _new_volume(view: View, call: Call, method: str) -> Pinned:
    if call.arguments.get("driver_opts") or call.arguments.get("driver") not in (None, "local"):
        return Pinned(call=call, unknown="a volume with a driver or options of its own may be any path or place")
    name = str(call.arguments.get("name") or "")
    return Pinned(call=call, touches=(Touch(resource=resources.volume(view.engine, name)),) if name else ())


async def _prune(view: View, call: Call, method: str) -> Pinned:
    """All that may go. What Docker takes by selector is refused; list it, then remove each."""
    what = call.path.replace("api.prune_", "").removesuffix(".prune")
    touches: list[Touch] = []
    if what == "containers":
        touches = [
            view.touch(one) for one in view.listed if one.get("State") not in ("running", "paused", "restarting")
        ]
    elif what == "images":
        used = {one.get("ImageID") for one in view.listed}
        images = await view.reads.get("/images/json", all=0) or ()
        touches = [Touch(resource=resources.image(view.engine, one)) for one in images if one["Id"] not in used]
    elif what == "networks":
        networks = await view.reads.get("/networks") or ()
        touches = [Touch(resource=resources.network(view.engine, one)) for one in networks if not view.members_of(one)]
    elif what == "volumes":
        volumes = (await view.reads.get("/volumes") or {}).get("Volumes") or ()
        unused = [one for one in volumes if not view.users_of_volume(one["Name"])]
        touches = [Touch(resource=resources.volume(view.engine, one["Name"], one)) for one in unused]
    why = f"{call.path} takes what matches when it runs, not what was looked at; list and remove each instead"
    return Pinned(call=call, touches=tuple(touches), unknown=why)


_RESOLVERS: Mapping[str, Resolver] = {
    "replacement.discard": _discard,
    "Container.*": _container,
    **{f"api.{method}": _container for method in TAKES | KEEPS | INSIDE if not method.startswith("exec_")},
    "api.exec_create": _container,
    "containers.create": _create,
    "containers.run": _create,
    "api.create_container": _create,
    "api.create_container_from_config": _create,
    "Image.remove": _image,
    "Image.save": _image,
    "Image.tag": _image,
    "images.remove": _image,
    "images.pull": _pull,
    "api.pull": _pull,
    "api.remove_image": _image,
    "api.tag": _image,
    "api.get_image": _image,
    "Network.*": _network,
    "api.remove_network": _network,
    "api.connect_container_to_network": _network,
    "api.disconnect_container_from_network": _network,
    "networks.create": _new_network,
    "api.create_network": _new_network,
    "Volume.*": _volume,
    "api.remove_volume": _volume,
    "volumes.create": _new_volume,
    "api.create_volume": _new_volume,
    **{f"{kind}.prune": _prune for kind in ("containers", "images", "networks", "volumes")},
    **{f"api.prune_{kind}": _prune for kind in ("containers", "images", "networks", "volumes")},
}

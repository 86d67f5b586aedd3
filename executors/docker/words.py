"""The executor's own words, for what docker-py has none: three, all documented in the README beside this file.

``probe.check`` looks at a service from outside. ``replacement.plan`` says how containers would be made again from another
image. ``replacement.discard`` removes a container that a replacement set aside, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from uici.executor import probe
from uici_executors.docker import resources
from uici_executors.docker.made import Attrs
from uici_executors.docker.reads import Reads
from uici_executors.docker.sdk import Method, Parameter

#: Labels of a container that a replacement made.
DEPLOYMENT, PREVIOUS_IMAGE = "uici.deployment", "uici.previous-image"

#: What an image gives by default, and a container of another image must not inherit from the old one.
_DEFAULTS = ("Cmd", "Entrypoint", "WorkingDir", "User", "StopSignal", "Healthcheck", "Shell")
_KEPT = ("Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Cmd",
         "Entrypoint", "WorkingDir", "StopSignal", "StopTimeout", "Healthcheck", "Shell")  # fmt: skip
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")

_TEXT, _NUMBER, _LIST = frozenset({"string"}), frozenset({"number"}), frozenset({"array"})

PROBE, PLAN, DISCARD = "probe.check", "replacement.plan", "replacement.discard"
METHODS: Mapping[str, Method] = {
    PROBE: Method(PROBE, {"url": Parameter(True, _TEXT), "timeout_seconds": Parameter(False, _NUMBER)}),
    PLAN: Method(
        PLAN,
        {
            "container_ids": Parameter(True, _LIST),
            "image": Parameter(True, _TEXT),
            "deployment": Parameter(True, _TEXT),
        },
    ),
    DISCARD: Method(DISCARD, {"container_id": Parameter(True, _TEXT)}),
}


class RefusedError(ValueError):
    """The word does not do that; nothing was sent."""


async def plan(reads: Reads, container_ids: Sequence[str], image: str, deployment: str) -> dict[str, Any]:
    """``containers``: for each its ``id``, ``name``, ``old_name``, ``new_name`` and ``config`` (for
    ``api.create_container_from_config``). ``connections``: the networks beyond the first (``net_id``, ``container``,
    ``aliases``, ``ipv4_address``), which the Engine API before 1.44 takes only afterwards."""
    if not image:
        raise RefusedError("no image is given, and none is known to have run before; deploy one by its name")
    planned, connections = [], []
    for key in container_ids:
        attrs = await reads.container(key)
        if attrs is None:
            raise RefusedError(f"there is no container {key[:12]!r} any more")
        name = resources.names_of(attrs)[0]
        if (attrs.get("HostConfig") or {}).get("AutoRemove"):
            raise RefusedError(f"{name} removes itself when it stops (--rm), so it could not be swapped back")
        new_name = f"{name}.uici-new-{deployment}"
        config, further = await _config(reads, attrs, image, deployment)
        planned.append(
            {
                "id": attrs["Id"],
                "name": name,
                "new_name": new_name,
                "old_name": f"{name}.uici-old-{deployment}",
                "config": config,
            }
        )
        connections += [{**one, "container": new_name} for one in further]
    return {"containers": planned, "connections": connections}


async def _config(
    reads: Reads, attrs: Attrs, image: str, deployment: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A container's own configuration without what its old image gave it."""
    config: Mapping[str, Any] = attrs["Config"]
    base: Mapping[str, Any] = (await reads.image(attrs["Image"]) or {}).get("Config") or {}
    made: dict[str, Any] = {
        key: config[key]
        for key in _KEPT
        if config.get(key) not in (None, "", []) and not (key in _DEFAULTS and config[key] == base.get(key))
    }
    if "Entrypoint" in made and "Cmd" not in made and config.get("Cmd"):
        made["Cmd"] = config["Cmd"]  # with an entrypoint of its own, the image's command would be dropped
    made["Image"] = image
    if config.get("Hostname") not in (None, "", attrs["Id"][:12]) and _own_network(attrs):
        made["Hostname"] = config["Hostname"]
    made["Env"] = [one for one in config.get("Env") or () if one not in (base.get("Env") or ())]
    for key in ("ExposedPorts", "Volumes"):
        own = {name: value for name, value in (config.get(key) or {}).items() if name not in (base.get(key) or {})}
        if own:
            made[key] = own
    labels = {
        name: value
        for name, value in (config.get("Labels") or {}).items()
        if (base.get("Labels") or {}).get(name) != value
    }
    previous = config["Image"] if config["Image"] != image else attrs["Image"]
    made["Labels"] = {**labels, DEPLOYMENT: deployment, PREVIOUS_IMAGE: previous}
    made["HostConfig"] = {**attrs["HostConfig"], "Binds": _binds(attrs)}
    first, further = _endpoints(attrs)
    if first:
        made["NetworkingConfig"] = {"EndpointsConfig": first}
    return made, further


def _own_network(attrs: Attrs) -> bool:
    mode = str(attrs["HostConfig"].get("NetworkMode") or "")
    return mode != "host" and not mode.startswith("container:")


def _binds(attrs: Attrs) -> list[str]:
    """With the anonymous volumes, so that what was written there is still there."""
    host = attrs["HostConfig"]
    binds = list(host.get("Binds") or ())
    named = {one.split(":")[1] for one in binds if ":" in one} | {one.get("Target") for one in host.get("Mounts") or ()}
    binds += [
        f"{mount['Name']}:{mount['Destination']}:{'rw' if mount.get('RW', True) else 'ro'}"
        for mount in attrs.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount["Destination"] not in named and _ANONYMOUS.fullmatch(mount["Name"])
    ]
    return binds


def _endpoints(attrs: Attrs) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The network it is made with, and those that it is connected to afterwards."""
    networks = (attrs.get("NetworkSettings") or {}).get("Networks") or {}
    mode = str(attrs["HostConfig"].get("NetworkMode") or "")
    first: dict[str, Any] = {}
    further = []
    for name, end in networks.items():
        if name in ("none", "host"):
            continue
        aliases = [one for one in end.get("Aliases") or () if one != attrs["Id"][:12]]
        address = (end.get("IPAMConfig") or {}).get("IPv4Address")
        if name == mode or end.get("NetworkID") == mode or (mode == "default" and name == "bridge"):
            ipam = {"IPAMConfig": {"IPv4Address": address}} if address else {}
            first[name] = {**({"Aliases": aliases} if aliases else {}), **ipam}
        else:
            further.append({"net_id": end["NetworkID"], "aliases": aliases, "ipv4_address": address})
    return first, further


async def discardable(reads: Reads, container_id: str) -> str:
    """The full id of a container that ``replacement.discard`` may remove; raises RefusedError for any other."""
    attrs = await reads.container(container_id)
    why = undiscardable(attrs)
    if why or attrs is None:
        raise RefusedError(why or "it is gone")
    return str(attrs["Id"])


def undiscardable(attrs: Attrs | None) -> str | None:
    """Why a container, inspected or listed, is none that a replacement set aside."""
    if attrs is None:
        return "there is no such container"
    names = resources.names_of(attrs)
    if not any(resources.set_aside(name) for name in names):
        return f"{', '.join(names)} was not set aside by a deployment; remove_service removes services"
    state = attrs.get("State")
    status = state.get("Status") if isinstance(state, Mapping) else state
    return f"{names[0]} is {status}" if status in ("running", "paused", "restarting") else None


def probed(url: str, timeout_seconds: float = 2.0) -> dict[str, Any]:
    """Blocks."""
    return probe.check(url, timeout_seconds)

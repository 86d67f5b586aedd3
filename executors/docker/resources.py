"""Docker's objects as Resources: kind, immutable id, every name they answer to, and their topmost owner. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from uici.model import Resource

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
DEPENDS_ON = "com.docker.compose.depends_on"
SWARM_SERVICE = "com.docker.swarm.service.name"

CONTAINER, COMPOSE_SERVICE, NETWORK, VOLUME, IMAGE, PATH = (
    "container",
    "compose_service",
    "network",
    "volume",
    "image",
    "path",
)

_SET_ASIDE = re.compile(r".+\.uici-(?:old|new)-[0-9A-Za-z-]+")


def set_aside(name: str) -> bool:
    """Whether a name says that a deployment put this container beside its service: not, or no longer, a part of it."""
    return _SET_ASIDE.fullmatch(name) is not None


def labels_of(attrs: Mapping[str, Any]) -> dict[str, str]:
    """Of an inspected container, or of a listed one."""
    return dict(attrs.get("Config", attrs).get("Labels") or {})


def names_of(attrs: Mapping[str, Any]) -> list[str]:
    """A container's own names, without links (``/other/alias``)."""
    if "Names" in attrs:
        return [one[1:] for one in attrs["Names"] or () if one.count("/") == 1]
    return [attrs["Name"].lstrip("/")]


def compose_of(labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Project and service, where Compose runs it as one; a one-off ``compose run`` container belongs to nobody."""
    if labels.get(PROJECT) and labels.get(SERVICE) and labels.get(ONE_OFF, "False").lower() != "true":
        return labels[PROJECT], labels[SERVICE]
    return None


def team_of(attrs: Mapping[str, Any]) -> tuple[str, str] | None:
    """The Compose service that this container is a working part of."""
    compose = compose_of(labels_of(attrs))
    return None if compose and any(set_aside(name) for name in names_of(attrs)) else compose


def container(engine: str, attrs: Mapping[str, Any]) -> Resource:
    """Of an inspected or a listed container."""
    labels, names = labels_of(attrs), names_of(attrs)
    name = names[0] if names else attrs["Id"][:12]
    compose = compose_of(labels)
    return Resource(
        engine=engine,
        kind=CONTAINER,
        id=attrs["Id"],
        name=name,
        namespace=labels.get(PROJECT),
        names=(*_own_names(attrs), *(_compose_names(*compose) if compose else ())),
        labels=labels,
        owner=f"compose/{compose[0]}/{compose[1]}" if compose else f"name/{name}",
    )


def compose_service(engine: str, project: str, service: str, members: Sequence[Mapping[str, Any]]) -> Resource:
    """One Compose service with all its containers. Its labels are those of its first container."""
    labels = labels_of(members[0]) if members else {PROJECT: project, SERVICE: service}
    names = [*_compose_names(project, service)]
    for one in members:
        names += _own_names(one)
    return Resource(
        engine=engine,
        kind=COMPOSE_SERVICE,
        id=f"{project}/{service}",
        name=service,
        namespace=project,
        names=tuple(names),
        labels=labels,
        owner=f"compose/{project}/{service}",
    )


def _own_names(attrs: Mapping[str, Any]) -> list[str]:
    """What a container answers to. Docker lets it bear another one's full id as its name: that one is not it."""
    return [*_no_ids(names_of(attrs)), attrs["Id"], attrs["Id"][:12]]


def _no_ids(names: Sequence[str]) -> list[str]:
    """Without what is as long as a full id, so that whatever has 64 letters among a Resource's names is its own id."""
    return [one for one in names if len(one) != 64]


def _compose_names(project: str, service: str) -> tuple[str, ...]:
    return tuple(_no_ids([service, f"{project}/{service}"]))


def network(engine: str, attrs: Mapping[str, Any]) -> Resource:
    labels = dict(attrs.get("Labels") or {})
    return Resource(
        engine=engine,
        kind=NETWORK,
        id=attrs["Id"],
        name=attrs["Name"],
        namespace=labels.get(PROJECT),
        names=(attrs["Name"], attrs["Id"], attrs["Id"][:12]),
        labels=labels,
    )


def volume(engine: str, name: str, attrs: Mapping[str, Any] | None = None) -> Resource:
    labels = dict((attrs or {}).get("Labels") or {})
    return Resource(
        engine=engine, kind=VOLUME, id=name, name=name, namespace=labels.get(PROJECT), names=(name,), labels=labels
    )


def image(engine: str, attrs: Mapping[str, Any]) -> Resource:
    tags = [one for one in attrs.get("RepoTags") or () if one != "<none>:<none>"]
    digest = attrs["Id"].removeprefix("sha256:")
    return Resource(
        engine=engine,
        kind=IMAGE,
        id=attrs["Id"],
        name=tags[0] if tags else attrs["Id"],
        names=(*tags, attrs["Id"], digest, digest[:12], *(attrs.get("RepoDigests") or ())),
        labels=dict((attrs.get("Config") or attrs).get("Labels") or {}),
    )


def path(engine: str, name: str) -> Resource:
    """A path of the engine's host."""
    return Resource(engine=engine, kind=PATH, id=name, name=name, names=(name,))


def healthy(attrs: Mapping[str, Any]) -> bool:
    """Of an inspected or a listed container: it runs, is not paused, and nothing says that it is ill."""
    state = attrs.get("State")
    if isinstance(state, Mapping):
        ill = (state.get("Health") or {}).get("Status") == "unhealthy"
        return state.get("Status") == "running" and not ill
    return state == "running" and "(unhealthy)" not in attrs.get("Status", "")

"""What docker-py can be asked, read from the installed docker-py itself: paths, arguments, their types, answers.

A path is ``containers.get`` (a collection of the client), ``Container.restart`` (a model's method), ``api.inspect_network``
(the low-level client) or ``info`` (the client). Nothing here talks to an engine.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import docker
import docker.errors
import requests
from docker.models import configs, containers, images, networks, nodes, plugins, secrets, services, swarm, volumes
from docker.models.resource import Collection, Model

from uici.model.record import dataclass

#: Attributes of the client that hold collections; ``swarm`` is a model of its own.
COLLECTIONS: Mapping[str, type] = {
    "configs": configs.ConfigCollection,
    "containers": containers.ContainerCollection,
    "images": images.ImageCollection,
    "networks": networks.NetworkCollection,
    "nodes": nodes.NodeCollection,
    "plugins": plugins.PluginCollection,
    "secrets": secrets.SecretCollection,
    "services": services.ServiceCollection,
    "swarm": swarm.Swarm,
    "volumes": volumes.VolumeCollection,
}
MODELS: Mapping[str, type] = {
    one.__name__: one
    for one in (
        configs.Config,
        containers.Container,
        images.Image,
        images.RegistryData,
        networks.Network,
        nodes.Node,
        plugins.Plugin,
        secrets.Secret,
        services.Service,
        volumes.Volume,
    )
}
#: The collection through which a model is made again from its id.
COLLECTION_OF: Mapping[str, str] = {
    model.__name__: name for name, one in COLLECTIONS.items() if (model := getattr(one, "model", None))
}
CLIENT = frozenset({"df", "events", "info", "login", "ping", "version"})

#: Where ``*args`` and ``**kwargs`` go: the method of ``APIClient`` behind, and which of its arguments are given already.
BEHIND: Mapping[str, tuple[str, frozenset[str]]] = {
    key: (method, frozenset(given.split()))
    for key, method, given in (
        ("Container.attach", "attach", "container"),
        ("Container.attach_socket", "attach_socket", "container"),
        ("Container.commit", "commit", "container"),
        ("Container.logs", "logs", "container"),
        ("Container.remove", "remove_container", "container"),
        ("Container.restart", "restart", "container"),
        ("Container.start", "start", "container"),
        ("Container.stats", "stats", "container"),
        ("Container.stop", "stop", "container"),
        ("Container.top", "top", "container"),
        ("Container.update", "update_container", "container"),
        ("Container.wait", "wait", "container"),
        ("Image.tag", "tag", "image"),
        ("Network.connect", "connect_container_to_network", "container net_id"),
        ("Network.disconnect", "disconnect_container_from_network", "container net_id"),
        ("Service.logs", "service_logs", "service"),
        ("swarm.init", "create_swarm_spec", ""),
        ("swarm.join", "join_swarm", ""),
        ("swarm.leave", "leave_swarm", ""),
        ("swarm.update", "create_swarm_spec", ""),
        ("configs.create", "create_config", ""),
        ("configs.list", "configs", ""),
        ("events", "events", ""),
        ("images.build", "build", ""),
        ("images.prune_builds", "prune_builds", ""),
        ("images.pull", "pull", "repository stream"),
        ("images.push", "push", "repository"),
        ("images.remove", "remove_image", ""),
        ("images.search", "search", ""),
        ("info", "info", ""),
        ("login", "login", ""),
        ("networks.create", "create_network", ""),
        ("networks.get", "inspect_network", "net_id"),
        ("networks.list", "networks", ""),
        ("nodes.list", "nodes", ""),
        ("ping", "ping", ""),
        ("secrets.create", "create_secret", ""),
        ("secrets.list", "secrets", ""),
        ("services.list", "services", ""),
        ("version", "version", ""),
        ("volumes.create", "create_volume", "name"),
        ("volumes.list", "volumes", ""),
    )
}
#: Arguments that only the docker-py's own code names.
_RUN = frozenset(containers.RUN_CREATE_KWARGS) | frozenset(containers.RUN_HOST_CONFIG_KWARGS)
_RUN |= {"ports", "volumes", "network", "networking_config"}
_SERVICE = frozenset(services.CREATE_SERVICE_KWARGS) | frozenset(services.CONTAINER_SPEC_KWARGS)
_SERVICE |= frozenset(services.TASK_TEMPLATE_KWARGS) | frozenset(services.PLACEMENT_KWARGS)
_SERVICE |= {"resources", "restart_policy", "networks", "placement", "env", "mounts", "force_update", "constraints"}
EXTRA: Mapping[str, frozenset[str]] = {
    "containers.create": _RUN - {"version", "image", "command"},
    "containers.run": (_RUN | {"stream"}) - {"version", "image", "command"},
    "networks.list": frozenset({"greedy"}),
    "services.create": _SERVICE,
    "Service.update": _SERVICE | {"fetch_current_spec"},
}
#: Type of a ``run`` argument that no docstring of the method types by itself.
_ANSWERS: Mapping[str, str] = {
    "containers.create": "Container",
    "images.get_registry_data": "RegistryData",
    "images.load": "list[Image]",
    "services.create": "Service",
}
_SESSION = frozenset(dir(requests.Session))
_JSON = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "dict": "object",
    "dictionary": "object",
    "list": "array",
    "tuple": "array",
    "none": "null",
}
_ARGUMENT = re.compile(r"^ {4,20}`{0,2}(\w+)`{0,2} \(([^)]*(?:\([^)]*\)[^)]*)*)\):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """``types``: JSON types that its docstring names; empty where it does not say, or names a class."""

    required: bool
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Method:
    """One thing that docker-py can be asked. ``answer``: the model it gives, ``list[…]`` of it, or None for plain data."""

    path: str
    parameters: Mapping[str, Parameter]
    answer: str | None = None


@cache
def find(path: str) -> Method | None:
    """None where the installed docker-py has no such method."""
    receiver, _, name = path.rpartition(".")
    function = _function(receiver, name)
    if function is None:
        return None
    parameters, open_ended = _own(function)
    if open_ended:
        behind = BEHIND.get(path)
        if behind:
            inner, _ = _own(getattr(docker.APIClient, behind[0]))
            parameters = {
                **{key: one for key, one in inner.items() if key not in behind[1] and key not in parameters},
                **parameters,
            }
        types = _typed(function)
        parameters = {
            **{key: Parameter(False, types.get(key, frozenset())) for key in EXTRA.get(path, ())},
            **parameters,
        }
    return Method(path, parameters, _answer(receiver, name))


def _function(receiver: str, name: str) -> Callable[..., Any] | None:
    if name.startswith("_") or name in ("prepare_model", "close"):
        return None
    owner: type | None
    if receiver == "":
        owner = docker.DockerClient if name in CLIENT else None
    elif receiver == "api":
        owner = docker.APIClient if name not in _SESSION else None
    else:
        owner = COLLECTIONS.get(receiver) or MODELS.get(receiver)
    found = inspect.getattr_static(owner, name, None) if owner else None
    if not inspect.isfunction(found):
        return None
    return None if found in (Collection.list, Collection.get, Collection.create) else found


def _own(function: Callable[..., Any]) -> tuple[dict[str, Parameter], bool]:
    """A function's own parameters with the types of its docstring, and whether it takes others."""
    types = _typed(function)
    parameters, open_ended = {}, False
    for one in list(inspect.signature(function).parameters.values())[1:]:
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            open_ended = True
        else:
            parameters[one.name] = Parameter(one.default is one.empty, types.get(one.name, frozenset()))
    return parameters, open_ended


def _typed(function: Callable[..., Any]) -> dict[str, frozenset[str]]:
    """JSON types of the arguments that a docstring describes (``timeout (int): …``)."""
    found = {}
    for name, text in _ARGUMENT.findall(function.__doc__ or ""):
        words = [word for word in re.split(r"[\s,|/]+|\bor\b", text.replace("`", "").lower()) if word]
        words = [word for word in words if word not in ("optional", "of", "a", "an")]
        if words and all(word in _JSON for word in words):
            types = {_JSON[word] for word in words}
            found[name] = frozenset(types | ({"integer"} if "number" in types else set()))
    return found


def _answer(receiver: str, name: str) -> str | None:
    path = f"{receiver}.{name}"
    if path in _ANSWERS:
        return _ANSWERS[path]
    model = getattr(COLLECTIONS.get(receiver), "model", None)
    if model is not None and name in ("get", "create", "pull", "install"):
        return str(model.__name__)
    if model is not None and name == "list":
        return f"list[{model.__name__}]"
    if name == "reload" and issubclass(MODELS.get(receiver, object), Model):
        return receiver
    return "Image" if path == "RegistryData.pull" else None


def names(receiver: str) -> list[str]:
    """All that a receiver can be asked; for a suggestion."""
    if receiver == "":
        return sorted(CLIENT | COLLECTIONS.keys() | {"api"})
    owner = docker.APIClient if receiver == "api" else COLLECTIONS.get(receiver) or MODELS.get(receiver)
    return [one for one in dir(owner) if find(f"{receiver}.{one}")] if owner else []


def did_you_mean(word: str, among: list[str]) -> str:
    """A hint, or the choice where it is short; empty where neither would help."""
    close = difflib.get_close_matches(word, among, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(among)}" if 0 < len(among) <= 20 else ""


@cache
def errors() -> frozenset[str]:
    """Names that ``accept`` and ``retry`` may use."""
    return frozenset(
        name
        for module in (docker.errors, requests.exceptions)
        for name, one in vars(module).items()
        if inspect.isclass(one) and issubclass(one, Exception)
    )

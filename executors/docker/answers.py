"""What docker-py gives as plain data: no live object, no secret, times that compare as text.

The values of a container's environment variables may be secrets: they are recorded as references,
``NAME=${docker:<container id>:NAME}``, which ``filled`` turns into the values again when a configuration is sent, from
that container. Nothing else is hidden here; the engine redacts what is printed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from types import GeneratorType
from typing import Any

from docker.models.containers import Container, ExecResult
from docker.models.images import Image
from docker.models.resource import Model

from uici.model import normalised

#: Longest text and list that a recorded answer keeps; an answer is journaled.
LONGEST = 1_000_000

_SCALARS = frozenset({str, int, float, bool})
_TIMES = frozenset({"Created", "Start", "End", "LastTagTime"})
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_REFERENCE = re.compile(r"([^=]+)=\$\{docker:([0-9a-f]{64}):([^}=]+)\}")


def plain(value: Any) -> Any:
    """JSON-like data of whatever a call gave."""
    kind = type(value)
    if value is None or kind in _SCALARS:
        return value
    if kind is dict or isinstance(value, Mapping):
        data = {str(key): _time(key, one) if type(one) is str else plain(one) for key, one in value.items()}
        return _without_values(data)
    if kind is list or isinstance(value, list | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, Model):
        return of_model(value)
    if isinstance(value, ExecResult):
        return {"exit_code": value.exit_code, "output": plain(value.output)}
    if isinstance(value, bytes | bytearray):
        return value[-LONGEST:].decode("utf-8", "replace")
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, GeneratorType) or (isinstance(value, Iterable) and not isinstance(value, str)):
        return _drained(value)
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _drained(chunks: Iterable[Any]) -> Any:
    """Of a generator: text where it gives bytes, else a list; the first million, no more."""
    taken: list[Any] = []
    length = 0
    for chunk in chunks:
        taken.append(chunk)
        length += len(chunk) if isinstance(chunk, bytes) else 1
        if length >= LONGEST:
            break
    if taken and all(isinstance(one, bytes) for one in taken):
        return b"".join(taken).decode("utf-8", "replace")
    return [plain(one) for one in taken]


def of_model(model: Any) -> dict[str, Any]:
    """Docker's ``attrs`` with ``id``, ``name``, ``status``, ``labels`` and a container's ``image`` beside them."""
    attrs: dict[str, Any] = plain(model.attrs)
    data = {**attrs, "id": model.id, "name": getattr(model, "name", None) or model.id}
    if isinstance(model, Container):
        sparse = "Names" in attrs
        data["name"] = (attrs["Names"] or [""])[0].lstrip("/") if sparse else data["name"]
        data["status"] = model.status if "State" in attrs else "unknown"
        data["labels"] = dict((attrs if sparse else attrs.get("Config", {})).get("Labels") or {})
        data["image"] = attrs.get("Image", "") if sparse else attrs.get("Config", {}).get("Image", "")
    elif isinstance(model, Image):
        data["tags"] = list(model.tags)
        data["name"] = model.tags[0] if model.tags else model.id
    return data


def _without_values(data: dict[str, Any]) -> dict[str, Any]:
    """An inspected container, or a plan of one, with references for the values of its variables."""
    for id_key, config_key in (("Id", "Config"), ("id", "config")):
        key, config = data.get(id_key), data.get(config_key)
        if isinstance(key, str) and _CONTAINER.fullmatch(key) and isinstance(config, dict) and config.get("Env"):
            data[config_key] = {**config, "Env": [_hidden(key, one) for one in config["Env"]]}
    for holder in ("ContainerSpec", "Settings"):  # a swarm service's, a plugin's: nothing here sends them again
        held = data.get(holder)
        if isinstance(held, dict) and isinstance(held.get("Env"), list):
            data[holder] = {**held, "Env": [_struck(str(one)) for one in held["Env"]]}
    if isinstance(data.get("JoinTokens"), dict):  # whoever has a swarm's may become one of its machines
        data["JoinTokens"] = dict.fromkeys(data["JoinTokens"], "***")
    return data


def _struck(variable: str) -> str:
    name, equals, _ = variable.partition("=")
    return f"{name}=***" if equals else variable


def _hidden(container: str, variable: str) -> str:
    name, equals, _ = variable.partition("=")
    return f"{name}=${{docker:{container}:{name}}}" if equals else variable


async def filled(
    arguments: Mapping[str, Any], environment: Callable[[str], Awaitable[Mapping[str, str]]]
) -> dict[str, Any]:
    """A call's arguments with the references in its configuration made values again. ``environment``: the variables of a
    container, by its id.

    Nowhere else, and only as they are recorded (the same name on both sides): what somebody wrote into a parameter must not
    hand out another container's secret. Raises ValueError where that container has no such variable any more: made without
    it, the new one would run with nothing in the place of a secret.
    """
    config = arguments.get("config")
    if not isinstance(config, Mapping) or not isinstance(config.get("Env"), list):
        return dict(arguments)
    known: dict[str, Mapping[str, str]] = {}
    variables = []
    for one in config["Env"]:
        found = _REFERENCE.fullmatch(one) if isinstance(one, str) else None
        if found is None or found[1] != found[3]:
            variables.append(one)
            continue
        name, container = found[1], found[2]
        if container not in known:
            known[container] = await environment(container)
        if name not in known[container]:
            raise ValueError(
                f"config.Env: the value of {name} was to be read from container {container[:12]}, which is gone or has none; "
                "ask again, so that it is planned anew"
            )
        variables.append(f"{name}={known[container][name]}")
    return {**arguments, "config": {**config, "Env": variables}}


def _time(key: Any, value: str) -> str:
    if value[:1].isdigit() and (key in _TIMES or str(key).endswith("At")):
        try:
            return normalised(value)
        except ValueError:
            return value
    return value

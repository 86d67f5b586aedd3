"""Secrets are references (``${env:NAME}``, ``${file:PATH}``) until right before they are needed. Reads only what is named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uici.model import ConfigurationError

REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_MOST = 1024 * 1024


def secrets(data: Any, environ: Mapping[str, str] = os.environ) -> Any:
    """The data with every reference, however deep, filled in; raises ConfigurationError that names a missing one.

    Of a file one newline at its end is dropped. ``$${`` is a literal ``${``.
    """
    if isinstance(data, str):
        if "${" not in data:
            return data
        return "${".join(
            REFERENCE.sub(lambda found: _value(found[1], found[2], environ), part) for part in data.split("$${")
        )
    if isinstance(data, Mapping):
        return {key: secrets(value, environ) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [secrets(value, environ) for value in data]
    return data


def references(data: Any) -> frozenset[str]:
    """Every reference in the data, as it is written."""
    if isinstance(data, str):
        return frozenset(found[0] for found in REFERENCE.finditer(data.replace("$${", "")))
    if isinstance(data, Mapping):
        data = data.values()
    return (
        frozenset().union(*map(references, data))
        if isinstance(data, (list, tuple)) or hasattr(data, "__iter__")
        else frozenset()
    )


def misspelt(data: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The trail of each text with a ``${`` that begins no reference and is not written ``$${``: it would stay text."""
    if isinstance(data, str):
        if any("${" in REFERENCE.sub("", part) for part in data.split("$${")):
            yield at
    elif isinstance(data, (Mapping, list)):
        for key, inner in data.items() if isinstance(data, Mapping) else enumerate(data):
            yield from misspelt(inner, (*at, key))


def _value(kind: str, name: str, environ: Mapping[str, str]) -> str:
    if kind == "env":
        if name not in environ:
            raise ConfigurationError(f"${{env:{name}}}: the environment has no variable {name}; set it")
        return environ[name]
    try:
        with Path(name).open("rb") as file:
            raw = file.read(_MOST + 1)
        text = raw.decode("utf-8")
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise ConfigurationError(f"${{file:{name}}}: cannot be read: {said}; check the file and its rights") from None
    if len(raw) > _MOST:
        raise ConfigurationError(f"${{file:{name}}}: is larger than 1 MiB; that is no secret")
    return text.removesuffix("\n").removesuffix("\r")

"""The installed client's own source, read and never imported: what it exports, and the types that it writes down.

Importing the client's models takes half a second and half a hundred megabytes; ``check`` needs a handful of lines of
them. The client is generated, so its lines have one form each; a test compares all that is read here with the imported
client. Nothing here talks to a server.
"""

from __future__ import annotations

import ast
import importlib.util
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

_EXPORT = re.compile(r'^        "(\w+)": "\.(api|models)\.(\w+)",$', re.MULTILINE)
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_SCALARS: Mapping[str, str] = {
    "StrictStr": "string",
    "str": "string",
    "datetime": "string",
    "bytes": "string",
    "StrictInt": "integer",
    "int": "integer",
    "StrictFloat": "number",
    "float": "number",
    "StrictBool": "boolean",
    "bool": "boolean",
    "BaseModel": "object",
}


@dataclass(frozen=True, slots=True)
class Type:
    """``kinds``: the JSON types it may have; empty: any. ``model``: the client's model of an object. ``of``: the type of
    a list's elements, or of the values of a map whose keys are free."""

    kinds: frozenset[str] = frozenset()
    model: str | None = None
    of: Type | None = None


ANY = Type()


@cache
def _folder() -> Path:
    spec = importlib.util.find_spec("kubernetes")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package kubernetes is not installed; install it with: pip install 'uici[kubernetes]'")
    return Path(next(iter(spec.submodule_search_locations))) / "client"


@cache
def _exports() -> tuple[str, Mapping[str, Path]]:
    """The client's version, and the file of each API class and model. Raises ImportError where it is not installed."""
    text = (_folder() / "__init__.py").read_text(encoding="utf-8")
    version = _VERSION.search(text)
    files = {name: _folder() / folder / f"{module}.py" for name, folder, module in _EXPORT.findall(text)}
    if not files or version is None:
        raise ImportError("the installed package kubernetes is not of the generation that this executor reads (37)")
    return version[1], files


def version() -> str:
    return _exports()[0]


def names(folder: str) -> list[str]:
    """All API classes (``api``) or models (``models``)."""
    return [name for name, file in _exports()[1].items() if file.parent.name == folder]


def known(name: str, folder: str) -> bool:
    file = _exports()[1].get(name)
    return file is not None and file.parent.name == folder


@cache
def text(name: str) -> mmap.mmap:
    """The source of the module that exports an API class: mapped, since the largest has 4 MB and a catalog needs a few
    hundred lines of it. KeyError: there is none."""
    with _exports()[1][name].open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def model_text(name: str) -> str:
    """The source of a model's class up to its fields' end. KeyError: there is none."""
    whole = _exports()[1][name].read_text(encoding="utf-8")
    begin = whole.index(f"\nclass {name}(")
    return whole[begin : whole.index("\n    openapi_types: ", begin)]


@lru_cache(maxsize=4096)
def type_of(annotation: str) -> Type:
    """Of an annotation as the client writes it (``Optional[Dict[str, V1Volume]]``)."""
    return _type(ast.parse(annotation, mode="eval").body)


def _type(node: ast.expr) -> Type:
    if isinstance(node, ast.Name):
        if node.id in _SCALARS:
            return Type(frozenset({_SCALARS[node.id]}))
        return Type(frozenset({"object"}), node.id) if known(node.id, "models") else ANY
    if isinstance(node, ast.BinOp):
        return _either([_type(node.left), _type(node.right)])
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        return ANY
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    match node.value.id:
        case "Optional" | "Annotated":
            return _type(inner[0])
        case "Union":
            return _either([_type(one) for one in inner])
        case "List":
            return Type(frozenset({"array"}), of=_type(inner[0]))
        case "Dict":
            return Type(frozenset({"object"}), of=_type(inner[1]))
    return ANY


def _either(types: list[Type]) -> Type:
    if any(not one.kinds for one in types):
        return ANY
    return types[0] if len(set(types)) == 1 else Type(frozenset().union(*(one.kinds for one in types)))

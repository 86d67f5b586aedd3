"""What a body would make of an object, and which fields of it change. Pure; sends nothing, decides nothing.

A strategic merge is followed as far as it matters here: maps exactly, lists of named things by their names, and where a
directive (``$patch``) could take something away, what was there is kept beside what comes, so that no field that might
change is missed. A JSON Patch is followed exactly (RFC 6902).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
#: Of a field: names of maps, and for a thing in a list the thing itself.
Path = tuple[Any, ...]

#: By which of its fields a thing in a list is known (``patchMergeKey`` of Kubernetes' API).
_KEYS: Mapping[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "taints": ("key",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "webhooks": ("name",),
}
#: Of a list, in a JSON Pointer. The server takes negative ones too; here they lead nowhere, which is refused.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
#: What the server writes, whatever a body says.
_SERVERS = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})


class PatchError(ValueError):
    """A JSON Patch that does not apply."""


def merged(before: Any, patch: Any, *, strategic: bool, field: str = "") -> Any:
    """What a merge patch makes of ``before``."""
    if isinstance(patch, Mapping):
        after = dict(before) if isinstance(before, Mapping) else {}
        for name, value in patch.items():
            if name.startswith("$"):
                continue  # a directive: what it takes away is kept, see above
            if value is None:
                after.pop(name, None)
            else:
                after[name] = merged(after.get(name), value, strategic=strategic, field=name)
        return after
    if isinstance(patch, list) and strategic and isinstance(before, list):
        keys = _KEYS.get(field)
        if keys and all(isinstance(one, Mapping) for one in (*before, *patch)):
            return _merged_list(before, patch, keys)
    return copy.deepcopy(patch)


def _merged_list(before: Sequence[Object], patch: Sequence[Object], keys: tuple[str, ...]) -> list[Any]:
    after = [dict(one) for one in before]
    for one in patch:
        if one.get("$patch") == "delete" or _known(one, keys) is None:
            continue  # what goes is kept, and a directive for the whole list brings nothing
        there = next((index for index, old in enumerate(after) if _known(old, keys) == _known(one, keys)), None)
        if there is None:
            after.append(merged({}, one, strategic=True))
        else:
            after[there] = merged(after[there], one, strategic=True)
    return after


def _known(one: Object, keys: tuple[str, ...]) -> Any:
    return next((one[key] for key in keys if key in one), None)


def name_in(field: str, one: Any) -> Any:
    """By what a thing is known in such a list; None where it has no name there."""
    keys = _KEYS.get(field)
    return _known(one, keys) if keys and isinstance(one, Mapping) else None


def directives(patch: Any) -> bool:
    """Whether a strategic merge says more than values."""
    if isinstance(patch, Mapping):
        return any(str(name).startswith("$") or directives(value) for name, value in patch.items())
    return isinstance(patch, list) and any(directives(one) for one in patch)


def patched(before: Object, operations: Sequence[Object]) -> Any:
    """What a JSON Patch makes of ``before``; ``test`` is not asked, that is the server's to do. Raises PatchError."""
    after: Any = copy.deepcopy(dict(before))
    for one in operations:
        verb, path = str(one.get("op")), _pointer(str(one.get("path", "")))
        if verb == "test":
            continue
        if verb in ("move", "copy"):
            origin = _pointer(str(one.get("from", "")))
            value = copy.deepcopy(_at(after, origin))
            if verb == "move":
                after = _removed(after, origin)
            after = _added(after, path, value)
        elif verb == "add":
            after = _added(after, path, copy.deepcopy(one.get("value")))
        elif verb == "replace":
            _at(after, path)
            after = _added(_removed(after, path), path, copy.deepcopy(one.get("value"))) if path else one.get("value")
        elif verb == "remove":
            after = _removed(after, path)
        else:
            raise PatchError(f"a JSON Patch knows no {verb[:40]!r}")
    return after


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise PatchError(f"{text[:100]!r} is no JSON Pointer: it begins with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        else:
            raise PatchError(f"there is nothing at /{'/'.join(path)[:200]}")
    return value


def _added(whole: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    place, last = _at(whole, path[:-1]), path[-1]
    if isinstance(place, list):
        at = len(place) if last == "-" else int(last) if _INDEX.fullmatch(last) else -1
        if not 0 <= at <= len(place):
            raise PatchError(f"there is no place /{'/'.join(path)[:200]}")
        place.insert(at, value)
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise PatchError(f"nothing can lie at /{'/'.join(path)[:200]}")
    return whole


def _removed(whole: Any, path: Sequence[str]) -> Any:
    if not path:
        return None
    place, last = _at(whole, path[:-1]), path[-1]
    _at(place, [last])
    del place[int(last) if isinstance(place, list) else last]
    return whole


def differences(before: Any, after: Any) -> list[Path]:
    """Paths of the fields that differ, what the server itself writes left out."""
    return list(_differences(before, after, ()))


def _differences(before: Any, after: Any, path: Path) -> Iterator[Path]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            if path == ("metadata",) and name in _SERVERS:
                continue
            yield from _differences(before.get(name), after.get(name), (*path, name))
        return
    keys = _KEYS.get(path[-1]) if path and isinstance(path[-1], str) else None
    if keys and isinstance(before, list) and isinstance(after, list):
        there = {_known(one, keys): one for one in before if isinstance(one, Mapping)}
        here = {_known(one, keys): one for one in after if isinstance(one, Mapping)}
        if len(there) == len(before) and len(here) == len(after):
            for key in dict.fromkeys((*there, *here)):
                one = there.get(key) or here[key]
                yield from _differences(there.get(key), here.get(key), (*path, one))
            if list(there) != list(here) and set(there) == set(here):
                yield path
            return
    yield path


def within(paths: Sequence[Path], *prefix: str) -> bool:
    """Whether any of the fields is at, above or below this place."""
    return any(path[: len(prefix)] == prefix[: len(path)] for path in paths)


def shown(path: Path) -> str:
    """For people: ``spec.template.spec.containers[web].image``."""
    text = ""
    for part in path:
        if isinstance(part, Mapping):
            text += f"[{next((part[key] for keys in _KEYS.values() for key in keys if key in part), '?')}]"
        else:
            text += f".{part}" if text else str(part)
    return text

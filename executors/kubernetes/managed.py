"""Who else manages the fields that a call writes: Argo CD, Flux, an operator, an autoscaler. Pure; decides nothing.

Kubernetes writes down who wrote which field (``metadata.managedFields``). A manager whose field is written anew would
write it back; a field that it has never written is nobody's, so a restart annotation on what Argo CD deploys is free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from uici_executors.kubernetes.fields import Object, Path, within
from uici_executors.kubernetes.resources import KINDS, controller

#: Names in ``managedFields`` that write again what others change -> what people call them.
MANAGERS: Mapping[str, str] = {
    "argocd-application-controller": "argo-cd",
    "argocd-controller": "argo-cd",
    "helm-controller": "flux",
    "kustomize-controller": "flux",
}
#: Labels and annotations by which these mark what is theirs, where another manager's name wrote it.
_MARKS: Mapping[str, str] = {
    "argocd.argoproj.io/instance": "argo-cd",
    "argocd.argoproj.io/tracking-id": "argo-cd",
    "helm.toolkit.fluxcd.io/name": "flux",
    "kustomize.toolkit.fluxcd.io/name": "flux",
}
#: Whoever writes once, for a person or as the owner that is asked here anyway.
_WRITES_ONCE = (
    "kube-",
    "kubectl",
    "uici",
    "kubelet",
    "Helm",
    "helm",
    "Mozilla",
    "k9s",
    "node-fetch",
    "OpenAPI-Generator",
)
_LAST = "kubectl.kubernetes.io/last-applied-configuration"


def manager(one: Object, paths: Sequence[Path], *, whole: bool = False) -> str | None:
    """Who manages one of these fields of the object, or, where ``whole``, any of them: it would come back."""
    metadata = one["metadata"]
    seen: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        name, fields = str(entry.get("manager") or ""), entry.get("fieldsV1") or {}
        known = MANAGERS.get(name)
        if known is None and _operator(one) and not name.startswith(_WRITES_ONCE):
            known = _operator(one)
        if known is None or entry.get("subresource"):
            continue
        seen.add(known)
        if whole or any(_owns(fields, path) for path in paths):
            return known
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    marked = next((name for mark, name in _MARKS.items() if marks.get(mark)), None)
    if marked is None or marked in seen:
        return _operator(one) if whole else None
    # Marked, and written under a name that tells nothing: by what was applied last, else all of the specification.
    if whole:
        return marked
    try:
        applied = json.loads(marks.get(_LAST) or "null")
    except ValueError:
        applied = None
    if isinstance(applied, Mapping):
        return marked if any(_applied(applied, path) for path in paths) else None
    free = ("spec", "template", "metadata", "annotations")
    return marked if any(path[: len(free)] != free and within([path], "spec") for path in paths) else None


def _operator(one: Object) -> str | None:
    """A custom controller that owns the object."""
    reference = controller(one)
    if reference is None or reference.get("kind") in KINDS:
        return None
    return f"{reference['kind']} {reference['name']}"


def _owns(fields: Any, path: Path) -> bool:
    """Whether a set of managed fields (``f:spec``, ``k:{"name":"web"}``) holds this one, one above it as a whole, or one
    below it."""
    for part in path:
        if not isinstance(fields, Mapping):
            return False
        if not fields:
            return True  # all that lies here, as one
        if isinstance(part, Mapping):
            fields = next((value for key, value in fields.items() if key.startswith("k:") and _is(key[2:], part)), None)
        else:
            fields = fields.get(f"f:{part}")
        if fields is None:
            return False
    return True


def _is(key: str, one: Mapping[str, Any]) -> bool:
    try:
        wanted = json.loads(key)
    except ValueError:
        return False
    return all(one.get(name, value) == value for name, value in wanted.items())


def _applied(value: Any, path: Path) -> bool:
    for part in path:
        if isinstance(part, Mapping) and isinstance(value, list):
            value = next(
                (one for one in value if isinstance(one, Mapping) and one.get("name") == part.get("name")), None
            )
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return False
    return True

"""The rights that calls, and the contract's own reads, need; their names; and the least role that gives them.

A right is told from the request that the client would send. Its name is ``apps/deployments patch in shop``: the API
group (``core`` for the one without a name), resource and subresource, the verb of RBAC, and where. Nothing is asked of a
server here: ``review`` gives the body of a SelfSubjectAccessReview, which every login may create.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uici.executor import Permission
from uici.model import Call
from uici_executors.kubernetes import sdk

#: ``Right.namespace``: in every namespace; in that of the target, whichever it is. No namespace has such a name.
EVERY, OF_TARGET = "*", "?"
#: Group or resource of a custom object that only run time knows.
UNKNOWN = "?"

_WORDS = {EVERY: "every namespace", OF_TARGET: "the target's namespace"}
_NAME = re.compile(
    r"(?P<what>\S+) (?P<verb>\S+)(?: named (?P<name>\S+))?(?: in (?P<namespace>every namespace|the target's namespace|\S+))?"
)
#: Verbs that RBAC can bound to names.
_NAMED = frozenset({"get", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """``namespace``: a name, ``EVERY``, ``OF_TARGET``, or empty where the resource lies in none. ``name``: the one object
    that it is about; empty: any. ``url``: of what is no resource (``/version/``); the rest is empty then."""

    group: str = ""
    resource: str = ""
    subresource: str = ""
    verb: str = ""
    namespace: str = ""
    name: str = ""
    url: str = ""


#: What locate, resolve, identity, preview and watch read, by themselves: group, resource, verbs, and whether it lies in
#: namespaces. A dry run needs the right of the call that it tries, and following logs that of the call.
READS: tuple[tuple[str, str, str, bool], ...] = (
    ("", "pods", "get list watch", True),
    ("", "events", "list", True),
    ("", "services", "get list", True),
    ("", "endpoints", "get list", True),
    ("", "persistentvolumeclaims", "get list", True),
    ("", "replicationcontrollers", "get list", True),
    ("", "resourcequotas", "list", True),
    ("", "nodes", "get list", False),
    ("", "persistentvolumes", "get list", False),
    ("apps", "daemonsets", "get list watch", True),
    ("apps", "deployments", "get list watch", True),
    ("apps", "replicasets", "get list watch", True),
    ("apps", "statefulsets", "get list watch", True),
    ("autoscaling", "horizontalpodautoscalers", "get list", True),
    ("batch", "cronjobs", "get list", True),
    ("batch", "jobs", "get list watch", True),
    ("discovery.k8s.io", "endpointslices", "get list", True),
    ("networking.k8s.io", "networkpolicies", "get list", True),
    ("policy", "poddisruptionbudgets", "get list", True),
    ("scheduling.k8s.io", "priorityclasses", "get", False),
)
#: What only pinning some changes reads: of a Role, who is bound to it; of a namespace that goes, what lies in it.
_MORE: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(
        [("roles", verb) for verb in ("create", "update", "patch", "delete")],
        (("rbac.authorization.k8s.io", "rolebindings"),),
    ),
    ("namespaces", "delete"): (
        ("", "configmaps"),
        ("", "secrets"),
        ("", "serviceaccounts"),
        ("networking.k8s.io", "ingresses"),
    ),
}
#: Of these, what identity reads in UICI's own namespace, be it a target's or not: its Pod, the Pod's owners and its claims.
_OWN = frozenset("cronjobs daemonsets deployments jobs persistentvolumeclaims pods replicasets statefulsets".split())
#: The engine's id is the uid of this namespace.
ENGINE = Right(resource="namespaces", verb="get", name="kube-system")


def of_call(path: str, arguments: Mapping[str, Any]) -> list[Right]:
    """Of one call, with real arguments or as a translation writes them (text with ``${``: not known yet).

    With the reading of the object that a change is about, which ``resolve`` pins it to. Empty for the executor's own words
    that ask nobody. ValueError: the client has no such call.
    """
    method = sdk.find(path)
    if method is None:
        raise ValueError(f"the Kubernetes client has no {path!r}; see uici check")
    if not method.http:
        return []
    if not method.resource:
        return [Right(verb=method.verb, url=_url(method.url, arguments))]
    name = _said(arguments, "name") if "name" in method.parameters else ""
    right = Right(
        group=_said(arguments, "group") or UNKNOWN if method.group == "{group}" else method.group,
        resource=_said(arguments, method.resource[1:-1]) or UNKNOWN
        if method.resource.startswith("{")
        else method.resource,
        subresource=method.subresource,
        verb=method.verb,
        namespace=_namespace(method, arguments),
        name=name if method.verb in _NAMED else "",
    )
    return [*_needs(path, method, arguments, right, name), *_more(method, right, name)]


def _more(method: sdk.Method, right: Right, name: str) -> list[Right]:
    """A namespace that goes is its own place."""
    place = right.namespace or name or EVERY
    return [
        Right(group=group, resource=resource, verb="list", namespace=place)
        for group, resource in (() if method.subresource else _MORE.get((method.resource, method.verb), ()))
    ]


def _needs(path: str, method: sdk.Method, arguments: Mapping[str, Any], right: Right, name: str) -> list[Right]:
    """The request's own, and what goes with it."""
    if method.verb in ("update", "patch", "delete") or (method.subresource and method.verb != "get"):
        return [right, replace(right, subresource="", verb="get", name=name)]
    if method.name.startswith("connect_get_") and method.subresource in ("attach", "exec", "portforward"):
        return [replace(right, verb="create", name=""), right]  # a websocket; newer servers ask for create as well
    if path == "pods.logs":  # it looks for the Pods as they come, and then reads of each
        return [replace(right, subresource="", verb="list"), replace(right, subresource="", verb="watch"), right]
    if method.verb == "list" and arguments.get("watch") is True:
        return [replace(right, verb="watch")]
    return [right]


def _said(arguments: Mapping[str, Any], name: str) -> str:
    """An argument that is known; empty: it is not."""
    value = arguments.get(name)
    return value if isinstance(value, str) and "${" not in value else ""


def _namespace(method: sdk.Method, arguments: Mapping[str, Any]) -> str:
    if method.namespaced:
        return _said(arguments, "namespace") or OF_TARGET
    if not method.name.endswith("_for_all_namespaces"):
        return ""
    # In an environment that is limited to namespaces it is one listing of each; see ``bounds``.
    return EVERY if namespaced(method) is None else OF_TARGET


def namespaced(method: sdk.Method) -> sdk.Method | None:
    """The listing of one namespace that is the same as this one over all."""
    name = method.name.removesuffix("_for_all_namespaces").replace("list_", "list_namespaced_", 1)
    return sdk.find(f"{method.path.rpartition('.')[0]}.{name}")


def exact(namespaces: Sequence[str]) -> tuple[str, ...]:
    """The namespaces themselves; none where one of them is a pattern."""
    return tuple(namespaces) if not any(set("*?[") & set(one) for one in namespaces) else ()


def _url(url: str, arguments: Mapping[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: _said(arguments, part[1]) or "*", url)


def own_reads(own: str = "") -> list[Right]:
    """Of the contract. ``own``: the namespace in which UICI itself runs, where that is a Pod."""
    rights = [ENGINE]
    for group, resource, verbs, namespaced in READS:
        for verb in verbs.split():
            right = Right(group=group, resource=resource, verb=verb, namespace=OF_TARGET if namespaced else "")
            rights.append(right)
            if own and resource in _OWN and verb == "get":
                rights.append(replace(right, namespace=own))
    return rights


def settled(rights: Iterable[Right], namespaces: Sequence[str] = ()) -> list[Right]:
    """The rights with the namespaces that targets may lie in; sorted. None, or a pattern, which RBAC has none of: every."""
    places = exact(namespaces) or (EVERY,)
    found = set()
    for right in rights:
        if right.namespace == OF_TARGET:
            found |= {replace(right, namespace=place) for place in places}
        else:
            found.add(right)
    return sorted(one for one in found if not _is_covered(one, found))


def _is_covered(right: Right, by: set[Right]) -> bool:
    wider = {replace(right, name=""), replace(right, namespace=EVERY), replace(right, name="", namespace=EVERY)}
    return bool((wider - {right}) & by)


def of_calls(calls: Sequence[Call], namespaces: Sequence[str] = (), own: str = "") -> list[Permission]:
    """What these calls and the contract's own reads need. ``namespaces``: of the environment."""
    rights = [right for call in calls for right in of_call(call.path, call.arguments)]
    return [permission(one) for one in settled([*rights, *own_reads(own)], namespaces)]


def permission(right: Right) -> Permission:
    if right.url:
        return Permission(name=f"{right.url} {right.verb}")
    what = "/".join(filter(None, (right.group or "core", right.resource, right.subresource)))
    name = f" named {right.name}" if right.name else ""
    where = f" in {_WORDS.get(right.namespace, right.namespace)}" if right.namespace else ""
    return Permission(name=f"{what} {right.verb}{name}{where}")


def right_of(permission: Permission) -> Right:
    """The right that a name stands for. ValueError: it is no such name."""
    found = _NAME.fullmatch(permission.name)
    if found is None:
        raise ValueError(f"{permission.name!r} names no right in Kubernetes")
    if found["what"].startswith("/"):
        return Right(verb=found["verb"], url=found["what"])
    parts = [*found["what"].split("/"), "", ""]
    group, resource, subresource = parts[:3]
    if not resource or any(parts[3:]):
        raise ValueError(f"{permission.name!r} names no right in Kubernetes")
    places = {word: place for place, word in _WORDS.items()}
    namespace = found["namespace"] or ""
    return Right(
        group="" if group == "core" else group,
        resource=resource,
        subresource=subresource,
        verb=found["verb"],
        namespace=places.get(namespace, namespace),
        name=found["name"] or "",
    )


def review(right: Right) -> dict[str, Any]:
    """The ``spec`` of a SelfSubjectAccessReview. A right in the target's namespace is asked for in every one."""
    if right.url:
        return {"nonResourceAttributes": {"path": right.url, "verb": right.verb}}
    parts = {
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "verb": right.verb,
        "namespace": "" if right.namespace in (EVERY, OF_TARGET) else right.namespace,
        "name": right.name,
    }
    return {"resourceAttributes": {key: value for key, value in parts.items() if value or key == "group"}}


def role(rights: Iterable[Right], name: str, namespaces: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A ClusterRole for what lies in no namespace or in all, then a Role for each namespace, all of this name.

    Merged, sorted, and nothing twice. ValueError: a right cannot be told before run time.
    """
    wide: list[Right] = []
    narrow: dict[str, list[Right]] = {}
    for right in settled(rights, namespaces):
        if UNKNOWN in (right.group, right.resource):
            raise ValueError("a custom object's group and plural must be written out to tell which right it needs")
        if right.namespace in ("", EVERY):
            wide.append(right)
        else:
            narrow.setdefault(right.namespace, []).append(right)
    manifests = [_manifest("ClusterRole", {"name": name}, wide)] if wide else []
    for namespace, some in sorted(narrow.items()):
        manifests.append(_manifest("Role", {"name": name, "namespace": namespace}, some))
    return manifests


def _manifest(kind: str, metadata: Mapping[str, str], rights: Sequence[Right]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": dict(metadata),
        "rules": _rules(rights),
    }


def _rules(rights: Sequence[Right]) -> list[dict[str, Any]]:
    verbs: dict[tuple[str, str, str], set[str]] = {}
    urls: dict[str, set[str]] = {}
    for one in rights:
        if one.url:
            urls.setdefault(one.url, set()).add(one.verb)
        else:
            what = f"{one.resource}/{one.subresource}" if one.subresource else one.resource
            verbs.setdefault((one.group, what, one.name), set()).add(one.verb)
    # What is the same but for the object's name is one rule, and so is what is the same but for the resource.
    named: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, what, name), said in sorted(verbs.items()):
        named.setdefault((group, what, tuple(sorted(said))), []).append(name)
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, what, said_verbs), names in sorted(named.items()):
        for some in ([""] if "" in names else [], [one for one in names if one]):
            if some:
                merged.setdefault((group, tuple(filter(None, some)), said_verbs), []).append(what)
    rules: list[dict[str, Any]] = []
    for (group, names_, verbs_), resources in sorted(merged.items(), key=lambda one: (one[0][0], one[1], one[0])):
        rule: dict[str, Any] = {"apiGroups": [group], "resources": sorted(resources)}
        rule |= {"resourceNames": list(names_)} if names_ else {}
        rules.append({**rule, "verbs": list(verbs_)})
    by_verbs: dict[tuple[str, ...], list[str]] = {}
    for url, some_verbs in urls.items():
        by_verbs.setdefault(tuple(sorted(some_verbs)), []).append(url)
    for url_verbs, paths in sorted(by_verbs.items()):
        rules.append({"nonResourceURLs": sorted(paths), "verbs": list(url_verbs)})
    return rules

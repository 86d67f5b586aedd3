"""How much each call of the client may harm. What is not known here is ``destroy``.

A call is judged by what it asks of the API (verb, resource, subresource) and by what its body sets. Both are told from
JSON Schemas: a real argument is a constant, one that only run time knows is as bad as its schema lets it be, and one out
of the cluster's own answers (``readOnly``, or not known at all) is at its lowest, since the real one is judged again.

- Reads observe, logs too. Secrets, tokens, files, whatever runs inside (exec, attach, proxy …): ``destroy``.
- What makes or alters is ``change``; objects that reach far (RBAC, webhooks, policies) are a matter of what they touch.
- Deleting, evicting, ``deletecollection``; scaling to zero by any field (a Scale that names no replicas asks for none);
  suspending a Job, which kills what runs; a Pod's own deadline; an owner, with whom the collector may delete it;
  a StatefulSet's policy that deletes its claims, and (``risk_of``) scaling down one that has it;
  ``NoExecute`` taints, which empty a node; taking finalizers away; a reclaim policy that deletes data; containers put
  into a running Pod; issuing certificates: ``destroy``.
- A Pod's deletion is ``change`` for ``static``. Run time (``risk_of``) holds it ``destroy`` unless a touch shows that a
  controller makes the Pod anew. Without grace it is ``destroy`` always. A Job's Pod is not made anew for certain.
- ``dry_run: All`` of a built-in resource observes: the API server documents that it persists nothing then, and refuses a
  call whose webhooks could not keep that. Not of custom resources, which another server may serve; not where the answer
  would hand out a Secret. ``dryRun`` inside a body alone is not believed, and a deletion's body has to say it too: where
  there is one the server reads no query.
- A replacement that merely leaves finalizers out takes them away too. Whoever pins it writes that down (``finalizers: []``,
  which means the same), and it is judged by what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uici.model import Pinned, Risk, Touch
from uici_executors.kubernetes import sdk
from uici_executors.kubernetes.bodies import segments
from uici_executors.kubernetes.schemas import Schema, alternatives, elements_of, kinds_of, properties_of, values_of
from uici_executors.kubernetes.sdk import STRATEGIC, Method

#: Reads, and writes that answer with what they wrote to, of what must not be seen.
_SECRET = frozenset({"secrets", "serviceaccounts/token", "tokenreviews"})
#: Subresources that reach inside, or through to what no table knows.
_INSIDE = frozenset({"exec", "attach", "portforward", "proxy", "ephemeralcontainers"})
#: Questions that are asked by a create, and leave nothing behind.
_QUESTIONS = frozenset(
    {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "subjectaccessreviews",
     "localsubjectaccessreviews"}
)  # fmt: skip
_DESTROYING = frozenset({"pods/eviction", "namespaces/finalize", "certificatesigningrequests/approval"})
#: Kinds of topmost owners that make a Pod anew.
_REPLACING = ("deployment/", "statefulset/", "daemonset/", "replicaset/", "replicationcontroller/")

_POD = "CoreV1Api.delete_namespaced_pod"
_FINALIZERS = ("metadata", "finalizers")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A field that harms. ``of``: resources, empty: every one. ``how``: ``zero``, ``true``, ``null``, ``set`` (to anything),
    ``no_execute``, or values."""

    field: tuple[str, ...]
    how: str
    of: frozenset[str] = frozenset()


_RULES = (
    _Rule(("spec", "replicas"), "zero"),
    _Rule(("spec", "parallelism"), "zero", frozenset({"jobs"})),
    _Rule(("spec", "minReplicas"), "zero"),
    _Rule(("spec", "suspend"), "true", frozenset({"jobs"})),
    _Rule(("spec", "taints"), "no_execute", frozenset({"nodes"})),
    _Rule(("spec", "persistentVolumeReclaimPolicy"), "Delete Recycle", frozenset({"persistentvolumes"})),
    _Rule(("spec", "finalizers"), "null", frozenset({"namespaces"})),
    _Rule(("spec", "activeDeadlineSeconds"), "set", frozenset({"pods"})),
    *(
        _Rule(("spec", "persistentVolumeClaimRetentionPolicy", when), "Delete", frozenset({"statefulsets"}))
        for when in ("whenDeleted", "whenScaled")
    ),
    _Rule(("metadata", "ownerReferences"), "set"),
    _Rule(("spec",), "null"),
    _Rule(("metadata",), "null"),
)
#: Of a Scale: its replicas have no default.
_SCALE = _Rule(("spec", "replicas"), "null")


def risk(path: str, arguments: Mapping[str, Any]) -> Risk:
    """Of a call with its real arguments; of a Pod's deletion the lowest, see ``risk_of``."""
    return static(path, {name: {"const": value} for name, value in arguments.items()})


def risk_of(pinned: Pinned) -> Risk:
    """Of a call with its real arguments and what it touches."""
    call = pinned.call
    found = risk(call.path, call.arguments)
    if call.path == _POD and found is Risk.CHANGE and not _is_replaced(pinned):
        return Risk.DESTROY
    if found is Risk.CHANGE and any(map(_is_taken_along, pinned.touches)):
        return Risk.DESTROY
    return found


def _is_taken_along(touch: Touch) -> bool:
    """Whether it is a claim that goes with replicas of its StatefulSet; one that is merely used is its own owner."""
    return touch.resource.kind == "PersistentVolumeClaim" and touch.resource.owner.startswith("statefulset/")


def _is_replaced(pinned: Pinned) -> bool:
    """Whether a touch shows that a controller will make this Pod anew."""
    arguments = pinned.call.arguments
    return any(
        touch.resource.owner.startswith(_REPLACING)
        for touch in pinned.touches
        if touch.resource.kind == "Pod"
        and touch.resource.name == arguments.get("name")
        and touch.resource.namespace == arguments.get("namespace")
    )


def static(path: str, schemas: Mapping[str, Schema]) -> Risk:
    """The highest risk that arguments of these schemas can have."""
    if path in sdk.WORDS:
        return Risk.OBSERVE
    method = sdk.find(path)
    if method is None or method.name.startswith("connect_") or _leads_elsewhere(method, schemas):
        return Risk.DESTROY
    resources = _resources(method, schemas)
    found = max(_risk(method, resource, schemas) for resource in resources)
    if found > Risk.OBSERVE and _is_dry(method, schemas) and not any(one in _SECRET for one in resources):
        return Risk.OBSERVE
    return found


def _resources(method: Method, schemas: Mapping[str, Schema]) -> list[str]:
    """``pods/eviction``; for custom objects what the arguments name, ``?`` where that is not known yet."""
    if method.resource not in ("{plural}", "{resource_plural}"):
        return [method.kind]
    named = values_of(schemas.get(method.resource[1:-1], {})) or ["?"]
    return [f"{one}/{method.subresource}" if method.subresource else str(one) for one in named]


def _is_dry(method: Method, schemas: Mapping[str, Schema]) -> bool:
    custom = method.group == "{group}"
    if custom or method.subresource in _INSIDE or schemas.get("dry_run") != {"const": "All"}:
        return False
    if method.http != "DELETE" or "body" not in schemas:
        return True
    return all(map(_says_dry, alternatives(schemas["body"])))


def _says_dry(options: Schema) -> bool:
    """Whether a deletion's body holds ``dryRun: [All]``, whatever else it holds."""
    said = properties_of(options).get("dryRun", {})
    bounded = isinstance(said, Mapping) and said.get("maxItems") == 1
    written = bounded and [values_of(one) for _, one in elements_of(said)] == [["All"]]
    return "dryRun" in options.get("required", ()) and (written or values_of(said) == [["All"]])


def _risk(method: Method, resource: str, schemas: Mapping[str, Schema]) -> Risk:
    if method.verb in ("get", "list"):
        hidden = resource in _SECRET or method.url.startswith("/logs")
        return Risk.DESTROY if hidden else Risk.OBSERVE
    if resource in _DESTROYING or method.subresource in _INSIDE:
        return Risk.DESTROY
    match method.verb:
        case "create":
            if resource in _SECRET - {"secrets"}:
                return Risk.DESTROY
            return Risk.OBSERVE if resource in _QUESTIONS else Risk.CHANGE
        case "update" | "patch":
            # A patch of a Secret answers with all of it; a replacement loses what was there.
            return Risk.DESTROY if resource in _SECRET or _harms(method, resource, schemas) else Risk.CHANGE
        case "delete" if method.path == _POD:
            return Risk.DESTROY if _forced(schemas) else Risk.CHANGE
    return Risk.DESTROY


def _leads_elsewhere(method: Method, schemas: Mapping[str, Schema]) -> bool:
    """Whether a part of the URL would make it another URL."""
    parts = [value for name in re.findall(r"\{(\w+)\}", method.url) for value in values_of(schemas.get(name, {}))]
    return any(not isinstance(one, str) or one in ("", ".", "..") or bool(set("/%?#") & set(one)) for one in parts)


def _forced(schemas: Mapping[str, Schema]) -> bool:
    """Whether a deletion may give no grace: what runs is killed, and on a lost node it may run twice."""
    graces = [schemas[name] for name in ("grace_period_seconds",) if name in schemas]
    if "body" in schemas:
        graces += _reach(schemas["body"], ("gracePeriodSeconds",))
    return any(_zero(one) for one in graces)


# What a body sets


def _harms(method: Method, resource: str, schemas: Mapping[str, Schema]) -> bool:
    plural = resource.partition("/")[0]
    rules = [one for one in _RULES if not one.of or plural in one.of or plural == "?"]
    rules += [_SCALE] if method.subresource == "scale" else []
    body = schemas.get("body", {})
    if method.verb == "update" and _SCALE in rules and any(map(_names_no_replicas, alternatives(body))):
        return True
    for one in alternatives(body):
        kinds = kinds_of(one)
        if kinds == {"array"} and method.verb == "patch":
            operations = [operation for _, operation in elements_of(one)]
            if any(_operation_harms(rules, operation) for operation in operations):
                return True
            if not operations and "prefixItems" not in one and not _from_the_cluster(one):
                return True
        elif _sets_harm(rules, one, strategic=method.verb == "patch" and STRATEGIC in method.offered):
            return True
    return False


def _names_no_replicas(body: Schema) -> bool:
    if _from_the_cluster(body) or _from_the_cluster(properties_of(body).get("spec")):
        return False
    return not _reach(body, _SCALE.field)


def _sets_harm(rules: list[_Rule], body: Schema, *, strategic: bool) -> bool:
    """Of a body that says what the fields are to be."""
    if any(_set_harms(rule, found) for rule in rules for found in _reach(body, rule.field)):
        return True
    return _loses_finalizers(body, strategic=strategic)


def _set_harms(rule: _Rule, schema: Schema) -> bool:
    """Whether a field may be set to what harms. Null takes a field away, and its default comes back."""
    if _from_the_cluster(schema):
        return False
    if schema is _ANYTHING:
        return True
    listed, kinds = values_of(schema), kinds_of(schema)
    match rule.how:
        case "zero":
            return _zero(schema)
        case "true":
            return any(one is not False and one is not None for one in listed) if listed else True
        case "null":
            return None in listed or (not listed and "null" in kinds)
        case "set":
            return any(one is not None for one in listed) if listed else kinds != {"null"}
        case "no_execute":
            if kinds and "array" not in kinds:
                return "null" not in kinds
            effects = [found for _, one in elements_of(schema) for found in _reach(one, ("effect",))]
            if not effects and kinds and "prefixItems" not in schema:
                return True
            return any(_may_be(one, ("NoExecute",)) for one in effects)
    return _may_be(schema, tuple(rule.how.split()))


def _zero(schema: Schema) -> bool:
    """Whether a number may be none. Text counts as zero: nobody knows what the server reads in it."""
    if _from_the_cluster(schema):
        return False
    found = False
    for one in alternatives(schema):
        listed = values_of(one)
        if listed:
            found |= any(
                value is not None and not (isinstance(value, int | float) and value >= 1 and value is not True)
                for value in listed
            )
        elif kinds_of(one) != {"null"}:
            least, above = one.get("minimum"), one.get("exclusiveMinimum")
            found |= not ((least is not None and least >= 1) or (above is not None and above >= 0))
    return found


def _may_be(schema: Schema, values: tuple[str, ...]) -> bool:
    if _from_the_cluster(schema):
        return False
    for one in alternatives(schema):
        listed = values_of(one)
        if any(value in values for value in listed) or (not listed and kinds_of(one) & {"string"}):
            return True
    return schema is _ANYTHING


def _loses_finalizers(schema: Schema, *, strategic: bool) -> bool:
    """A strategic merge adds those that it lists; every other body that names them may leave some out."""
    if _directs(schema) or any(_directs(one) for one in _reach(schema, ("spec",))):
        return True
    for metadata in _reach(schema, ("metadata",)):
        if _from_the_cluster(metadata):
            continue
        if metadata is _ANYTHING:
            return True
        for key, said in properties_of(metadata).items():
            if key.startswith("$") and not key.startswith("$setElementOrder"):
                return True
            if key == "finalizers" and not _from_the_cluster(said):
                adds = strategic and kinds_of(said) == {"array"} and bool(list(elements_of(said)))
                if not adds:
                    return True
        if _is_open(metadata) and "finalizers" not in properties_of(metadata):
            return True
    return False


def _directs(schema: Schema) -> bool:
    """``$patch: replace`` or ``delete`` where that takes away more than is written."""
    return "$patch" in properties_of(schema)


def _operation_harms(rules: list[_Rule], operation: Schema) -> bool:
    """Of one operation of a JSON Patch, whatever it may be."""
    if _from_the_cluster(operation):
        return False
    parts = properties_of(operation)
    words = values_of(parts.get("op", {})) or ["remove"]
    if all(word == "test" for word in words):
        return False
    pointers = values_of(parts.get("path", {}))
    if not pointers:
        return not _from_the_cluster(parts.get("path", {"type": "string"}))
    value = parts.get("value", {})
    for word in words:
        for pointer in pointers:
            at = tuple(segments(str(pointer)))
            if word == "move":
                sources = [tuple(segments(str(one))) for one in values_of(parts.get("from", {}))]
                if not sources or any(_takes_away(rules, one) for one in sources):
                    return True
            if word in ("move", "copy"):
                if any(_meets(at, rule.field) for rule in rules if rule.how != "null") or _meets(at, _FINALIZERS):
                    return True
            elif word == "remove":
                if _takes_away(rules, at) or at == ("spec",):
                    return True
            elif word != "test" and _assigns(rules, at, value, adds=word == "add"):
                return True
    return False


def _takes_away(rules: list[_Rule], at: tuple[str, ...]) -> bool:
    return _meets(at, _FINALIZERS) or (_SCALE in rules and _meets(at, _SCALE.field))


def _assigns(rules: list[_Rule], at: tuple[str, ...], value: Schema, *, adds: bool) -> bool:
    if _meets(at, _FINALIZERS):
        if len(at) > 2:
            return not adds
        return not _from_the_cluster(value)  # all of it is replaced, so that what is not in the new is gone
    for rule in rules:
        if rule.field[: len(at)] == at:
            said = _reach(value, rule.field[len(at) :])
            if any(_set_harms(rule, found) for found in said):
                return True
            if rule is _SCALE and not said and not _from_the_cluster(value):
                return True
        elif at[: len(rule.field)] == rule.field and rule.how == "set":
            return True
        elif at[: len(rule.field)] == rule.field and rule.how == "no_execute":
            rest = at[len(rule.field) + 1 :]
            whole = {"type": "object", "properties": {"effect": value}, "additionalProperties": False}
            if rest in ((), ("effect",)) and any(
                _may_be(one, ("NoExecute",)) for one in _reach(whole if rest else value, ("effect",))
            ):
                return True
    return False


def _meets(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one lies in the other, or is it."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


#: Stands for whatever a free-form argument may hold.
_ANYTHING: Schema = {"description": "anything"}


def _reach(schema: Schema, field: tuple[str, ...]) -> list[Schema]:
    """What a schema may put at a field: nothing, its schemas, or ``_ANYTHING`` where it is free."""
    return list(_reached(schema, field))


def _reached(schema: Schema, field: tuple[str, ...]) -> Iterator[Schema]:
    for one in alternatives(schema):
        if not field:
            yield one
        elif _from_the_cluster(one) or kinds_of(one) == {"null"}:
            continue
        elif field[0] in properties_of(one):
            yield from _reached(properties_of(one)[field[0]], field[1:])
        elif _is_open(one):
            yield _ANYTHING


def _is_open(schema: Schema) -> bool:
    """Whether it may have fields that it does not name."""
    return schema.get("additionalProperties") is not False and not values_of(schema)


def _from_the_cluster(schema: Any) -> bool:
    """Known only from an answer of the cluster, or not at all."""
    return isinstance(schema, dict) and (not schema or schema.get("readOnly") is True)

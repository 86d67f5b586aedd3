"""The client's models: the fields of each, by the names of Kubernetes' API reference, and what an answer looks like.

Read from the installed client's source (see ``source``), one model at a time. What the client's models do not say, and
the API reference does, stands here as data: the values of fields that are a closed choice. Nothing is sent or decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from uici_executors.kubernetes import source, words
from uici_executors.kubernetes.sdk import CUSTOM, Method
from uici_executors.kubernetes.source import Type

Schema = Mapping[str, Any]

_FIELD = re.compile(r"^    ([a-z]\w*): (.+)$", re.MULTILINE)
_ALIAS = re.compile(r'\b(?:serialization_)?alias="([^"]+)"')
_PREFIX = re.compile(r"(?:[A-Z][a-z]+)?V\d+(?:(?:alpha|beta)\d+)?(?=[A-Z])")
_STRING = Type(frozenset({"string"}))


@dataclass(frozen=True, slots=True)
class Field:
    """``values``: all that it may be, where that is a closed choice; else None."""

    type: Type
    required: bool
    values: tuple[str, ...] | None = None


#: Model and field -> its values. Only choices that Kubernetes has not widened in years.
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    (model, field): tuple(values.split())
    for model, field, values in (
        ("V1Container", "imagePullPolicy", "Always IfNotPresent Never"),
        ("V1Container", "terminationMessagePolicy", "File FallbackToLogsOnError"),
        ("V1ContainerPort", "protocol", "TCP UDP SCTP"),
        ("V1CronJobSpec", "concurrencyPolicy", "Allow Forbid Replace"),
        ("V1DaemonSetUpdateStrategy", "type", "RollingUpdate OnDelete"),
        ("V1DeleteOptions", "propagationPolicy", "Orphan Background Foreground"),
        ("V1DeploymentStrategy", "type", "RollingUpdate Recreate"),
        ("V1HTTPGetAction", "scheme", "HTTP HTTPS"),
        ("V1JobSpec", "completionMode", "NonIndexed Indexed"),
        ("V1JobSpec", "podReplacementPolicy", "TerminatingOrFailed Failed"),
        ("V1LabelSelectorRequirement", "operator", "In NotIn Exists DoesNotExist"),
        ("V1NamespaceStatus", "phase", "Active Terminating"),
        ("V1NodeCondition", "status", "True False Unknown"),
        ("V1DeploymentCondition", "status", "True False Unknown"),
        ("V1JobCondition", "status", "True False Unknown"),
        ("V1PodCondition", "status", "True False Unknown"),
        ("V1PersistentVolumeClaimStatus", "phase", "Pending Bound Lost"),
        ("V1PersistentVolumeSpec", "persistentVolumeReclaimPolicy", "Retain Delete Recycle"),
        ("V1PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy", "IfHealthyBudget AlwaysAllow"),
        ("V1PodSpec", "dnsPolicy", "ClusterFirst ClusterFirstWithHostNet Default None"),
        ("V1PodSpec", "preemptionPolicy", "Never PreemptLowerPriority"),
        ("V1PodSpec", "restartPolicy", "Always OnFailure Never"),
        ("V1PodStatus", "phase", "Pending Running Succeeded Failed Unknown"),
        ("V1PodStatus", "qosClass", "Guaranteed Burstable BestEffort"),
        ("V1ServicePort", "protocol", "TCP UDP SCTP"),
        ("V1ServiceSpec", "externalTrafficPolicy", "Cluster Local"),
        ("V1ServiceSpec", "internalTrafficPolicy", "Cluster Local"),
        ("V1ServiceSpec", "sessionAffinity", "None ClientIP"),
        ("V1ServiceSpec", "type", "ClusterIP NodePort LoadBalancer ExternalName"),
        ("V1StatefulSetSpec", "podManagementPolicy", "OrderedReady Parallel"),
        ("V1StatefulSetUpdateStrategy", "type", "RollingUpdate OnDelete"),
        ("V1Taint", "effect", "NoSchedule PreferNoSchedule NoExecute"),
        ("V1Toleration", "effect", "NoSchedule PreferNoSchedule NoExecute"),
    )
}


#: What the server takes as text or as a number, and gives as text.
QUANTITY = Type(frozenset({"string", "integer", "number"}))
#: Model -> fields that are quantities, or maps of them; the client's models call them text.
QUANTITIES: Mapping[str, frozenset[str]] = {
    model: frozenset(names.split())
    for model, names in (
        ("V1ContainerStatus", "allocatedResources"),
        ("V1EmptyDirVolumeSource", "sizeLimit"),
        ("V1LimitRangeItem", "default defaultRequest max maxLimitRequestRatio min"),
        ("V1NodeStatus", "allocatable capacity"),
        ("V1Overhead", "podFixed"),
        ("V1PersistentVolumeClaimStatus", "allocatedResources capacity"),
        ("V1PersistentVolumeSpec", "capacity"),
        ("V1PodSpec", "overhead"),
        ("V1ResourceFieldSelector", "divisor"),
        ("V1ResourceQuotaSpec", "hard"),
        ("V1ResourceQuotaStatus", "hard used"),
        ("V1ResourceRequirements", "limits requests"),
        ("V1VolumeResourceRequirements", "limits requests"),
        ("V2MetricTarget", "averageValue value"),
        ("V2MetricValueStatus", "averageValue value"),
    )
}


@cache
def fields(model: str) -> Mapping[str, Field]:
    """Of a model, by its names in JSON (``minReadySeconds``). KeyError: the client has no such model."""
    if model == CUSTOM:
        metadata = Type(frozenset({"object"}), "V1ObjectMeta")
        return {"apiVersion": Field(_STRING, True), "kind": Field(_STRING, True), "metadata": Field(metadata, True)}
    found = {}
    for name, said in _FIELD.findall(source.model_text(model)):
        annotation, _, default = said.partition(" = ")
        alias = _ALIAS.search(default)
        key = alias[1] if alias else name
        required = not default or (default.startswith("Field(") and not default.startswith("Field(default="))
        type_ = source.type_of(annotation)
        if key in QUANTITIES.get(model, ()):
            type_ = QUANTITY if type_.of is None else Type(type_.kinds, of=QUANTITY)
        found[key] = Field(type_, required, CHOICES.get((model, key)))
    return found


def is_open(model: str) -> bool:
    """Whether its objects may have fields that are not known here."""
    return model == CUSTOM


def kind(model: str) -> str:
    """``Deployment`` of ``V1Deployment``."""
    return _PREFIX.sub("", model, count=1)


def answer_schema(method: Method) -> Schema | None:
    """JSON Schema of what the server answers with; None where it is not known.

    Whether a deletion answers with a Status or with the object depends on the object's finalizers; an eviction answers
    with a Status, whatever the client says.
    """
    if method.path in words.ANSWERS:
        return words.ANSWERS[method.path]
    if method.answer == "str":
        return {"type": "string", "readOnly": True}
    if method.answer is None or method.http in ("DELETE", "HEAD", "OPTIONS"):
        return None
    if method.subresource in ("eviction", "binding") or method.resource == "bindings":
        return None
    return schema(method.answer)


def schema(model: str) -> Schema:
    """All fields of a model as JSON Schema, closed: what is not in it is misspelt. One that holds itself is cut there.

    Every part is ``readOnly``, which tells ``risks`` that a value came from the cluster. Equal parts are one object, so
    that the schema of a Pod's template costs once.
    """
    return _schema(model, ())


_SCHEMAS: dict[str, Schema] = {}


def _schema(model: str, above: tuple[str, ...]) -> Schema:
    found = _SCHEMAS.get(model)
    if found is None:
        inner = (*above, model)
        properties = {key: _of(one.type, one.values, inner) for key, one in fields(model).items()}
        found = _SCHEMAS[model] = {"type": "object", "readOnly": True, "properties": properties}
    return found


def _of(type_: Type, values: tuple[str, ...] | None, above: tuple[str, ...]) -> Schema:
    if values is not None:
        return {"enum": list(values), "readOnly": True}
    if type_.model is not None:
        return {"type": "object", "readOnly": True} if type_.model in above else _schema(type_.model, above)
    if type_.kinds == {"array"}:
        return {"type": "array", "readOnly": True, "items": _of(type_.of, None, above) if type_.of else {}}
    if type_.kinds == {"object"}:
        values_ = {"additionalProperties": _of(type_.of, None, above)} if type_.of else {}
        return {"type": "object", "readOnly": True, **values_}
    if type_ == QUANTITY:
        return {"type": "string", "readOnly": True}
    kinds = sorted(type_.kinds)
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "readOnly": True} if kinds else {}

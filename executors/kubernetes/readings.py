"""Fields of Kubernetes' objects that several here read, each in one way: kinds, conditions, quantities, moments. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from uici.model import rfc3339

Object = Mapping[str, Any]

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_NUMBER = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?", re.ASCII)
_TIMES: Mapping[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    **{name: Decimal(1000) ** power for power, name in enumerate("kMGTPE", 1)},
    **{f"{name}i": Decimal(1024) ** power for power, name in enumerate("KMGTPE", 1)},
}


def kind_of(one: Object) -> str:
    """Of an object of a listing, which does not say its kind, by what only that kind has."""
    if one.get("kind") in ("Deployment", "StatefulSet", "DaemonSet"):
        return str(one["kind"])
    spec = one.get("spec") or {}
    if "podManagementPolicy" in spec or "serviceName" in spec:
        return "StatefulSet"
    return "Deployment" if "replicas" in spec else "DaemonSet"


def main_container(one: Object) -> str:
    """The container that kubectl takes where none is named: of a Pod or a Pod template."""
    containers = [str(container["name"]) for container in (one.get("spec") or {}).get("containers") or ()]
    named = ((one.get("metadata") or {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
    return named if named in containers else containers[0] if containers else ""


def condition(one: Object, name: str) -> Object:
    listed = (one.get("status") or {}).get("conditions") or ()
    return next((found for found in listed if found.get("type") == name), {})


def amount(text: Any, times: int = 1) -> int:
    """A quantity as a whole number of its unit (``times``: of a part of it), rounded up; 0 where there is none."""
    found = _NUMBER.fullmatch(str(text)) if text is not None else None
    if found is None:
        return 0
    try:
        return math.ceil(Decimal(found[1]) * _TIMES.get(found[2] or "", Decimal(1)) * times)
    except InvalidOperation:
        return 0


def moment_of(text: Any) -> tuple[datetime, str] | None:
    """The moment, to the microsecond that Python knows, and RFC 3339 UTC with nine decimals."""
    if not isinstance(text, str) or not text:
        return None
    exact = text if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", text) else ""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00")))
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found, exact or rfc3339(found.timestamp())

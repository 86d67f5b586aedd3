"""Which labels a selector selects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector: none selects nothing, an empty one everything. An operator that is not known selects: fail closed."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(one, labels) for one in selector.get("matchExpressions") or ())


def _meets(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = one.get("key"), one.get("operator"), one.get("values") or ()
    if operator == "In":
        return labels.get(str(key)) in values
    if operator == "NotIn":
        return labels.get(str(key)) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return True


def picks(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """A Service's or a ReplicationController's plain map: an empty one picks nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())

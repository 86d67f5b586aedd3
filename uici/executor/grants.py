"""What an executor may offer beside the contract: its engine's own form of the rights that an environment needs.

Optional. ``uici rbac`` prints it for those who may grant them; UICI itself must never grant a right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from uici.model import Call, Environment


@runtime_checkable
class Grants(Protocol):
    """Works before ``open``."""

    def roles(self, environment: Environment, calls: Sequence[Call], name: str, own: str = "") -> list[dict[str, Any]]:
        """The least that these calls and the contract's own reads need, as the engine's own manifests; the same input gives
        the same text. ``own``: where in this engine UICI itself runs (a namespace), if it does. Raises ValueError for a call
        whose right cannot be told before run time."""
        ...

"""UICI: safe hands for whoever decides.

A person, an alert's runbook or another program proposes an operation; UICI alone holds the credentials and carries out
only what the catalog, the policies and the guards allow. ``connect`` opens it as a library. Importing this package
imports no SDK and does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uici.catalog import CommandTranslator, OperationRegistry, UniversalConfigLoader
    from uici.engine import UniversalInfrastructureInterface, connect
    from uici.model import Request, Result, UICIError

_WHERE = {
    "CommandTranslator": "uici.catalog",
    "OperationRegistry": "uici.catalog",
    "UniversalConfigLoader": "uici.catalog",
    "UniversalInfrastructureInterface": "uici.engine",
    "connect": "uici.engine",
    "Request": "uici.model",
    "Result": "uici.model",
    "UICIError": "uici.model",
}

__all__ = [
    "CommandTranslator",
    "OperationRegistry",
    "Request",
    "Result",
    "UICIError",
    "UniversalConfigLoader",
    "UniversalInfrastructureInterface",
    "connect",
]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import uici` costs milliseconds and `uici --help` imports no SDK.
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'uici' has no attribute {name!r}")

"""YAML to a typed catalog, with every cross-check and a place in every error. It opens no engine and runs nothing.

``UniversalConfigLoader`` finds, checks and loads a folder; ``OperationRegistry`` and ``CommandTranslator`` are what the
engine asks; ``expressions`` is CEL at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uici.catalog.built import Catalog, require_secrets
    from uici.catalog.loader import UniversalConfigLoader
    from uici.catalog.problem import CatalogError, ParametersError, Problem, did_you_mean
    from uici.catalog.registry import OperationRegistry
    from uici.catalog.secret_references import references, secrets
    from uici.catalog.translator import CommandTranslator
else:
    # Lazy: a daemon that starts looks for its catalog's proof before it imports anything that is heavy.
    _WHERE = {
        "Catalog": "built",
        "CatalogError": "problem",
        "CommandTranslator": "translator",
        "OperationRegistry": "registry",
        "ParametersError": "problem",
        "Problem": "problem",
        "UniversalConfigLoader": "loader",
        "did_you_mean": "problem",
        "references": "secret_references",
        "require_secrets": "built",
        "secrets": "secret_references",
    }

    def __getattr__(name: str) -> object:
        if name in _WHERE:
            import importlib

            found = getattr(importlib.import_module(f"uici.catalog.{_WHERE[name]}"), name)
            globals()[name] = found
            return found
        raise AttributeError(f"module 'uici.catalog' has no attribute {name!r}")


__all__ = [
    "Catalog",
    "CatalogError",
    "CommandTranslator",
    "OperationRegistry",
    "ParametersError",
    "Problem",
    "UniversalConfigLoader",
    "did_you_mean",
    "references",
    "require_secrets",
    "secrets",
]

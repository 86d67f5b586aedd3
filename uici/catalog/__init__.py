"""YAML to a typed catalog, with every cross-check and a place in every error. It opens no engine and runs nothing.

``UniversalConfigLoader`` finds, checks and loads a folder; ``OperationRegistry`` and ``CommandTranslator`` are what the
engine asks; ``expressions`` is CEL at run time.
"""

from uici.catalog.loader import Catalog, UniversalConfigLoader, require_secrets
from uici.catalog.problem import CatalogError, ParametersError, Problem, did_you_mean
from uici.catalog.registry import OperationRegistry
from uici.catalog.secrets import references, secrets
from uici.catalog.translator import CommandTranslator

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

"""A command's own copies of the operations that it will ask (``before``, ``verify``, ``undo`` …), so that it ends by what
held when it was accepted, whatever a reload or a new version of the catalog brings in between. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from uici.catalog import Catalog
from uici.model import Command, Operation, Translation


def copies_of(catalog: Catalog, command: Command) -> dict[str, Any]:
    """Name -> ``{operation, translation}`` definitions, of all that the command's operation names."""
    operation = command.operation
    named = {one.operation for one in (operation.before, operation.verify, operation.undo) if one is not None} - {
        operation.name
    }
    copies: dict[str, Any] = {}
    for name in sorted(named):
        asked = catalog.operations.get(name)
        if asked is None:
            continue
        translation = catalog.translator.translation(name, command.environment)
        copies[name] = {
            "operation": asked.definition,
            "translation": translation.definition if translation is not None else None,
        }
    return copies


def frozen(catalog: Catalog, command: Command, copies: Mapping[str, Any]) -> Catalog:
    """Today's catalog with the command's copies in it."""
    operations = {name: Operation.parse(name, copy["operation"]) for name, copy in copies.items()}
    translations = {
        name: {command.environment.dialect: Translation.parse(name, command.environment.dialect, copy["translation"])}
        for name, copy in copies.items()
        if copy["translation"] is not None
    }
    operations[command.operation.name] = command.operation
    translations[command.operation.name] = {command.translation.dialect: command.translation}
    return dataclasses.replace(
        catalog,
        operations=catalog.operations.with_copies(operations),
        translator=catalog.translator.with_copies(translations),
    )

"""Command: a Request that passed, frozen with its own copy of all that decides how it ends. Only the engine makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.model.environment import Environment
from uici.model.operation import Operation, Translation
from uici.model.record import dataclass
from uici.model.request import Origin, Request
from uici.model.resource import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``id`` is the Request's id at every door, and ``command.id`` in expressions. ``now``: RFC 3339, when it was accepted.

    ``parameters``: the Request's, with the schema's defaults filled in. ``parent``: the command that this one undoes.
    """

    id: str
    now: str
    request: Request
    origin: Origin
    parameters: Mapping[str, Any]
    operation: Operation
    translation: Translation
    environment: Environment
    target: Resource | None
    incident: str | None = None
    parent: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "now": self.now,
            "request": self.request.to_json(),
            "origin": str(self.origin),
            "may": sorted(self.origin.may),
            "parameters": dict(self.parameters),
            "operation": {"name": self.operation.name, "definition": self.operation.definition},
            "translation": {"dialect": self.translation.dialect, "definition": self.translation.definition},
            "environment": {"name": self.environment.name, "definition": self.environment.definition},
            "target": self.target.to_json() if self.target else None,
            "incident": self.incident,
            "parent": self.parent,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Command:
        kind, _, name = data["origin"].partition(":")
        operation = Operation.parse(data["operation"]["name"], data["operation"]["definition"])
        return cls(
            id=data["id"],
            now=data["now"],
            request=Request.from_json(data["request"]),
            origin=Origin(kind, name, frozenset(data["may"])),
            parameters=data["parameters"],
            operation=operation,
            translation=Translation.parse(
                operation.name, data["translation"]["dialect"], data["translation"]["definition"]
            ),
            environment=Environment.parse(data["environment"]["name"], data["environment"]["definition"]),
            target=Resource.from_json(data["target"]) if data["target"] else None,
            incident=data["incident"],
            parent=data["parent"],
        )

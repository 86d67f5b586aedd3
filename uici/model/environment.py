"""Environment and Runbook: the operator's words for where operations run and what an alert leads to. Pure data."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.model.matcher import Matcher
from uici.model.operation import Ask
from uici.model.record import dataclass
from uici.model.words import Autonomy


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One entry of an inventory: what the engine does not tell of a service."""

    name: str
    id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    probe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One place where operations run.

    ``settings`` hold secrets as references (``${env:NAME}``, ``${file:PATH}``); they are filled in right before
    ``Executor.open`` and are never visible to expressions. ``inventory_from``: an observe operation's name.
    """

    name: str
    executor: str
    dialect: str
    settings: Mapping[str, Any]
    alerts: tuple[Matcher, ...]
    stage: str
    autonomy: Autonomy
    operations: tuple[str, ...]
    namespaces: tuple[str, ...]
    managed: str
    dry_run: bool
    variables: Mapping[str, Any]
    inventory_from: str | None
    inventory_only: bool
    services: Mapping[str, Service]
    definition: Mapping[str, Any]

    def offers(self, operation: str) -> bool:
        """Whether ``operations`` lets this one in: the last pattern that matches decides; ``!`` leaves out."""
        verdict = False
        for pattern in self.operations:
            if fnmatch.fnmatchcase(operation, pattern.removeprefix("!")):
                verdict = not pattern.startswith("!")
        return verdict

    def admits(self, namespace: str | None) -> bool:
        """Whether a Resource of this namespace may be located here."""
        return not self.namespaces or any(fnmatch.fnmatchcase(namespace or "", one) for one in self.namespaces)

    @classmethod
    def parse(cls, name: str, definition: Mapping[str, Any]) -> Environment:
        """Of a definition that has passed the schema of ``environments.yml``; raises ValueError for a bad matcher."""
        inventory = definition.get("inventory", {})
        return cls(
            name=name,
            executor=definition["executor"],
            dialect=definition.get("dialect", definition["executor"]),
            settings=definition.get("settings", {}),
            alerts=tuple(Matcher.parse(text) for text in definition.get("alerts", ())),
            stage=definition.get("stage", "sandbox"),
            autonomy=Autonomy(definition.get("autonomy", "observe")),
            operations=tuple(definition.get("operations", ("*",))),
            namespaces=tuple(definition.get("namespaces", ())),
            managed=definition.get("managed", "refuse"),
            dry_run=definition.get("dry_run", False),
            variables=definition.get("variables", {}),
            inventory_from=inventory.get("from"),
            inventory_only=inventory.get("only") == "listed",
            services={
                key: Service(
                    name=key,
                    id=one.get("id"),
                    labels=one.get("labels", {}),
                    depends_on=tuple(one.get("depends_on", ())),
                    probe=one.get("probe"),
                )
                for key, one in inventory.get("services", {}).items()
            },
            definition=definition,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunbookStep:
    operation: str
    parameters: Mapping[str, Any]
    as_: str | None = None
    when: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """An alert matcher and what to try, in order, until one is verified.

    ``target``: label names; the first that is present and locates something of ``kind`` gives the target.
    """

    name: str
    match: tuple[Matcher, ...]
    target: tuple[str, ...]
    kind: str = "service"
    only_if: Ask | None
    steps: tuple[RunbookStep, ...]
    enabled: bool
    definition: Mapping[str, Any]

    @classmethod
    def parse(cls, definition: Mapping[str, Any]) -> Runbook:
        """Of a definition that has passed the schema of ``runbooks.yml``; raises ValueError for a bad matcher."""
        only_if = definition.get("only_if")
        return cls(
            name=definition["name"],
            match=tuple(Matcher.parse(text) for text in definition.get("match", ())),
            target=tuple(definition.get("target", ())),
            kind=definition.get("kind", "service"),
            only_if=Ask(
                operation=only_if["operation"], parameters=only_if.get("parameters", {}), expect=only_if["expect"]
            )
            if only_if
            else None,
            steps=tuple(
                RunbookStep(
                    operation=one["operation"],
                    parameters=one.get("parameters", {}),
                    as_=one.get("as"),
                    when=one.get("when"),
                )
                for one in definition.get("steps", ())
            ),
            enabled=definition.get("enabled", True),
            definition=definition,
        )

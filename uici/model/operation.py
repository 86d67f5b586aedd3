"""Operation and its translations: what the catalog permits, and how one executor says it.

Made from definitions that the catalog has already validated against its schemas; ``definition`` is kept, so that a
journaled Command carries its own copy. Expressions stay text here: compiling them is the catalog's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.model.record import dataclass
from uici.model.times import duration
from uici.model.words import Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTarget:
    """Which parameter names the target, which gives its namespace, and the kind that is asked for.

    ``new``: the operation makes it; it is not looked for, and locks, brakes and history know it by its name.
    """

    parameter: str
    kind: str = "service"
    namespace: str | None = None
    new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Another operation with parameters (a template): ``before``, ``undo``, ``only_if``, a runbook's step.

    ``expect`` is set for ``only_if`` alone.
    """

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """An observe operation, asked until ``expect`` has held for ``stable_for``. Times in seconds.

    ``steady``: a template whose value must stay the same meanwhile; None: nothing must.
    """

    operation: str
    parameters: Mapping[str, Any]
    expect: str
    fail: str | None
    within: float
    every: float
    answers: bool = False
    stable_for: float
    steady: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What may be asked. ``parameters`` and ``returns`` are JSON Schema 2020-12; ``timeout`` is of the calls, seconds."""

    name: str
    summary: str
    risk: Risk
    target: OperationTarget | None
    idempotent: bool
    timeout: float
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any]
    before: Ask | None
    took_effect: str | None
    verify: Verify | None
    undo: Ask | None
    definition: Mapping[str, Any]

    @classmethod
    def parse(cls, name: str, definition: Mapping[str, Any]) -> Operation:
        """Of a definition that has passed the schema of ``operations.yml``."""
        target, verify = definition.get("target"), definition.get("verify")
        return cls(
            name=name,
            summary=definition["summary"],
            risk=Risk(definition["risk"]),
            target=OperationTarget(**target) if target else None,
            idempotent=definition.get("idempotent", False),
            timeout=duration(definition.get("timeout", "60s")),
            parameters=definition["parameters"],
            returns=definition.get("returns", {}),
            before=_ask(definition.get("before")),
            took_effect=definition.get("took_effect"),
            verify=Verify(
                operation=verify["operation"],
                parameters=verify.get("parameters", {}),
                expect=verify["expect"],
                fail=verify.get("fail"),
                within=duration(verify.get("within", "60s")),
                every=duration(verify.get("every", "1s")),
                stable_for=duration(verify.get("stable_for", "0s")),
                answers=verify.get("answers", False),
                steady=verify.get("steady"),
            )
            if verify
            else None,
            undo=_ask(definition.get("undo")),
            definition=definition,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One SDK call of a translation, as CATALOG.md says its keys. ``arguments`` is its ``with``; times in seconds.

    ``touches``: resources (mappings of ``kind`` and ``name`` or ``id``), or ``elsewhere``, or None: the executor resolves.
    """

    call: str
    arguments: Mapping[str, Any]
    as_: str | None = None
    when: str | None = None
    each: str | None = None
    continue_: bool = False
    until: str | None = None
    within: float | None = None
    every: float = 1.0
    unless: str | None = None
    accept: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    stream: bool = False
    touches: Any = None

    @property
    def head(self) -> str:
        """The call's first name: an earlier ``as``, ``item``, or an attribute of the SDK's client."""
        return self.call.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """How one dialect says one operation. ``returns`` is the template of the operation's answer.

    ``verify_within``: seconds that its verification may take there; None: what the operation says.
    """

    operation: str
    dialect: str
    steps: tuple[Step, ...]
    returns: Any
    confirm: tuple[Step, ...] = ()
    revert: tuple[Step, ...] = ()
    cancel: tuple[Step, ...] = ()
    logs: tuple[Step, ...] = ()
    verify_within: float | None = None
    definition: Mapping[str, Any]

    @classmethod
    def parse(cls, operation: str, dialect: str, definition: Mapping[str, Any]) -> Translation:
        """Of a definition that has passed the schema of ``command_translations.yml``, ``same_as`` already followed."""
        return cls(
            operation=operation,
            dialect=dialect,
            steps=_steps(definition["steps"]),
            returns=definition.get("returns", {}),
            confirm=_steps(definition.get("confirm", ())),
            revert=_steps(definition.get("revert", ())),
            cancel=_steps(definition.get("cancel", ())),
            logs=_steps(definition.get("logs", ())),
            verify_within=duration(definition["verify_within"]) if "verify_within" in definition else None,
            definition=definition,
        )


def _ask(definition: Mapping[str, Any] | None) -> Ask | None:
    return Ask(operation=definition["operation"], parameters=definition.get("parameters", {})) if definition else None


def _steps(definitions: Any) -> tuple[Step, ...]:
    return tuple(
        Step(
            call=one["call"],
            arguments=one.get("with", {}),
            as_=one.get("as"),
            when=one.get("when"),
            each=one.get("each"),
            continue_=one.get("continue", False),
            until=one.get("until"),
            within=duration(one["within"]) if "within" in one else None,
            every=duration(one.get("every", "1s")),
            unless=one.get("unless"),
            accept=tuple(one.get("accept", ())),
            retry=tuple(one.get("retry", ())),
            stream=one.get("stream", False),
            touches=one.get("touches"),
        )
        for one in definitions
    )

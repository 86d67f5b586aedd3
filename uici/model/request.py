"""Request, Origin and Result: what somebody asks, who asks by which door, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from uici.model.record import dataclass
from uici.model.words import Reason, Risk, Status, Verification, exit_code

#: Characters of an answer that a message shows.
SHOWN = 700
ORIGINS = frozenset({"human", "runbook", "llm", "mcp", "library"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks and by which door; made by the door, never read from a Request.

    ``may``: what the door lets it do, of ``observe``, ``operate``, ``approve``.
    """

    kind: str
    name: str
    may: frozenset[str] = frozenset({"observe", "operate"})

    def __post_init__(self) -> None:
        if self.kind not in ORIGINS:
            raise ValueError(f"an origin's kind is one of {', '.join(sorted(ORIGINS))}, not {self.kind!r}")

    @property
    def person(self) -> bool:
        """A person decided this. ``library:`` is none: a program may run under anybody's name."""
        return self.kind == "human"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Of ``human:anna``, as written by ``str``; rights are not in it and are given none."""
        kind, _, name = text.partition(":")
        return cls(kind, name, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyIf:
    """What must be seen right before a Request changes anything: a runbook's ``only_if``, its parameters filled in.

    ``operation`` only observes. ``expect``: a condition on its ``answer``; ``roots``: what else that sees.
    """

    operation: str
    parameters: Mapping[str, Any]
    expect: str
    roots: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks. Untrusted; nothing in it is believed before ``engine.execute`` checked it.

    ``environment`` None: the catalog's default. ``confirm``: a person's word for a ``destroy``.
    """

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None
    reason: str = ""
    dry_run: bool = False
    confirm: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "parameters": dict(self.parameters),
            "environment": self.environment,
            "reason": self.reason,
            "dry_run": self.dry_run,
            "confirm": self.confirm,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that was seen on the way: a gate's verdict, a call, a sample of verify, an undo.

    ``kind``: ``gate``, ``before``, ``only_if``, ``call``, ``sample``, ``confirm``, ``undo``, ``settled``. ``at``: RFC 3339.
    """

    kind: str
    name: str
    verdict: str
    at: str
    data: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        seen: dict[str, Any] = {"kind": self.kind, "name": self.name, "verdict": self.verdict, "at": self.at}
        if self.data is not None:
            seen["data"] = dict(self.data)
        return seen

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a Request ended; the same object at every door."""

    id: str
    operation: str
    environment: str | None
    origin: str
    target: Mapping[str, Any] | None
    risk: Risk | None
    dry_run: bool
    status: Status
    reason: Reason | None
    message: str
    answer: Any = None
    verification: Verification | None = None
    undo: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | None = None
    started_at: str
    ended_at: str
    evidence: tuple[Evidence, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status is Status.DONE

    @property
    def exit_code(self) -> int:
        return exit_code(self.status, self.reason)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "operation": self.operation,
            "environment": self.environment,
            "origin": self.origin,
            "target": self.target,
            "risk": self.risk.value if self.risk else None,
            "dry_run": self.dry_run,
            "status": self.status.value,
            "reason": self.reason.value if self.reason else None,
            "message": self.message,
            "answer": self.answer,
            "verification": self.verification.value if self.verification else None,
            "undo": self.undo,
            "approval": self.approval,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "evidence": [seen.to_json() for seen in self.evidence],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        return cls(
            **{
                **data,
                "risk": Risk(data["risk"]) if data["risk"] else None,
                "status": Status(data["status"]),
                "reason": Reason(data["reason"]) if data["reason"] else None,
                "verification": Verification(data["verification"]) if data["verification"] else None,
                "evidence": tuple(Evidence.from_json(seen) for seen in data["evidence"]),
            }
        )


def in_short(answer: Any) -> str:
    """An answer in one line, for people: long lists keep their last items, long texts their beginning."""
    if isinstance(answer, Mapping):
        answer = {
            key: value[-5:] if isinstance(value, list) and len(value) > 5 else value for key, value in answer.items()
        }
    text = json.dumps(answer, default=str, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"

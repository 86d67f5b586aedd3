"""Execution: one Request on its way through the engine, and what has been seen of it so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import orjson

from uici.catalog import Catalog
from uici.engine.authorise import Gate
from uici.engine.environments import OpenEnvironment
from uici.engine.locks import Hold
from uici.engine.verdict import EndedError
from uici.executor import Done
from uici.model import (
    Call,
    Clock,
    Command,
    Evidence,
    OnlyIf,
    Origin,
    Reason,
    Request,
    Resource,
    Result,
    Risk,
    Status,
    Verification,
    rfc3339,
)
from uici.model.record import dataclass

#: Pieces of evidence that a Result holds; of more, those in the middle are left out.
EVIDENCE = 1000
#: Bytes of JSON that one piece may hold, and that an answer may have.
PIECE, ANSWER = 64 * 1024, 8 * 1024 * 1024


def undo_id(request: str) -> str:
    """The id of the one child command that undoes this one (and is undone by none itself)."""
    return f"{root_id(request)}.undo"


def root_id(request: str) -> str:
    """What a command and its undo have in common."""
    return request.removesuffix(".undo").replace("-", ".")


def size_of(data: Any) -> int:
    """Bytes that the data takes as JSON."""
    try:
        return len(orjson.dumps(data, default=str))
    except TypeError:  # lone surrogates, integers beyond 64 bits
        return len(repr(data))


def plain(data: Any) -> Any:
    """The data as JSON can say it; the very same where it can. A plugin's odd object must not keep an outcome unwritten."""
    try:
        orjson.dumps(data)
    except TypeError:
        if isinstance(data, Mapping):
            return {str(key): plain(value) for key, value in data.items()}
        if isinstance(data, list | tuple | set | frozenset):
            return [plain(item) for item in data]
        return data if isinstance(data, str | int) else str(data)
    return data


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call of an earlier process, from the journal. ``done`` None: an intent without an outcome, in doubt, or of which
    that process had settled already that it did not happen (``not_happened``).

    ``deadline``: seconds since the epoch until which the call may still be under way.
    """

    intent: int
    call: Call
    done: Done | None
    deadline: float
    engine: str
    redacted: bool
    not_happened: bool = False


@dataclass(slots=True)
class Execution:
    """``catalog``: the one that held when the Request was accepted; a reload does not change what runs.

    ``intents``: how many were journaled; above 0 the world may have been changed; ``applied``: how many calls certainly
    changed it. ``offered``, ``skipped``, ``empty``: changing steps let in by ``when``, left out by ``unless``, or with
    nothing to repeat over. ``left`` and ``left_target``: how the change left its target,
    seen after the call of number ``left_after``. ``taking``: healthy replicas that
    it takes of each owner. ``cancelled``: set by whoever cancels it. ``failures``: of an ``each`` that goes on after them.
    ``took``: of each owner, what of it was taken, by resource, the last time at ``took_at``; ``missing``: how many of it
    were down before; ``counted``: ``taking`` and ``took`` before the last call. ``begun``: a call of it was in
    doubt and the effect of the whole is not there, which says nothing of that call alone.
    ``touched``: keys of what the last change touched. ``items``: what each ``each`` repeats over; ``told``: recorded
    answers that the journal has already. ``conflicts``: how often the look of each call was stale.
    ``reverting``: its own change is being taken back. ``redact`` hides what must not be shown. ``formed``: there is a
    command. ``seen``: its ``only_if`` held.
    """

    id: str
    request: Request
    origin: Origin
    catalog: Catalog
    clock: Clock
    progress: Callable[[str, Evidence], None] | None = None
    redact: Callable[[Any], Any] = lambda data: data
    hidden: frozenset[str] = frozenset()
    task: asyncio.Task[Any] | None = None
    incident: str | None = None
    parent: Execution | None = None
    only_if: OnlyIf | None = None
    seen: bool = False
    dry_run: bool = False
    started: float = 0.0
    command: Command | None = None
    target: Resource | None = None
    environment: str | None = None
    place: OpenEnvironment | None = None
    hold: Hold | None = None
    risk: Risk | None = None
    before: Any = None
    has_before: bool = False
    before_journaled: bool = False
    accepted: bool = False
    answer: Any = None
    intents: int = 0
    calls_until: float = float("inf")
    offered: int = 0
    skipped: int = 0
    empty: bool = False
    changes: int = 0
    applied: int = 0
    begun: bool = False
    reverting: bool = False
    left: Any = None
    left_after: int | None = None
    left_target: Resource | None = None
    left_unknown: bool = False
    taking: dict[str, int] = field(default_factory=dict)
    took: dict[str, dict[str, int]] = field(default_factory=dict)
    took_at: float = 0.0
    missing: dict[str, int] = field(default_factory=dict)
    counted: tuple[dict[str, int], dict[str, dict[str, int]]] | None = None
    touched: frozenset[str] = frozenset()
    conflicts: dict[tuple[str, int, int], int] = field(default_factory=dict)
    failures: list[EndedError] = field(default_factory=list)
    items: dict[tuple[str, int], list[Any]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    blocked: EndedError | None = None
    recorded: dict[tuple[str, int, int], Recorded] = field(default_factory=dict)
    recorded_answers: dict[str, Any] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    formed: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled_by: str = ""
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def undoing(self) -> bool:
        """Whether this is the undo of another command; after a restart only the Command knows."""
        return self.parent is not None or (self.command is not None and self.command.parent is not None)

    @property
    def clearing(self) -> bool:
        """Whether an earlier process had verified it and begun to clear up: what it would be taken back to may be gone."""
        return any(part == "confirm" for part, _, _ in self.recorded)

    def note(self, kind: str, name: str, verdict: str, data: Mapping[str, Any] | None = None) -> None:
        if data is not None:
            data = self.redact(dict(data))
            if (size := size_of(data)) > PIECE:
                data = {"left_out": f"{size} bytes"}
        seen = Evidence(kind=kind, name=name, verdict=verdict, at=rfc3339(self.clock()), data=data)
        keep(self.evidence, seen)
        if self.progress is not None:
            try:
                self.progress(self.id, seen)
            except Exception as error:  # noqa: BLE001 - whoever listens must not be able to stop what has begun
                said = {"message": f"on_progress failed; the request {self.id} goes on", "exception": error}
                asyncio.get_running_loop().call_exception_handler(said)

    def start_over(self) -> None:
        """Back to before the first step: nothing was changed, and what was seen is stale."""
        self.offered = self.skipped = self.changes = self.applied = 0
        self.empty = False
        self.failures.clear()
        self.items.clear()
        self.told.clear()
        if self.parent is None:
            self.before, self.has_before, self.before_journaled = None, False, False

    def pass_gates(self, gates: list[Gate]) -> None:
        """Notes the gates; raises EndedError for one that did not pass. A dry run goes on and ends with it."""
        for gate in gates:
            self.note("gate", gate.name, gate.reason.value if gate.reason else "pass")
            if gate.status is not None and gate.reason is not None:
                self.block(EndedError(gate.status, gate.reason, gate.message, gate.name))

    def block(self, ended: EndedError) -> None:
        """The walk may not go on; a dry run remembers the first reason and shows the rest of the way."""
        if not self.dry_run or ended.reason is Reason.PERMISSION:
            raise ended
        if self.blocked is None:
            self.blocked = ended

    def result(
        self,
        status: Status,
        reason: Reason | None,
        message: str,
        *,
        verification: Verification | None = None,
        undo: Mapping[str, Any] | None = None,
    ) -> Result:
        target = self.target
        return Result(
            id=self.id,
            operation=self.request.operation,
            environment=self.environment or self.request.environment,
            origin=str(self.origin),
            target={"kind": target.kind, "id": target.id, "name": target.name, "namespace": target.namespace}
            if target
            else None,
            risk=self.risk,
            dry_run=self.dry_run,
            status=status,
            reason=reason,
            message=message,
            answer=self.answer,
            verification=verification,
            undo=undo,
            approval=None,
            started_at=rfc3339(self.started),
            ended_at=rfc3339(self.clock()),
            evidence=tuple(self.evidence),
        )


def keep(evidence: list[Evidence], seen: Evidence) -> None:
    """Adds one. Bounded: of a very long walk the beginning and the end are kept."""
    if len(evidence) >= EVIDENCE:
        middle = EVIDENCE // 2
        before = evidence[middle].data if evidence[middle].name == "left_out" else None
        drop = 1 if before is not None else 2
        count = drop + (before["pieces"] if before is not None else 0)
        start = middle + 1 if before is not None else middle
        del evidence[start : start + drop]
        gap = Evidence(kind="sample", name="left_out", verdict="bounded", at=seen.at, data={"pieces": count})
        if before is not None:
            evidence[middle] = gap
        else:
            evidence.insert(middle, gap)
    evidence.append(seen)

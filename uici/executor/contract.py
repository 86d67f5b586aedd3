"""The contract of an executor: the plugin that knows one SDK.

Built-ins and third parties implement the same Protocol and are found through the entry-point group ``uici.executors``
(name: the word that ``environments.*.executor`` says; value: the class, made without arguments). An executor translates
plain data to its SDK and back. It must not decide what may run, keep state about requests, retry a call that is not
``observe``, or let a live SDK object out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Protocol, runtime_checkable

from uici.model import Call, Environment, Pinned, Resource, Risk, Touch
from uici.model.record import dataclass

JSONSchema = Mapping[str, Any]
Settings = Mapping[str, Any]
#: Of a stream's source: the cursor of the last line that somebody has of it, or an empty text.
Marks = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be located. ``kind``: as the operation asks (``service``); ``name``: a name or an id, exact."""

    kind: str
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepToCheck:
    """A translation's step as ``check`` sees it, without an engine.

    ``path``: the SDK's words, the receiver's type first where the head was an earlier ``as`` or ``item``
    (``containers.get``; ``Container.restart``). ``arguments``: name -> JSON Schema of what its value may be
    (``{"const": 5}`` for a literal; ``{}`` where nothing is known; a nested literal with templates inside is an object
    schema). ``accept`` and ``retry``: names of SDK errors, to be checked too.
    """

    path: str
    arguments: Mapping[str, JSONSchema]
    dialect: str
    accept: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProblem:
    """``code``: ``unknown_call``, ``unknown_argument``, ``missing_argument``, ``wrong_argument``, ``unknown_error``,
    ``not_a_stream``. ``argument``: dotted path of the argument that is wrong, None for the call itself."""

    code: str
    message: str
    hint: str = ""
    argument: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """``risk``: static; arguments that only run time knows judged by their schemas' bounds. Unknown calls: destroy.

    ``answer``: type of the answer in the SDK's words (``Container``, ``list[Container]``), so that a later step may call a
    method of it; None for plain data. ``answer_schema``: JSON Schema of the recorded answer where it is known, else None.
    """

    problems: tuple[CheckProblem, ...] = ()
    risk: Risk = Risk.DESTROY
    answer: str | None = None
    answer_schema: JSONSchema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The engine did it. ``answer``: plain JSON-like data. ``resources``: of each object in the answer, so that a later
    step can call a method of it (found by its ``id`` in the data)."""

    answer: Any
    resources: tuple[Resource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The engine's answer proves that nothing was done. ``errors``: the SDK error's class names, most derived first
    (``accept`` and ``retry`` name one of them). ``reason``: a ``Reason`` value: ``executor``, ``permission``, ``conflict``,
    ``unreachable``, ``unknown_target``. ``stale``: a precondition of the pinned call no longer held; looking again and
    deciding again may do."""

    errors: tuple[str, ...]
    message: str
    reason: str = "executor"
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nobody can tell whether it happened: timeout, broken connection, 5xx, or any error that is no listed rejection."""

    message: str


Outcome = Done | Rejected | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the processes that share the journal, for ``identity``. All may be empty.

    ``pids``: this daemon's process and its ancestors. ``containers``: full container ids found in cgroups and mounts.
    ``addresses``: ``host:port`` and unix paths it listens on, or needs (store, engines). ``paths``: journal,
    configuration, socket, program. ``names``: of ``depends_on`` in platform.yml: mappings of kind, name, id, environment.
    ``pod``: of the Kubernetes Pod that it runs in: ``uid``, ``name``, ``namespace``, ``node``, ``service_account``.
    """

    machine_id: str = ""
    boot_id: str = ""
    hostname: str = ""
    pids: tuple[int, ...] = ()
    process_groups: tuple[int, ...] = ()
    containers: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    names: tuple[Mapping[str, Any], ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What of this engine UICI is and needs. ``shows``: the evidence, in words, also where there is nothing.

    ``unknown``: why that cannot be told; every change there is then refused.
    """

    resources: tuple[Resource, ...] = ()
    shows: str = ""
    unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What the engine's own dry run says would change."""

    text: str
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a stream.

    ``source``: which replica said it, told apart from every other one (``web-5c/main``). ``cursor``: where in it a follower
    goes on: cursors of one source are all different and sort as text in the order of its lines. ``name``: what people call
    that source, where that is another word.
    """

    text: str
    cursor: str
    source: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something about a watched resource changed; look again."""

    resource: Resource
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    ok: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One right, in the engine's words (``docker: containers.restart``, ``apps/deployments patch in shop``)."""

    name: str


@runtime_checkable
class Executor(Protocol):
    """One instance an environment. ``check`` and ``detect`` work before ``open``; everything else after it.

    ``locate``, ``identity``, ``resolve``, ``preview`` and ``health`` read only; they raise ``UnreachableError`` when the
    engine does not answer (``DeniedError``: when it denies this login the read). Every wait is bounded.

    ``stream`` begins, in each source, after the cursor that ``after`` gives for it, and misses nothing that the engine still
    has. Once ``until`` is set it gives what there is at that moment and ends; set from the start, it follows
    nothing.
    """

    settings: ClassVar[JSONSchema]
    dialects: ClassVar[tuple[str, ...]]

    def detect(self) -> Settings | None: ...
    def check(self, step: StepToCheck) -> Checked: ...
    def risk(self, pinned: Pinned) -> Risk: ...
    async def open(self, environment: Environment) -> None: ...
    async def close(self) -> None: ...
    async def engine_id(self) -> str: ...
    async def locate(self, target: Target) -> list[Resource]: ...
    async def identity(self, facts: Facts) -> Identity: ...
    async def resolve(self, call: Call) -> Pinned: ...
    async def preview(self, call: Call) -> Diff | None: ...
    async def run(self, call: Call) -> Outcome: ...
    def stream(
        self, call: Call, *, after: Marks | None = None, until: asyncio.Event | None = None
    ) -> AsyncIterator[Line]: ...
    def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]: ...
    async def health(self) -> Health: ...
    def permissions(self, calls: Sequence[Call]) -> list[Permission]: ...
    async def missing(self, permissions: Sequence[Permission]) -> list[Permission]: ...


__all__ = [
    "Changed",
    "CheckProblem",
    "Checked",
    "Diff",
    "Done",
    "Executor",
    "Facts",
    "Health",
    "Identity",
    "JSONSchema",
    "Line",
    "Marks",
    "Outcome",
    "Permission",
    "Pinned",
    "Rejected",
    "Settings",
    "StepToCheck",
    "Target",
    "Touch",
    "Unknown",
]

"""SupervisorExecutor: the contract over one supervisord. Plain data in, plain data out.

XML-RPC blocks, so every call runs on the environment's threads, each with a connection of its own. It must not decide
what may run, keep state about requests, or repeat a call.
"""

from __future__ import annotations

import asyncio
import re
import xmlrpc.client
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from supervisor.xmlrpc import getFaultDescription

from uici.executor import (
    Changed,
    Checked,
    Diff,
    Done,
    Facts,
    Health,
    Identity,
    JSONSchema,
    Line,
    Marks,
    Outcome,
    Permission,
    Rejected,
    Settings,
    StepToCheck,
    Target,
    Threads,
    Unknown,
    probe,
)
from uici.executor.looks import Looks
from uici.model import Call, ConfigurationError, Environment, Pinned, Resource, Risk, Touch, UnreachableError
from uici_executors.supervisor import calls, place, processes
from uici_executors.supervisor.checks import check
from uici_executors.supervisor.faults import judged
from uici_executors.supervisor.identity import identity
from uici_executors.supervisor.transport import BrokenError, NotSentError, Peer, RefusedError
from uici_executors.supervisor.transport import Line as Address

LOGIN = Permission(name="supervisor: login")
_LOG_BYTES = 256 * 1024
_WATCH_SECONDS = 0.5
_STREAM_SECONDS = 0.5


class SupervisorExecutor:
    """Processes under one supervisord. ``settings``: ``url`` (missing: as ``detect`` finds it), ``username``,
    ``password``, ``timeout`` (seconds of a read), ``uici`` (the process that UICI is, or ``elsewhere``; only where it
    cannot be told)."""

    settings: ClassVar[JSONSchema] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "url": {
                "type": "string",
                "pattern": r"^(unix:///.+|http://.+|\$\{.+\})$",
                "description": "unix:///path/of.sock or http://host:port; missing: the one of this folder or machine.",
            },
            "username": {"type": "string"},
            "password": {"type": "string"},
            "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": 60, "default": 10},
            "uici": {"type": "string", "description": "The process that UICI runs as, or elsewhere."},
        },
    }
    dialects: ClassVar[tuple[str, ...]] = ("supervisor",)

    def __init__(self) -> None:
        self._environment: Environment | None = None
        self._line: Address | None = None
        self._threads: Threads | None = None
        self._calls: Threads | None = None
        self._known: tuple[Peer, bool] | None = None
        self._looks = Looks(self._read)

    # --- without an engine -------------------------------------------------------------------------------------------

    def detect(self) -> Settings | None:
        return place.detect()

    def check(self, step: StepToCheck) -> Checked:
        return check(step)

    def risk(self, pinned: Pinned) -> Risk:
        return calls.risk_of(pinned.call.path, pinned.call.arguments)

    def permissions(self, calls: Sequence[Call]) -> list[Permission]:
        # supervisord knows one login, which may do everything.
        return [LOGIN]

    # --- with one ----------------------------------------------------------------------------------------------------

    async def open(self, environment: Environment) -> None:
        """Raises ConfigurationError where no supervisord is named and none is found; it may be down."""
        settings = environment.settings
        url = settings.get("url") or (await asyncio.to_thread(place.detect) or {}).get("url")
        if not url:
            raise ConfigurationError(
                f"environment {environment.name!r}: no supervisord is named and none is found here; give settings.url, such as "
                "unix:///run/supervisor.sock"
            )
        self._environment = environment
        self._line = Address(url, settings.get("username"), settings.get("password"))
        self._threads = Threads(environment.name)
        # Changes have threads of their own: they wait for programs, and no look waits for them.
        self._calls = Threads(f"{environment.name}-calls")

    async def close(self) -> None:
        for pool in (self._threads, self._calls):
            if pool is not None:
                pool.close()
        self._threads = self._calls = None
        await self._looks.close()

    async def engine_id(self) -> str:
        return (await self._look()).engine

    async def locate(self, target: Target) -> list[Resource]:
        snapshot = await self._look()
        if target.kind not in ("service", "process"):
            return []
        return [
            self._resource(snapshot, one)
            for one in snapshot.processes
            if target.name in (one["id"], one["name"]) and target.namespace in (None, "", one["group"])
        ]

    async def identity(self, facts: Facts) -> Identity:
        snapshot = await self._look()
        environment = self._opened()[0]
        said = environment.settings.get("uici")
        found: Identity = await self._run(identity, snapshot, facts, environment.name, said)
        return found

    async def resolve(self, call: Call) -> Pinned:
        known = calls.method(call.path)
        if known.touches == "nothing":
            return Pinned(call=call)
        if known.touches == "unknown":
            return Pinned(
                call=call,
                unknown=f"nobody can tell what {call.path} touches; declare `touches` for that step, or use another call",
            )
        snapshot = await self._look()
        name = str(call.arguments.get("name", ""))
        found, pinned, missing = _touched(snapshot, known.touches, name)
        if missing:
            return Pinned(call=call, unknown=missing)
        if pinned is not None:
            arguments = {**call.arguments, "name": pinned}
            call = Call(on=call.on, path=call.path, arguments=arguments, risk=call.risk, timeout=call.timeout)
        touches = [self._touch(snapshot, one, known.stops) for one in found]
        if known.touches == "supervisord":
            touches.append(Touch(resource=snapshot.itself(), healthy=1, desired=1, takes=int(known.stops)))
        return Pinned(call=call, touches=tuple(touches))

    async def preview(self, call: Call) -> Diff | None:
        return None  # supervisord has no dry run

    async def run(self, call: Call) -> Outcome:
        try:
            if call.path in calls.OWN:
                return await self._own(call)
            return await self._remote(call)
        except NotSentError as error:
            return Rejected(errors=("ConnectionError",), message=str(error), reason="unreachable")
        except RefusedError as error:
            reason = "permission" if error.status in (401, 403) else "executor"
            return Rejected(errors=("ProtocolError",), message=str(error), reason=reason)
        except (BrokenError, UnreachableError) as error:
            if calls.method(call.path).risk is Risk.OBSERVE:
                return Rejected(errors=("ConnectionError",), message=str(error), reason="unreachable")
            return Unknown(message=str(error))

    async def stream(
        self, call: Call, *, after: Marks | None = None, until: asyncio.Event | None = None
    ) -> AsyncIterator[Line]:
        """Whole lines of a process's log as they come; ``cursor``: the log's offset behind the line.

        supervisord cannot push, so it is asked twice a second. A log that was cut begins anew.
        """
        if call.path not in calls.STREAMS:
            raise ConfigurationError(f"{call.path} is no stream; these are: {', '.join(sorted(calls.STREAMS))}")
        _, line, _ = self._opened()
        name = str(call.arguments["name"])
        mark = after(name) if after is not None else ""
        offset = int(mark if re.fullmatch(r"[0-9]{1,15}", mark) else call.arguments.get("offset", 0))
        method = call.path.replace("tail", "read").replace("readProcessLog", "readProcessStdoutLog")
        rest = ""
        while True:
            ended = until is not None and until.is_set()  # before what is read now, so that nothing comes after it
            try:
                text, _ = await self._run(line.call, method, name, offset, _LOG_BYTES, timeout=self._timeout())
            except xmlrpc.client.Fault as fault:
                if getFaultDescription(fault.faultCode) != "BAD_ARGUMENTS":
                    raise UnreachableError(f"the log of {name} cannot be read: {fault.faultString}") from fault
                text, offset = "", 0
            except (NotSentError, RefusedError, BrokenError) as error:
                raise UnreachableError(str(error)) from error
            rest += text
            whole, _, rest = rest.rpartition("\n")
            offset += len(text.encode())
            behind = offset - len(rest.encode())
            if whole:
                lines = whole.split("\n")
                sizes = [len(one.encode()) + 1 for one in lines]
                at = behind - sum(sizes)
                for one, size in zip(lines, sizes, strict=True):
                    at += size
                    yield Line(text=one, cursor=f"{at:015d}", source=name)
            if not text:
                if ended:
                    return
                await asyncio.sleep(_STREAM_SECONDS)

    async def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        """XML-RPC has no events, so while somebody watches the process list is read twice a second (under 2 ms each)."""
        wanted = {one.id: one for one in resources}
        seen: dict[str, tuple[Any, ...]] | None = None
        while True:
            try:
                snapshot = await self._look()
            except UnreachableError:
                await asyncio.sleep(_WATCH_SECONDS)
                continue
            now = {one["id"]: (one["statename"], one["pid"]) for one in snapshot.processes if one["id"] in wanted}
            for process_id in wanted if seen is not None else ():
                if seen is not None and now.get(process_id) != seen.get(process_id):
                    yield Changed(resource=wanted[process_id], what=str(now.get(process_id, ("removed",))[0]))
            seen = now
            await asyncio.sleep(_WATCH_SECONDS)

    async def health(self) -> Health:
        try:
            snapshot = await self._look()
        except UnreachableError as error:
            return Health(ok=False, message=str(error))
        running = sum(one["statename"] == "RUNNING" for one in snapshot.processes)
        return Health(ok=True, message=f"{snapshot.address}: {running} of {len(snapshot.processes)} processes run")

    async def missing(self, permissions: Sequence[Permission]) -> list[Permission]:
        try:
            await self._look()
        except UnreachableError as error:
            if isinstance(error.__cause__, RefusedError) and error.__cause__.status in (401, 403):
                return [LOGIN]
            raise
        return []

    # --- inside ------------------------------------------------------------------------------------------------------

    def _opened(self) -> tuple[Environment, Address, Threads]:
        if self._environment is None or self._line is None or self._threads is None:
            raise ConfigurationError("this supervisor executor is not open; call open() with an environment first")
        return self._environment, self._line, self._threads

    def _timeout(self) -> float:
        return float(self._opened()[0].settings.get("timeout", 10))

    async def _run(self, function: Any, *arguments: Any, **named: Any) -> Any:
        return await self._opened()[2].run(function, *arguments, **named)

    async def _look(self) -> place.Snapshot:
        """What runs, read after this was asked."""
        return await self._looks.look()

    async def _read(self) -> place.Snapshot:
        snapshot: place.Snapshot = await self._run(place.look, self._opened()[1], self._timeout())
        return snapshot

    def _resource(self, snapshot: place.Snapshot, process: Mapping[str, Any]) -> Resource:
        services = self._opened()[0].services
        known = services.get(process["id"]) or services.get(process["name"])
        return snapshot.resource(process, known.labels if known else None)

    def _touch(self, snapshot: place.Snapshot, process: Mapping[str, Any], stops: bool) -> Touch:
        healthy = int(process["statename"] == "RUNNING")
        return Touch(
            resource=self._resource(snapshot, process), healthy=healthy, desired=1, takes=healthy if stops else 0
        )

    async def _own(self, call: Call) -> Outcome:
        arguments = call.arguments
        if call.path == "probe.check":
            seconds = min(float(arguments.get("timeout_seconds", 2.0)), call.timeout)
            try:
                return Done(answer=await self._run(probe.check, arguments["url"], seconds))
            except ValueError as error:
                return Rejected(errors=("ValueError",), message=str(error))
        snapshot = await self._look()
        if call.path == "process.usage":
            return await self._usage(snapshot, int(arguments["pid"]))
        return await self._logs(snapshot, str(arguments["name"]), int(arguments.get("lines", 200)), call.timeout)

    async def _usage(self, snapshot: place.Snapshot, pid: int) -> Outcome:
        if not snapshot.local:
            message = f"the supervisord at {snapshot.address} is not of this machine, so its processes cannot be measured from here"
            return Rejected(errors=("NOT_LOCAL",), message=message)
        if pid and pid not in {one["pid"] for one in snapshot.processes}:
            message = f"pid {pid} is of no process of the supervisord at {snapshot.address}"
            return Rejected(errors=("BAD_NAME",), message=message, reason="unknown_target")
        return Done(answer=await self._run(processes.usage, pid))

    async def _logs(self, snapshot: place.Snapshot, name: str, most: int, timeout: float) -> Outcome:
        found = [one for one in snapshot.processes if one["id"] == name]
        if not found:
            message = f"no process {name!r} (group:name) at {snapshot.address}"
            return Rejected(errors=("BAD_NAME",), message=message, reason="unknown_target")
        texts = [
            await self._log(snapshot, name, found[0][f"{channel}_logfile"], channel.capitalize(), timeout)
            for channel in ("stdout", "stderr")
        ]
        out, err = ([line[:4096] for line in text.splitlines()] for text in texts)
        # Errors are what is looked for: stdout gives up its share first, but not more than half.
        kept = out[-max(most - len(err), most // 2) :] if most > len(err) or most // 2 else []
        return Done(answer={"lines": [*kept, *err[-(most - len(kept)) :]] if err and most > len(kept) else kept})

    async def _log(self, snapshot: place.Snapshot, name: str, path: str, channel: str, timeout: float) -> str:
        # XML cannot carry control characters (a coloured log has them) and supervisord fails on a cut character, so the
        # file itself is read where it is here.
        if not path:
            return ""
        if snapshot.local:
            read = await self._run(processes.tail, path, _LOG_BYTES, processes.owner(snapshot.pid))
            if read is not None:
                return str(read.decode(errors="replace"))
        line = self._opened()[1]
        try:
            answer, _ = await self._run(
                line.call, f"supervisor.tailProcess{channel}Log", name, 0, _LOG_BYTES, timeout=timeout
            )
        except xmlrpc.client.Fault:
            return ""
        return str(answer[0])

    async def _remote(self, call: Call) -> Outcome:
        wanted = calls.arguments(call.path)
        if wanted is None:
            return Rejected(errors=("UNKNOWN_METHOD",), message=f"supervisor has no call {call.path!r}")
        # XML-RPC has positions, no names.
        given = [call.arguments[one.name] for one in wanted if one.name in call.arguments]
        if len(given) != len(call.arguments) or [one.name for one in wanted[: len(given)]] != [
            one.name for one in wanted if one.name in call.arguments
        ]:
            names = ", ".join(one.name for one in wanted)
            message = f"{call.path} takes ({names}) in that order, not {', '.join(call.arguments)}"
            return Rejected(errors=("INCORRECT_PARAMETERS",), message=message)
        _, line, threads = self._opened()
        try:
            pool = self._calls if calls.method(call.path).risk is not Risk.OBSERVE else None
            answer, peer = await (pool or threads).run(line.call, call.path, *given, timeout=call.timeout)
        except xmlrpc.client.Fault as fault:
            return judged(call, fault)
        if call.path == "supervisor.getProcessInfo":
            return Done(answer=place.recorded(answer, await self._is_local(peer)))
        if call.path == "supervisor.getAllProcessInfo":
            local = await self._is_local(peer)
            return Done(answer=[place.recorded(one, local) for one in answer])
        return Done(answer=answer)

    async def _is_local(self, peer: Peer) -> bool:
        """Whether the supervisord that has just answered counts its processes as this machine does; asked once each."""
        if self._known is None or self._known[0] != peer:
            self._known = (peer, (await self._look()).local)
        return self._known[1]


def _touched(
    snapshot: place.Snapshot, touches: str, name: str
) -> tuple[list[Mapping[str, Any]], str | None, str | None]:
    """The processes that a call touches, the exact name to send (None: the call has none), and why that is unknown."""
    if touches in ("every", "supervisord"):
        return list(snapshot.processes), None, None
    group, colon, process = name.partition(":")
    if touches == "group" or calls.is_group(name):
        found = [one for one in snapshot.processes if one["group"] == group]
        pinned = name if touches == "group" else f"{group}:*"
        problem = f"no group {group!r} is active at {snapshot.address}; there are: {_names(snapshot, 'group')}"
        return found, pinned, None if found else problem
    exact = f"{group}:{process}" if colon else f"{name}:{name}"
    found = [one for one in snapshot.processes if one["id"] == exact]
    problem = f"no process {exact!r} at {snapshot.address}; there are: {_names(snapshot, 'id')}"
    return found, exact, None if found else problem


def _names(snapshot: place.Snapshot, key: str) -> str:
    return ", ".join(sorted({str(one[key]) for one in snapshot.processes})[:20]) or "none"

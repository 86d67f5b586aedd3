"""What supervisord's XML-RPC methods do: the risk table, what each touches, and their arguments. Pure data and checks.

The table is written by hand from the methods' documentation (http://supervisord.org/api.html) and their source; a method
that is not in it is ``destroy`` and touches nobody knows what. It must not talk to a supervisord.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from uici.model import Risk
from uici.model.record import dataclass

OBSERVE, CHANGE, DESTROY = Risk.OBSERVE, Risk.CHANGE, Risk.DESTROY


@dataclass(frozen=True, slots=True)
class Method:
    """``touches``: ``nothing``, ``process`` (of ``name``, which may mean a group), ``group`` (of ``name``), ``every``
    process, ``supervisord`` itself with every process, ``unknown``.

    ``stops``: a process that runs may not run afterwards, be it for a moment.
    """

    risk: Risk
    touches: str = "nothing"
    stops: bool = False


METHODS: Mapping[str, Method] = {
    "getAPIVersion": Method(OBSERVE),
    "getVersion": Method(OBSERVE),
    "getSupervisorVersion": Method(OBSERVE),
    "getIdentification": Method(OBSERVE),
    "getState": Method(OBSERVE),
    "getPID": Method(OBSERVE),
    "readLog": Method(OBSERVE),
    "readMainLog": Method(OBSERVE),
    "getAllConfigInfo": Method(OBSERVE),
    "getProcessInfo": Method(OBSERVE),
    "getAllProcessInfo": Method(OBSERVE),
    "readProcessStdoutLog": Method(OBSERVE),
    "readProcessLog": Method(OBSERVE),
    "readProcessStderrLog": Method(OBSERVE),
    "tailProcessStdoutLog": Method(OBSERVE),
    "tailProcessLog": Method(OBSERVE),
    "tailProcessStderrLog": Method(OBSERVE),
    "startProcess": Method(CHANGE, "process"),
    "startProcessGroup": Method(CHANGE, "group"),
    "startAllProcesses": Method(CHANGE, "every"),
    "stopProcess": Method(CHANGE, "process", stops=True),
    "addProcessGroup": Method(CHANGE, "group"),
    # Several at one time, and nothing starts them again:
    "stopProcessGroup": Method(DESTROY, "group", stops=True),
    "stopAllProcesses": Method(DESTROY, "every", stops=True),
    # By the signal; see `signal_risk`.
    "signalProcess": Method(CHANGE, "process", stops=True),
    "signalProcessGroup": Method(CHANGE, "group", stops=True),
    "signalAllProcesses": Method(CHANGE, "every", stops=True),
    "removeProcessGroup": Method(DESTROY, "group", stops=True),
    "clearProcessLogs": Method(DESTROY, "process"),
    "clearProcessLog": Method(DESTROY, "process"),
    "clearAllProcessLogs": Method(DESTROY, "every"),
    # Whatever the process makes of it: a REPL runs it.
    "sendProcessStdin": Method(DESTROY, "process", stops=True),
    # Every event listener may act on it, and none says how.
    "sendRemoteCommEvent": Method(DESTROY, "unknown"),
    "clearLog": Method(DESTROY, "supervisord"),
    "reloadConfig": Method(DESTROY, "supervisord"),
    "restart": Method(DESTROY, "supervisord", stops=True),
    "shutdown": Method(DESTROY, "supervisord", stops=True),
}

_UNKNOWN = Method(DESTROY, "unknown")

#: Signals that a program handles and lives on, by convention. Everything else may end or freeze it.
HARMLESS_SIGNALS = frozenset({"HUP", "USR1", "USR2", "CONT", "WINCH", "1", "10", "12", "18", "28"})

#: What this executor adds to the SDK's words, each reading only: name -> argument -> (type, required).
OWN: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "probe.check": {"url": ("string", True), "timeout_seconds": ("number", False)},
    "process.usage": {"pid": ("integer", True)},
    "process.logs": {"name": ("string", True), "lines": ("integer", False)},
}

PROCESS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": [
        "id",
        "name",
        "group",
        "state",
        "statename",
        "start",
        "stop",
        "now",
        "started_at",
        "pid",
        "spawnerr",
        "exitstatus",
        "description",
    ],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "group": {"type": "string"},
        "start": {"type": "integer"},
        "stop": {"type": "integer"},
        "now": {"type": "integer"},
        "started_at": {"type": "string"},
        "state": {"type": "integer"},
        "statename": {"enum": ["STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN"]},
        "spawnerr": {"type": "string"},
        "exitstatus": {"type": "integer"},
        "logfile": {"type": "string"},
        "stdout_logfile": {"type": "string"},
        "stderr_logfile": {"type": "string"},
        "pid": {"type": "integer"},
        "description": {"type": "string"},
    },
}

#: Recorded answers whose form is known.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "supervisor.getProcessInfo": PROCESS_SCHEMA,
    "supervisor.getAllProcessInfo": {"type": "array", "items": PROCESS_SCHEMA},
    "supervisor.getState": {
        "type": "object",
        "required": ["statecode", "statename"],
        "properties": {"statecode": {"type": "integer"}, "statename": {"type": "string"}},
    },
    "probe.check": {
        "type": "object",
        "required": ["url", "health", "message"],
        "properties": {
            "url": {"type": "string"},
            "health": {"enum": ["healthy", "unhealthy", "unknown"]},
            "healthy": {"type": "boolean"},
            "message": {"type": "string"},
        },
    },
    "process.usage": {
        "type": "object",
        "required": ["cpu_percent", "memory_bytes", "processes"],
        "properties": {
            "cpu_percent": {"type": "number"},
            "memory_bytes": {"type": "integer"},
            "processes": {"type": "integer"},
        },
    },
    "process.logs": {
        "type": "object",
        "required": ["lines"],
        "properties": {"lines": {"type": "array", "items": {"type": "string"}}},
    },
    **{
        f"supervisor.{name}": {"type": "boolean"}
        for name in ("startProcess", "stopProcess", "signalProcess", "addProcessGroup", "removeProcessGroup")
    },
    **{
        f"supervisor.{name}": {"type": "string"}
        for name in ("getIdentification", "getSupervisorVersion", "getAPIVersion")
    },
}

STREAMS = frozenset({"supervisor.tailProcessStdoutLog", "supervisor.tailProcessStderrLog", "supervisor.tailProcessLog"})


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    type: str
    required: bool


@cache
def arguments(path: str) -> tuple[Argument, ...] | None:
    """The arguments of a call, in the order in which XML-RPC wants them; None: there is no such call.

    Names and defaults come from the installed SDK's signature, types from its docstring.
    """
    if path in OWN:
        return tuple(Argument(name, type_, required) for name, (type_, required) in OWN[path].items())
    namespace, _, name = path.partition(".")
    if namespace != "supervisor" or name.startswith("_"):
        return None
    from supervisor.rpcinterface import SupervisorNamespaceRPCInterface  # the server's half: only checks need it

    function = getattr(SupervisorNamespaceRPCInterface, name, None)
    if not inspect.isfunction(function):
        return None
    documented = re.findall(r"@param\s+(\w+)\s+(\w+)", function.__doc__ or "")
    types = {argument: "integer" if type_ == "int" else type_ for type_, argument in documented}
    return tuple(
        Argument(one.name, types.get(one.name, "string"), one.default is one.empty)
        for one in list(inspect.signature(function).parameters.values())[1:]
    )


def paths() -> tuple[str, ...]:
    """Every call there is, for "did you mean"."""
    return tuple(sorted([*(f"supervisor.{name}" for name in METHODS), *OWN]))


def method(path: str) -> Method:
    """What is known of a call; one that is not known is ``destroy``."""
    if path in OWN:
        return Method(OBSERVE)
    namespace, _, name = path.partition(".")
    return METHODS.get(name, _UNKNOWN) if namespace == "supervisor" else _UNKNOWN


def is_group(name: str) -> bool:
    """Whether supervisord takes a process name for a whole group (``shop:*``, ``shop:``), as ``split_namespec`` does."""
    _, colon, process = name.partition(":")
    return bool(colon) and process in ("", "*")


def risk_of(path: str, known: Mapping[str, Any]) -> Risk:
    """The risk of a call with what is known of its arguments; what is not known counts as the worst it may be.

    ``known``: name -> value, of those whose value is certain.
    """
    found = method(path)
    if path.startswith("supervisor.signal"):
        return max(found.risk, signal_risk(known.get("signal")), key=lambda risk: risk.rank)
    if path == "supervisor.stopProcess" and is_group(str(known.get("name", ""))):
        return METHODS["stopProcessGroup"].risk
    return found.risk


def signal_risk(signal: Any) -> Risk:
    """``change`` for the signals that programs live through, ``destroy`` for every other and for one not known yet."""
    return CHANGE if str(signal).upper().removeprefix("SIG") in HARMLESS_SIGNALS else DESTROY


def misfit(schema: Mapping[str, Any], wanted: str) -> str | None:
    """Why a value of this JSON Schema can never be of the wanted type; None where it may."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        bad = [value for value in values if not _is(value, wanted)]
        return f"{bad[0]!r} is no {wanted}" if bad else None
    given = schema.get("type")
    if given is None:
        return None
    kinds = [given] if isinstance(given, str) else list(given)
    if wanted == "number":
        kinds = ["number" if kind == "integer" else kind for kind in kinds]
    elif wanted == "integer":
        kinds = ["integer" if kind == "number" else kind for kind in kinds]
    return None if wanted in kinds else f"{' or '.join(kinds)} is no {wanted}"


def _is(value: Any, wanted: str) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return True

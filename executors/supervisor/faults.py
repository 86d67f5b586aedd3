"""What a fault of supervisord proves: that nothing was done, that it was done, or nothing. Data and one pure function."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Mapping

from supervisor.xmlrpc import getFaultDescription

from uici.executor import Done, Outcome, Rejected, Unknown
from uici.model import Call, Risk
from uici_executors.supervisor import calls

#: Faults that are raised before anything was done, and the reason that they are given. FAILED is none of them but where
#: `startProcess` says it: it means that a signal or a file could not be dealt with, whatever came of it.
REJECTIONS: Mapping[str, str] = {
    "UNKNOWN_METHOD": "executor",
    "INCORRECT_PARAMETERS": "executor",
    "BAD_ARGUMENTS": "executor",
    "SIGNATURE_UNSUPPORTED": "executor",
    "SHUTDOWN_STATE": "conflict",
    "BAD_NAME": "unknown_target",
    "BAD_SIGNAL": "executor",
    "NO_FILE": "executor",
    "NOT_EXECUTABLE": "executor",
    "ALREADY_STARTED": "conflict",
    "NOT_RUNNING": "conflict",
    "ALREADY_ADDED": "conflict",
    "STILL_RUNNING": "conflict",
    "CANT_REREAD": "executor",
}

#: `startProcess` did what it can, and the process could not be started or ended at once; supervisord may be trying again. That
#: is done, with the answer false: whether it helped is for `verify` to say. ABNORMAL_TERMINATION is none of them: it is said of a
#: process that ended meanwhile, and of one that is being stopped, where nothing was started.
STARTED_AND_ENDED = frozenset({"SPAWN_ERROR"})


def judged(call: Call, fault: xmlrpc.client.Fault) -> Outcome:
    """What a fault proves."""
    name = getFaultDescription(fault.faultCode)
    method = call.path.partition(".")[2]
    message = f"{call.path}: {fault.faultString}"
    if name in STARTED_AND_ENDED and method == "startProcess":
        return Done(answer=False)
    rejected = name in REJECTIONS or (name == "FAILED" and method == "startProcess")
    if name == "SHUTDOWN_STATE" and method in ("signalProcessGroup", "signalAllProcesses"):
        rejected = False  # these ask for the state once more after they have signalled
    if rejected or calls.method(call.path).risk is Risk.OBSERVE:
        return Rejected(errors=(name, "Fault"), message=message, reason=REJECTIONS.get(name, "executor"))
    return Unknown(message=message)

"""The contract of a plugin, and how plugins are found. No decision is taken here."""

from uici.executor.address import without_login
from uici.executor.blocking import Threads
from uici.executor.contract import (
    Changed,
    Checked,
    CheckProblem,
    Diff,
    Done,
    Executor,
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
    Unknown,
)
from uici.executor.plugins import load, names, points

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
    "Rejected",
    "Settings",
    "StepToCheck",
    "Target",
    "Threads",
    "Unknown",
    "load",
    "names",
    "points",
    "without_login",
]

"""The words of the project: frozen data that every floor shares. No I/O, no SDK, nothing that decides."""

from uici.model.alert import Alert
from uici.model.command import Command
from uici.model.environment import Environment, Runbook, RunbookStep, Service
from uici.model.errors import (
    ConfigurationError,
    DaemonError,
    DeniedError,
    ExpressionError,
    JournalError,
    JournalInUseError,
    UICIError,
    UnreachableError,
)
from uici.model.incident import Incident, Try
from uici.model.matcher import Matcher, match_all
from uici.model.operation import Ask, Operation, OperationTarget, Step, Translation, Verify
from uici.model.policy import BlastRadius, Brake, Platform, Policies, Protected, Rule, Token, size
from uici.model.request import Evidence, OnlyIf, Origin, Request, Result, in_short
from uici.model.resource import Call, Pinned, Resource, Touch
from uici.model.times import Clock, duration, epoch, normalised, rfc3339
from uici.model.words import (
    INVALID,
    UNENDED,
    Autonomy,
    IncidentState,
    Reason,
    Risk,
    Status,
    Verification,
    exit_code,
)

__all__ = [
    "INVALID",
    "UNENDED",
    "Alert",
    "Ask",
    "Autonomy",
    "BlastRadius",
    "Brake",
    "Call",
    "Clock",
    "Command",
    "ConfigurationError",
    "DaemonError",
    "DeniedError",
    "Environment",
    "Evidence",
    "ExpressionError",
    "Incident",
    "IncidentState",
    "JournalError",
    "JournalInUseError",
    "Matcher",
    "OnlyIf",
    "Operation",
    "OperationTarget",
    "Origin",
    "Pinned",
    "Platform",
    "Policies",
    "Protected",
    "Reason",
    "Request",
    "Resource",
    "Result",
    "Risk",
    "Rule",
    "Runbook",
    "RunbookStep",
    "Service",
    "Status",
    "Step",
    "Token",
    "Touch",
    "Translation",
    "Try",
    "UICIError",
    "UnreachableError",
    "Verification",
    "Verify",
    "duration",
    "epoch",
    "exit_code",
    "in_short",
    "match_all",
    "normalised",
    "rfc3339",
    "size",
]

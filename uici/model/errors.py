"""The project's errors. One root, ``UICIError``; each message says place, problem and cure."""

from __future__ import annotations


class UICIError(Exception):
    """Root of every error that UICI raises on purpose."""


class ConfigurationError(UICIError):
    """A setting, a secret or a path outside the catalog's own checks is wrong."""


class ExpressionError(UICIError):
    """A CEL expression does not compile, does not give what is wanted, or failed on the data it was given."""


class JournalError(UICIError):
    """The journal cannot be read or written. Nothing may act while this holds."""


class JournalInUseError(JournalError):
    """Another process holds the journal; the message names it and the cure."""


class UnreachableError(UICIError):
    """An engine does not answer. A read failed; nothing was changed by it."""


class DeniedError(UnreachableError):
    """An engine answers, and denies this login a right to read; the message names it."""


class DaemonError(UICIError):
    """The daemon that a command talked to answered with an error; carries its problem+json."""

"""The journal: one append-only table of entries, and what is derived from it. It decides nothing."""

from uici.journal.entry import KINDS, Entry
from uici.journal.interface import Attempt, Escalation, Journal, Unsettled, WaitingAlert

__all__ = ["KINDS", "Attempt", "Entry", "Escalation", "Journal", "Unsettled", "WaitingAlert"]

"""The journal: one append-only table of entries, and what is derived from it. It decides nothing."""

from uici.journal.entry import KINDS, Entry
from uici.journal.interface import Attempt, Escalation, Journal, Unsettled, WaitingAlert
from uici.journal.sqlite import SQLiteJournal, open_journal

__all__ = [
    "KINDS",
    "Attempt",
    "Entry",
    "Escalation",
    "Journal",
    "SQLiteJournal",
    "Unsettled",
    "WaitingAlert",
    "open_journal",
]

"""What SQLite and the disk say when they fail, in words. It decides nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from uici.model import JournalError


def in_words(error: Exception, path: Path) -> JournalError:
    """The error as a JournalError: place, problem, cure."""
    if isinstance(error, JournalError):
        return error
    text = str(error)
    code = getattr(error, "sqlite_errorname", "") or ""
    if isinstance(error, FileNotFoundError):
        cure = "stop this process, put the file back from where it went, and start again; nothing acts until then"
        text = text if "removed" in text else f"{path} or its -wal file was removed while this process holds it"
        return JournalError(f"journal: {text}; {cure}")
    if code.startswith("SQLITE_FULL") or "full" in text:
        cure = "the disk is full: make room; what was not accepted may be sent again"
    elif code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "locked" in text:
        cure = "another program has it open and locked (a database browser?): close that"
    elif code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "malformed" in text or "not a database" in text:
        cure = "it is damaged or no journal: move it away, or restore a backup; nothing acts until then"
    elif code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or "readonly" in text:
        cure = "give this user the file and its folder"
    elif code.startswith("SQLITE_IOERR") or isinstance(error, OSError):
        cure = "the disk does not obey: look into the kernel's log, and how much room is left"
    elif isinstance(error, sqlite3.Error):
        cure = "nothing was written"
    else:
        return JournalError(f"journal {path}: an entry is not as its kind wants it: {type(error).__name__}: {text}")
    return JournalError(f"journal {path}: {text}; {cure}")

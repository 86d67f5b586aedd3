"""A journal of a file, open for as long as a block lasts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from uici.journal import SQLiteJournal, open_journal


@contextlib.asynccontextmanager
async def opened(path: Path, **named: Any) -> AsyncIterator[SQLiteJournal]:
    journal = await open_journal(f"sqlite:///{path}", **named)
    try:
        yield journal
    finally:
        await journal.close()

"""The whole engine over one real executor, with the starter's catalog: what tests of the starter's operations share.

It must not know any executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from uici.catalog import Catalog
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts
from uici.journal import open_journal

STARTER = Path(__file__).parents[2] / "infrastructure/config"
#: UICI runs nowhere on what the test controls.
ELSEWHERE = Facts(pids=(4711,), hostname="elsewhere")


def starter(folder: Path, executor: str, settings: Mapping[str, Any], **more: Any) -> Path:
    """Makes ``folder`` a copy of the starter's catalog with one environment, which is named as its executor."""
    shutil.copytree(STARTER, folder)
    environment = {"executor": executor, "settings": dict(settings), "autonomy": "change", **more}
    document = {"version": 1, "environments": {executor: environment}}
    (folder / "environments.yml").write_text(yaml.safe_dump(document))
    return folder


@contextlib.asynccontextmanager
async def running(
    catalog: Catalog, folder: Path, *, facts: Facts = ELSEWHERE, faster: float = 1.0, grace: float = 5.0
) -> AsyncIterator[UniversalInfrastructureInterface]:
    """The engine, with its journal in ``folder``. Time runs ``faster`` for it, so that what has to last costs little."""
    journal = await open_journal(f"sqlite:///{folder}/journal.db")
    begin = time.time()
    interface = UniversalInfrastructureInterface(
        catalog,
        journal,
        facts=facts,
        clock=lambda: begin + (time.time() - begin) * faster,
        sleep=lambda seconds: asyncio.sleep(seconds / faster),
    )
    await interface.start()
    try:
        yield interface
    finally:
        await interface.close(grace=grace)
        await journal.close()

"""The engine that is attacked: the module's ``catalog``, and UICI where the module's ``scene`` says that it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.executors.whole import running
from uici.catalog import UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def infrastructure(
    scene: Any, catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[UniversalInfrastructureInterface]:
    folder = tmp_path_factory.mktemp("journal")
    async with running(UniversalConfigLoader(catalog).load(), folder, facts=scene.facts) as interface:
        yield interface

"""What policies.yml protects, by whatever Docker and Compose call it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.executors.whole import running, starter
from uici.catalog import UniversalConfigLoader
from uici.model import Origin, Reason, Request, Status
from uici.model.policy import Protected

pytestmark = pytest.mark.engine("docker")

#: What is protected, what is asked for, whether it is the same thing.
ASKED: list[tuple[dict[str, Any], str, bool]] = [
    ({"name": "db"}, "db", True),
    ({"name": "shop/db"}, "db", True),
    ({"name": "shop-db-2"}, "db", True),
    ({"kind": "compose_service"}, "db", True),
    ({"name": "db"}, "shop-db-1", True),
    ({"name": "one"}, "one", True),
    ({"name": "one"}, "shop-one-1", True),
    ({"kind": "compose_service", "name": "one"}, "shop-one-1", True),
    ({"name": "db"}, "one", False),
]


async def test_a_compose_service_is_protected_by_its_own_name(docker: Docker, tmp_path: Path) -> None:
    for name in ("shop-db-1", "shop-db-2", "shop-one-1"):
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": name.split("-")[1]}
        docker.run(name, labels=labels)
    folder = starter(tmp_path / "catalog", "docker", docker.settings)
    async with running(UniversalConfigLoader(folder).load(), tmp_path, faster=10.0) as interface:
        catalog = interface.catalog
        for protected, service, same in ASKED:
            policies = dataclasses.replace(catalog.policies, protected=(Protected(**protected),))
            interface._core.catalog = dataclasses.replace(catalog, policies=policies)
            request = Request(operation="restart_service", parameters={"service": service, "grace_seconds": 1})
            result = await interface.execute(request, Origin("human", "anna"))
            found = (result.status, result.reason)
            assert found == ((Status.REFUSED, Reason.PROTECTED) if same else (Status.DONE, None)), (protected, service)

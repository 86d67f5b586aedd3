"""What a container prints or holds of secrets, as the doors show it and as the journal keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engines.docker import RUNS, Docker
from tests.executors.whole import running, starter
from uici.catalog import UniversalConfigLoader
from uici.model import Origin, Request, Status

pytestmark = pytest.mark.engine("docker")

#: Of no key.
BODY = ("MIIEowIBAAKCAQEAuiciuiciuiciuiciuiciuiciuiciuiciuiciuiciuiciuici", "TheEndOfIt==")


async def test_a_private_key_in_a_log_is_shown_to_nobody(docker: Docker, tmp_path: Path) -> None:
    """Neither among the lines nor among their patterns; what is said around it is."""
    printed = ["started", "-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----", "serving"]
    docker.run("web", ["printf", r"%s\n", *printed]).wait()
    catalog = UniversalConfigLoader(starter(tmp_path / "catalog", "docker", docker.settings)).load()
    async with running(catalog, tmp_path) as interface:
        asked = Request(operation="service_logs", parameters={"service": "web"})
        result = await interface.execute(asked, Origin("human", "anna"))
    assert result.status is Status.DONE
    assert [result.answer["lines"][0], result.answer["lines"][-1]] == ["started", "serving"]
    assert len(result.answer["lines"]) == len(printed)
    shown = json.dumps(result.to_json()) + (tmp_path / "journal.db").read_bytes().decode("latin-1")
    assert [one for one in BODY if one in shown] == []


async def test_a_secret_on_a_command_line_is_deployed_with_and_written_down_nowhere(
    docker: Docker, tmp_path: Path
) -> None:
    docker.run("cache", [*RUNS, "--requirepass", "hunter22-of-the-cache"])
    docker.client.images.get(docker.image()).tag("uici-test/busybox", "2")
    catalog = UniversalConfigLoader(starter(tmp_path / "catalog", "docker", docker.settings)).load()
    async with running(catalog, tmp_path, faster=10.0) as interface:
        parameters = {"service": "cache", "image": "uici-test/busybox:2"}
        asked = Request(operation="deploy_service", parameters=parameters, confirm=True)
        result = await interface.execute(asked, Origin("human", "anna"))
        assert result.status is Status.DONE, result.message
        shown = json.dumps([result.to_json(), *(one.data for one in await interface.journal.entries(limit=1000))])
    assert "hunter22-of-the-cache" not in shown
    made = docker.client.containers.get("cache").attrs["Config"]
    assert (made["Image"], made["Cmd"][-1]) == ("uici-test/busybox:2", "hunter22-of-the-cache")

"""The description at ``/api/v1/openapi.json`` and the doors themselves say the same (schemathesis, the running daemon)."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.daemon.place import Door, serving, write_catalog
from tests.engines.supervisord import Supervisord
from uici.daemon import openapi
from uici.daemon.table import ROUTES

#: Streams without an end, and the doors whose effect would stop the others' answers from being what they describe.
_APART = {"/api/v1/events"}


def test_every_route_is_described() -> None:
    described = openapi.document(ROUTES)
    for route in ROUTES:
        operation = described["paths"][route.path][route.method.lower()]
        assert operation["summary"].endswith(".")
        assert operation["operationId"] == route.name
        assert "503" in operation["responses"]
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))
    references = set(re.findall(r"#/components/schemas/(\w+)", repr(described)))
    assert references == set(described["components"]["schemas"])


async def test_where_no_body_will_do_is_said(door: Door) -> None:
    for route in ROUTES:
        if route.body is None:
            continue
        said = openapi.document(ROUTES)["paths"][route.path][route.method.lower()]["requestBody"]["required"]
        status, _ = await door.ask(route.method, re.sub(r"{\w+}", "none", route.path))
        assert (status in (415, 422)) == said, route.path


async def test_it_is_served(guarded: Door) -> None:
    status, said = await guarded.get("/api/v1/openapi.json", token="reader")
    assert (status, said["openapi"]) == (200, "3.1.0")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, supervisor: Supervisord) -> Iterator[str]:
    """A daemon on a loop of its own, so that schemathesis may block; it says its address."""
    folder = tmp_path_factory.mktemp("openapi")
    catalog = write_catalog(folder / "catalog", supervisor.url, journal=folder / "journal.db")
    address: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def life() -> None:
        async with serving(catalog, signals=False) as door:
            address.append(door.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(life()))
    thread.start()
    assert ready.wait(30)
    yield address[0]
    over.set()
    thread.join(30)


#: What the description cannot say: one bad alert of a group does not make the post a bad one, and what a plan may be
#: asked of has three forms.
_EXCEPT = {
    "/webhooks/alertmanager": [negative_data_rejection, positive_data_acceptance],
    "/api/v1/plan": [positive_data_acceptance],
    # Text that names no environment is of the right shape, and refused.
    "/api/v1/pause": [positive_data_acceptance],
    "/api/v1/resume": [positive_data_acceptance],
}

schema = schemathesis.openapi.from_dict(openapi.document(ROUTES))


@schema.exclude(path=sorted(_APART)).parametrize()
@settings(
    max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
def test_the_doors_keep_to_it(case: schemathesis.Case, running: str) -> None:
    case.call_and_validate(base_url=running, excluded_checks=_EXCEPT.get(case.operation.path, []))

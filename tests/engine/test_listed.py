"""What the inventory says of a thing counts for policies as what its engine says: its name there, and its labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_execute import short
from uici.model.policy import Protected, Rule

FRONT = "target.labels[?'role'].orValue('') == 'front'"


@pytest.mark.parametrize(
    ("environment", "service", "protected"),
    [
        ("listed", "web", Protected(labels={"role": "front"})),
        ("listed", "shop", Protected(name="shop")),  # the inventory's name for db
        ("listed", "shop", Protected(labels={"role": "front"})),  # it touches web as well
        ("shop", "extra", Protected(name="extra")),
    ],
    ids=["label", "name", "label of another", "name beside a listing"],
)
async def test_protected(environment: str, service: str, protected: Protected, folder: Path) -> None:
    write_world(folder / "world.json", {"web": {}, "db": {"also_touches": ["web"]}})
    async with rehearsing(folder) as rehearsal:
        engine = rehearsal.infrastructure._core
        policies = dataclasses.replace(engine.catalog.policies, protected=(protected,))
        engine.catalog = dataclasses.replace(engine.catalog, policies=policies)
        result = await rehearsal.run("restart_service", service=service, environment=environment)
        assert short(result)[:2] == ("refused", "protected"), result.message
        assert rehearsal.effects == []


async def test_a_rule_sees_it_of_all_that_is_touched(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {}, "db": {}, "api": {"also_touches": ["web"]}})
    async with rehearsing(folder) as rehearsal:
        engine = rehearsal.infrastructure._core
        policies = dataclasses.replace(engine.catalog.policies, rules=(Rule(name="r", when=FRONT, effect="deny"),))
        services = engine.catalog.environments["listed"].services
        listed = dataclasses.replace(
            engine.catalog.environments["stage"],
            name="front",
            services={"first": dataclasses.replace(services["web"], id="web")},
        )
        engine.catalog = dataclasses.replace(
            engine.catalog, policies=policies, environments={**engine.catalog.environments, "front": listed}
        )
        engine.environments._catalog = engine.catalog
        assert (await rehearsal.run("restart_service", service="api", environment="front")).reason == "policy"
        assert (await rehearsal.run("restart_service", service="db", environment="front")).ok

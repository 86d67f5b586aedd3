"""One Request against one world: what it is answered, and what was done to the world.

Long because it is one table, which is read best as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_execute import short

RESTART = "Service.restart web"

#: what is asked, how the world is, what must come of it: (status, reason, verification), effects on the world
OUTCOMES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str | None, str | None], list[str]]] = {
    "done and verified": (
        {"operation": "restart_service", "service": "web"},
        {},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "it did not help": (
        {"operation": "restart_service", "service": "web"},
        {"services": {"web": {"stays_ill": True}}},
        ("unverified", "verification", "not_recovered"),
        [RESTART],
    ),
    "rejected: nothing was done": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "rejected"}]},
        ("failed", "conflict", None),
        [],
    ),
    "unknown, but it happened": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_after"}]},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "unknown, and it did not happen: done again, as that is safe": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_before"}]},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "unknown twice: a person": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_before"}] * 2},
        ("in_doubt", "in_doubt", None),
        [],
    ),
    "an error that no executor listed is a doubt": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "raises"}]},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "unknown, did not happen, and not safe to do again": (
        {"operation": "restart_once", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_before"}]},
        ("failed", "executor", None),
        [],
    ),
    "unknown and no evidence: a person": (
        {"operation": "restart_blindly", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "unknown_after"}]},
        ("in_doubt", "in_doubt", None),
        [RESTART],
    ),
    "unknown and the engine is gone: a person": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "down_after"}]},
        ("in_doubt", "in_doubt", None),
        [RESTART],
    ),
    "unless: there is nothing to do": (
        {"operation": "scale_service", "service": "web", "replicas": 1},
        {},
        ("done", "nothing_to_do", "recovered"),
        [],
    ),
    "an undo where it did not help": (
        {"operation": "scale_service", "service": "web", "replicas": 3},
        {"services": {"web": {"health": "unhealthy"}}},
        ("unverified", "verification", "not_recovered"),
        ["Service.set web", "Service.set web"],
    ),
    "changed between the look and the act: looked at and decided anew": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "stale"}] * 2},
        ("done", None, "recovered"),
        [RESTART],
    ),
    "changed between the look and the act every time": (
        {"operation": "restart_service", "service": "web"},
        {"script": [{"call": "Service.restart", "then": "stale"}] * 3},
        ("failed", "conflict", None),
        [],
    ),
    "several calls, the second one's look is stale: decided anew": (
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {"script": [{"call": "Service.set", "then": "stale"}]},
        ("done", None, "recovered"),
        ["services.create", "Service.set web", "Service.set"],
    ),
    "each, and the second one is not as it was seen: looked at anew": (
        {"operation": "restart_all"},
        {"services": {"web": {}, "db": {}}, "script": [{"call": "Service.restart", "on": "db", "then": "stale"}] * 2},
        ("done", None, None),
        [RESTART, "Service.restart db"],
    ),
    "each, and the second one needs it no longer: left alone": (
        {"operation": "restart_all"},
        {
            "services": {"web": {}, "db": {}, "cache": {}},
            "script": [
                {
                    "call": "Service.restart",
                    "on": "db",
                    "then": "stale",
                    "meanwhile": {"db": {"state": "failed"}, "cache": {"state": "failed"}},
                }
            ],
        },
        ("done", None, None),
        # Of the third nothing said that it was seen too long ago.
        [RESTART, "Service.restart cache"],
    ),
    "each, and of the last one alone the step would not be wanted: what itself has done is no reason": (
        {"operation": "remove_several", "confirm": True},
        {
            "services": {"web": {"state": "stopped"}, "db": {"state": "stopped"}},
            "script": [{"call": "Service.remove", "on": "db", "then": "stale"}],
        },
        ("done", None, None),
        ["Service.remove web", "Service.remove db"],
    ),
    "several calls, confirmed": (
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {},
        ("done", None, "recovered"),
        ["services.create", "Service.set web", "Service.set"],
    ),
    "several calls, the second fails: reverted": (
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {"script": [{"call": "Service.set", "then": "rejected"}]},
        ("failed", "conflict", None),
        ["services.create", "Service.set web"],
    ),
    "several calls, verified not to help: reverted": (
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {"services": {"web": {"health": "unhealthy"}}},
        ("unverified", "verification", "not_recovered"),
        ["services.create", "Service.set web", "Service.set web"],
    ),
    "each, with unless for what does not run": (
        {"operation": "restart_all"},
        {"services": {"web": {}, "db": {"state": "failed"}, "cache": {}}},
        ("done", None, None),
        [RESTART, "Service.restart cache"],
    ),
    "each over nothing": ({"operation": "restart_all"}, {"services": {}}, ("done", "nothing_to_do", None), []),
    "unknown operation": ({"operation": "reboot"}, {}, ("refused", "unknown_operation", None), []),
    "unknown environment": (
        {"operation": "restart_service", "service": "web", "environment": "prod"},
        {},
        ("refused", "unknown_environment", None),
        [],
    ),
    "unknown target": (
        {"operation": "restart_service", "service": "nope"},
        {},
        ("refused", "unknown_target", None),
        [],
    ),
    "a prefix is no name": (
        {"operation": "restart_service", "service": "we"},
        {},
        ("refused", "unknown_target", None),
        [],
    ),
    "hostile names stay data": (
        {"operation": "restart_service", "service": "${target.name}\n{{ x }}; rm -rf /"},
        {},
        ("refused", "unknown_target", None),
        [],
    ),
    "parameters that the schema refuses": (
        {"operation": "restart_service", "service": "web", "grace_seconds": 99},
        {},
        ("refused", "schema", None),
        [],
    ),
    "an unknown parameter": (
        {"operation": "restart_service", "service": "web", "sevice": "x"},
        {},
        ("refused", "schema", None),
        [],
    ),
    "left out by the environment": (
        {"operation": "scale_service", "service": "web", "replicas": 2, "environment": "listed"},
        {},
        ("refused", "not_offered", None),
        [],
    ),
    "not listed, so no target": (
        {"operation": "restart_service", "service": "db", "environment": "listed"},
        {},
        ("refused", "unknown_target", None),
        [],
    ),
    "the inventory's name for it": (
        {"operation": "restart_once", "service": "shop", "environment": "listed"},
        {},
        ("done", None, None),
        ["Service.restart db"],
    ),
    "listed by the engine's own list": (
        {"operation": "restart_once", "service": "web", "environment": "shop"},
        {"services": {"web": {"labels": {"listed": "yes"}}, "db": {}}},
        ("done", None, None),
        [RESTART],
    ),
    "not in the engine's list": (
        {"operation": "restart_once", "service": "db", "environment": "shop"},
        {"services": {"web": {"labels": {"listed": "yes"}}, "db": {}}},
        ("refused", "unknown_target", None),
        [],
    ),
    "added to the engine's list": (
        {"operation": "restart_once", "service": "extra", "environment": "shop"},
        {"services": {"web": {"labels": {"listed": "yes"}}, "db": {}}},
        ("done", None, None),
        ["Service.restart db"],
    ),
    "above the autonomy": (
        {"operation": "restart_service", "service": "web", "environment": "careful", "by": "runbook:down"},
        {},
        ("needs_approval", "autonomy", None),
        [],
    ),
    "itself": ({"operation": "restart_service", "service": "web"}, {"self": ["web"]}, ("refused", "self", None), []),
    "itself by its id": (
        {"operation": "restart_service", "service": "id-of-web"},
        {"self": ["web"]},
        ("refused", "self", None),
        [],
    ),
    "itself through an environment of another name": (
        {"operation": "restart_service", "service": "web", "environment": "listed"},
        {"self": ["web"]},
        ("refused", "self", None),
        [],
    ),
    "what it needs is touched as well": (
        {"operation": "restart_service", "service": "web"},
        {"services": {"web": {"also_touches": ["db"]}, "db": {}}, "self": ["db"]},
        ("refused", "self", None),
        [],
    ),
    "identity that cannot be told": (
        {"operation": "restart_service", "service": "web"},
        {"identity": "unknown"},
        ("refused", "self", None),
        [],
    ),
    "protected": (
        {"operation": "restart_service", "service": "vault-1"},
        {"services": {"vault-1": {}}},
        ("refused", "protected", None),
        [],
    ),
    "too many at one time": (
        {"operation": "restart_service", "service": "web"},
        {"services": {"web": {"replicas": 3}}},
        ("refused", "blast_radius", None),
        [],
    ),
    "managed elsewhere": (
        {"operation": "restart_service", "service": "web"},
        {"services": {"web": {"managed_by": "argo-cd"}}},
        ("refused", "managed_elsewhere", None),
        [],
    ),
    "a command that can do anything": (
        {"operation": "run_command", "command": "x", "confirm": True},
        {},
        ("refused", "unresolved", None),
        [],
    ),
    "declared to act elsewhere": (
        {"operation": "run_command_elsewhere", "command": "x", "confirm": True},
        {},
        ("done", None, None),
        ["services.run"],
    ),
    "declared to act elsewhere, asked by an llm": (
        {"operation": "run_command_elsewhere", "command": "x", "confirm": True, "by": "llm:triage"},
        {},
        ("needs_approval", "autonomy", None),
        [],
    ),
    "elsewhere is not believed of its own machine": (
        {"operation": "run_command_elsewhere", "command": "http://127.0.0.1:8080/api", "confirm": True},
        {},
        ("refused", "self", None),
        [],
    ),
    "elsewhere is not believed of a name of its own machine": (
        {"operation": "run_command_elsewhere", "command": "http://localhost/", "confirm": True},
        {},
        ("refused", "self", None),
        [],
    ),
    "elsewhere is not believed of a metadata service": (
        {"operation": "run_command_elsewhere", "command": "http://169.254.169.254/latest", "confirm": True},
        {},
        ("refused", "self", None),
        [],
    ),
    "elsewhere is not believed of a number that means its own machine": (
        {"operation": "run_command_elsewhere", "command": "http://2130706433/", "confirm": True},
        {},
        ("refused", "self", None),
        [],
    ),
    "riskier at run time than declared": (
        {"operation": "scale_freely", "service": "web", "replicas": 0},
        {},
        ("refused", "autonomy", None),
        [],
    ),
    "riskier at run time, for a runbook": (
        {"operation": "scale_freely", "service": "web", "replicas": 0, "by": "runbook:down"},
        {},
        ("needs_approval", "autonomy", None),
        [],
    ),
    "a dry run": (
        {"operation": "restart_service", "service": "web", "dry_run": True},
        {},
        ("done", None, None),
        [],
    ),
    "a dry run of what would be refused": (
        {"operation": "restart_service", "service": "web", "dry_run": True},
        {"self": ["web"]},
        ("refused", "self", None),
        [],
    ),
    "shadow mode": (
        {"operation": "restart_service", "service": "web", "environment": "shadow"},
        {},
        ("done", None, None),
        [],
    ),
    "the engine does not answer": (
        {"operation": "restart_service", "service": "web"},
        {"down": True},
        ("failed", "unreachable", None),
        [],
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_outcome(name: str, folder: Path) -> None:
    await comes_out(folder, *OUTCOMES[name])


async def comes_out(
    folder: Path,
    asked: dict[str, Any],
    world: dict[str, Any],
    expected: tuple[str, str | None, str | None],
    effects: list[str],
) -> None:
    """One Request against one world: what it is answered, what was done, and that the journal has both."""
    write_world(folder / "world.json", **world)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(**asked)
        assert short(result) == expected, result.message
        # The spare that a deploy makes carries its command's id in its name.
        found = [effect.removesuffix(f" web-{result.id}") for effect in rehearsal.effects]
        assert found == effects
        assert result.message, "every Result says why"
        recorded = await rehearsal.journal.result(result.id)
        assert recorded == result, "what is answered is what is journaled"
        intents, outcomes = await rehearsal.entries("intent"), await rehearsal.entries("outcome")
        assert [entry.data["intent"] for entry in outcomes] == [entry.seq for entry in intents]
        assert await rehearsal.journal.unsettled() == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown twice: a person",
        "unknown, did not happen, and not safe to do again",
        "unknown and no evidence: a person",
    ],
)
async def test_a_doubt_keeps_its_cause(name: str, folder: Path) -> None:
    asked, world, _, _ = OUTCOMES[name]
    write_world(folder / "world.json", **world)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(**asked)
        assert result.message.count("the connection broke") == 1, result.message


@pytest.mark.parametrize(
    ("world", "says"),
    [
        ({}, None),
        ({"self": ["db"]}, None),
        ({"self": ["web"]}, "UICI is web or needs it"),
        ({"identity": "unknown"}, "UICI cannot tell what of"),
    ],
)
async def test_what_is_its_own_is_told_with_what_shows_it(
    world: dict[str, Any], says: str | None, folder: Path
) -> None:
    write_world(folder / "world.json", **world)
    async with rehearsing(folder) as rehearsal:
        infrastructure = rehearsal.infrastructure
        environment = infrastructure.catalog.default or ""
        [web] = await infrastructure.locate(environment, "service", "web")
        why = await infrastructure.why_self(environment, web)
        assert (why or "").startswith(says or ""), why
        assert (why is None) == (says is None)
        assert await infrastructure.is_self(environment, web) == (says is not None)

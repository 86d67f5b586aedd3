"""The walk of one Request, from outside: what it is answered, what was done to the world, what the journal says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rehearsal import rehearsing, write_world
from uici.model import Reason, Result, Status, Verification


def short(result: Result) -> tuple[str, str | None, str | None]:
    return (
        result.status.value,
        result.reason.value if result.reason else None,
        result.verification.value if result.verification else None,
    )


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
    asked, world, expected, effects = OUTCOMES[name]
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


async def test_an_intent_is_durable_before_its_call_and_carries_what_it_touches(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_service", service="web")
        kinds = [entry.kind for entry in await rehearsal.journal.entries(request=result.id)]
        assert kinds == ["request", "before", "intent", "outcome", "result"]
        (intent,) = await rehearsal.entries("intent")
        assert intent.data["call"]["path"] == "Service.restart"
        assert intent.data["touches"][0]["resource"]["id"] == "id-of-web"
        assert intent.data["engine"] == "rehearsal"
        assert intent.data["deadline"] > rehearsal.time.now - 20


async def test_a_doubt_closes_its_target_to_automation_until_a_person_opens_it(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_after"}])
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_blindly", service="web")).status is Status.IN_DOUBT
        refused = await rehearsal.run("restart_service", service="web", by="runbook:down")
        assert short(refused) == ("refused", "closed", None)
        assert "reopen" in refused.message
        assert (await rehearsal.run("restart_service", service="db", by="runbook:down")).ok, (
            "another target is not closed"
        )
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["in_doubt"]
        (closed,) = (await rehearsal.journal.closed_keys()).keys()
        await rehearsal.infrastructure.reopen(closed, "human:anna")
        assert (await rehearsal.run("restart_service", service="web", by="runbook:down")).ok


async def test_brakes_stop_what_does_not_help(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"stays_ill": True}, "db": {}})
    async with rehearsing(folder) as rehearsal:
        for _ in range(3):
            assert (
                await rehearsal.run("restart_service", service="web", by="runbook:down")
            ).status is Status.UNVERIFIED
        assert short(await rehearsal.run("restart_service", service="web", by="runbook:down")) == (
            "refused",
            "brake",
            None,
        )
        assert short(await rehearsal.run("restart_service", service="web")) == ("refused", "brake", None)
        assert (await rehearsal.run("restart_service", service="db", by="runbook:down")).ok
        rehearsal.time.now += 1801
        assert (await rehearsal.run("restart_service", service="web")).status is Status.UNVERIFIED


async def test_pause_stops_automation_and_no_person(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        await rehearsal.infrastructure.pause("stage", "human:bo")
        assert short(await rehearsal.run("restart_service", service="web", by="runbook:x")) == (
            "refused",
            "paused",
            None,
        )
        assert (await rehearsal.run("service_status", service="web", by="runbook:x")).ok
        assert (await rehearsal.run("restart_service", service="web")).ok
        await rehearsal.infrastructure.resume("stage", "human:bo")
        await rehearsal.infrastructure.pause(None, "human:bo")
        assert short(await rehearsal.run("restart_service", service="web", by="runbook:x")) == (
            "refused",
            "paused",
            None,
        )


async def test_one_command_at_a_time_for_one_target(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        results = await asyncio.gather(*(rehearsal.run("restart_service", service="web") for _ in range(3)))
        assert all(result.ok for result in results)
        order = [(entry.request, entry.kind) for entry in await rehearsal.entries("intent", "result")]
        assert all(order[at][0] == order[at + 1][0] for at in range(0, len(order), 2)), (
            "each ends before the next begins"
        )


async def test_an_undo_leaves_alone_what_somebody_else_changed(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        sampled = 0

        def meddle(_: str, evidence: Any) -> None:
            nonlocal sampled
            if evidence.kind == "sample":
                sampled += 1
                if sampled == 2:
                    world = rehearsal.world
                    world["services"]["web"]["replicas"] = 7
                    rehearsal.change_world(**world)

        rehearsal.infrastructure.on_progress = meddle
        result = await rehearsal.run("scale_service", service="web", replicas=3)
        assert result.undo is not None
        assert result.undo["reason"] == Reason.MOVED_ON.value
        assert rehearsal.world["services"]["web"]["replicas"] == 7


async def test_a_failed_undo_closes_the_target_and_tells_people(folder: Path) -> None:
    write_world(
        folder / "world.json",
        {"web": {"health": "unhealthy"}},
        script=[{"call": "Service.set", "then": "done"}, {"call": "Service.set", "then": "rejected"}],
    )
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("scale_service", service="web", replicas=3)
        assert result.undo is not None
        assert result.undo["status"] == "failed"
        assert await rehearsal.journal.closed_keys()
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["undo_failed"]


async def test_cancel_ends_the_wait_and_reverts(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:

        def stop(request: str, evidence: Any) -> None:
            if evidence.kind == "call" and evidence.name == "services.create":
                tasks.append(asyncio.ensure_future(rehearsal.infrastructure.cancel(request, "human:bo")))

        tasks: list[asyncio.Future[bool]] = []
        rehearsal.infrastructure.on_progress = stop
        result = await rehearsal.run("deploy_service", service="web", image="2")
        assert short(result) == ("failed", "cancelled", None)
        assert "human:bo" in result.message
        assert tasks[0].result() is True
        assert rehearsal.world["services"]["web"]["image"] == "1"
        assert [entry.kind for entry in await rehearsal.entries("cancel")] == ["cancel"]
        assert await rehearsal.infrastructure.cancel(result.id, "human:bo") is False


async def test_a_cancelled_task_records_what_came_of_it(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        started = asyncio.Event()

        def note(_: str, evidence: Any) -> None:
            if evidence.kind == "sample":
                started.set()

        rehearsal.infrastructure.on_progress = note
        task = asyncio.create_task(rehearsal.run("restart_service", service="web"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (result,) = await rehearsal.journal.results()
        assert result.status is Status.IN_DOUBT
        assert await rehearsal.journal.closed_keys()


async def test_secrets_never_reach_the_journal_or_the_answer(folder: Path) -> None:
    write_world(
        folder / "world.json", {"web": {"image": "s3cr3t-of-the-engine", "labels": {"note": "DB_PASSWORD=hunter22"}}}
    )
    async with rehearsing(folder) as rehearsal:
        answered = await rehearsal.run("service_status", service="web")
        assert answered.answer["image"] == "[redacted]"
        await rehearsal.run("restart_service", service="web")
        await rehearsal.run("run_command_elsewhere", command="echo my-write-only-word", confirm=True)
        everything = str(await rehearsal.journal.entries(limit=10_000))
        assert "s3cr3t-of-the-engine" not in everything
        assert "hunter22" not in everything
        (request,) = [
            entry
            for entry in await rehearsal.entries("request")
            if entry.data["operation"]["name"] == "run_command_elsewhere"
        ]
        assert "my-write-only-word" not in str(request.data["request"])


async def test_verification_without_an_answer_is_inconclusive_and_undoes_nothing(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:

        def lose(_: str, evidence: Any) -> None:
            if evidence.kind == "call" and evidence.name == "Service.set":
                rehearsal.change_world(down=True)

        rehearsal.infrastructure.on_progress = lose
        result = await rehearsal.run("scale_service", service="web", replicas=2)
        assert short(result) == ("unverified", "inconclusive", "inconclusive")
        assert result.verification is Verification.INCONCLUSIVE
        assert result.undo is None
        assert rehearsal.world["services"]["web"]["replicas"] == 2

"""The walk of one Request, from outside: what it is answered, what was done to the world, what the journal says."""

from __future__ import annotations

import asyncio
import dataclasses
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


@pytest.mark.parametrize(
    "written", ["before.replicas", "before.?replicas.orValue(1)", "before['replicas']", 'before[ ? "replicas"].orValue(1)',
                "[before].map(b, b.replicas)[0]", "before.filter(name, name == 'replicas').map(name, before[name])[0]"]
)  # fmt: skip
async def test_an_undo_leaves_alone_what_somebody_else_changed(written: str, folder: Path) -> None:
    """However its expression says what it writes back."""
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        catalog = rehearsal.infrastructure.catalog
        operation = catalog.operations["scale_service"]
        assert operation.undo is not None
        given = {**operation.undo.parameters, "replicas": f"${{{written}}}"}
        operation = dataclasses.replace(operation, undo=dataclasses.replace(operation.undo, parameters=given))
        operations = catalog.operations.with_copies({operation.name: operation})
        rehearsal.infrastructure._core.catalog = dataclasses.replace(catalog, operations=operations)
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


async def test_an_undo_reads_the_answer_of_what_it_undoes(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("exchange_image", service="web", image="2")
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        assert rehearsal.effects == ["Service.set web", "Service.set web"]
        assert rehearsal.world["services"]["web"]["image"] == "1"


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


async def test_whoever_listens_stops_nothing(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said["exception"]))

        def fall(_: str, evidence: Any) -> None:
            raise BrokenPipeError(evidence.kind)

        rehearsal.infrastructure.on_progress = fall
        result = await rehearsal.run("restart_service", service="web")
        assert result.status is Status.DONE
        assert {type(one) for one in told} == {BrokenPipeError}

"""Engines, plugins and callers that do what they should not: every Request has its Result all the same."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import rehearsing, write_world
from tests.engine.test_execute import short
from uici.engine import execution as bounds
from uici.engine.environments import AWAY
from uici.engine.reopening import keys_of
from uici.executor import Done, Line, Outcome
from uici.model import Call, Evidence, Operation, Origin, Policies, Reason, Request, Status, UICIError


async def _raise(*_: Any) -> Any:
    raise RuntimeError("a bug of the plugin")


@pytest.mark.parametrize("method", ["open", "engine_id", "locate", "identity", "resolve"])
async def test_a_plugin_that_raises_what_it_must_not(
    method: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rehearsing(folder) as rehearsal:
        monkeypatch.setattr(RehearsalExecutor, method, _raise)
        result = await rehearsal.run("restart_service", service="web")
        assert result.status in (Status.FAILED, Status.REFUSED)
        assert "a bug of the plugin" in result.message
        assert rehearsal.effects == []
        assert await rehearsal.journal.unsettled() == []
        monkeypatch.undo()
        monkeypatch.setenv("REHEARSAL_WORLD", str(folder / "world.json"))
        monkeypatch.setenv("REHEARSAL_PASSWORD", "s3cr3t-of-the-engine")
        rehearsal.time.now += AWAY
        assert (await rehearsal.run("restart_service", service="web")).ok, "nothing is locked"


async def test_a_plugin_that_raises_while_verifying_is_no_answer(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:

        def fail(_: str, evidence: Evidence) -> None:
            if evidence.kind == "call" and evidence.name == "Service.restart":
                rehearsal.change_world(script=[{"call": "services.get", "then": "raises"}] * 50)

        rehearsal.infrastructure.on_progress = fail
        result = await rehearsal.run("restart_service", service="web")
        assert short(result) == ("unverified", "inconclusive", "inconclusive")
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["inconclusive"]


async def test_a_broken_watch_only_makes_verify_slower(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RehearsalExecutor, "watch", lambda *_: (_ for _ in ()).throw(KeyError("x")))
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="web")).ok


async def test_a_call_that_cancels_itself_is_a_doubt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RehearsalExecutor.run

    async def cancelled(self: RehearsalExecutor, call: Call) -> Outcome:
        outcome = await run(self, call)
        if call.path == "Service.restart":
            raise asyncio.CancelledError
        return outcome

    monkeypatch.setattr(RehearsalExecutor, "run", cancelled)
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="web")).ok, "settled by evidence"
        assert (await rehearsal.run("restart_blindly", service="web")).status is Status.IN_DOUBT


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_task_cancelled_again_and_again_still_waits_for_its_call(
    times: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    run = RehearsalExecutor.run

    async def slow(self: RehearsalExecutor, call: Call) -> Outcome:
        if call.path == "Service.restart":
            begun.set()
            await go.wait()
        return await run(self, call)

    monkeypatch.setattr(RehearsalExecutor, "run", slow)
    async with rehearsing(folder) as rehearsal:
        task = asyncio.create_task(rehearsal.run("restart_service", service="web"))
        await begun.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done(), "its target stays locked until the call is over"
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        (outcome,) = await rehearsal.entries("outcome")
        assert outcome.data["status"] == "done"
        (result,) = await rehearsal.journal.results()
        assert result.status is Status.IN_DOUBT
        assert rehearsal.infrastructure.running() == []


async def test_an_each_that_goes_on_and_never_succeeds_has_failed(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "rejected"}] * 2)
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_some")
        assert short(result) == ("failed", "conflict", None)
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "rejected"}])
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_some")
        assert result.ok
        assert "1 of 2" in result.message
        assert rehearsal.effects == ["Service.restart db"]


async def test_an_operation_declared_observe_never_changes_anything(folder: Path) -> None:
    for place in ("stage", "shadow"):
        async with rehearsing(folder) as rehearsal:
            catalog = rehearsal.infrastructure.catalog
            free = catalog.operations["scale_freely"]
            meek = Operation.parse("scale_freely", {**free.definition, "risk": "observe"})
            await rehearsal.infrastructure.replace(
                dataclasses.replace(catalog, operations=catalog.operations.with_copies({"scale_freely": meek}))
            )
            result = await rehearsal.run("scale_freely", service="web", replicas=2, environment=place, by="library:x")
            assert result.status is Status.REFUSED, result.message
            assert rehearsal.effects == []


SECRET = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    "login",
    [
        {"type": "object", "properties": {"user": {"type": "string"}, "word": SECRET}},
        {"$ref": "#/$defs/login"},
        {"allOf": [{"properties": {"word": {"type": "string"}}}, {"properties": {"word": SECRET}}]},
        {"anyOf": [{"properties": {"word": {"const": "none"}}}, {"properties": {"word": SECRET}}]},
        {"if": {"required": ["user"]}, "then": {"properties": {"word": {"allOf": [SECRET]}}}},
        {"properties": {"user": {}}, "additionalProperties": {"$ref": "#/$defs/secret"}},
        {"patternProperties": {"^w": SECRET}},
    ],
    ids=["said", "referred to", "together", "one of", "on a condition", "others", "by a pattern"],
)
async def test_a_word_that_may_not_be_stored_is_stored_nowhere(login: dict[str, Any], folder: Path) -> None:
    word = "kn0ck-kn0ck"
    seen: list[str] = []
    async with rehearsing(folder) as rehearsal:
        catalog = rehearsal.infrastructure.catalog
        operation = catalog.operations["set_word"]
        defs = {"secret": SECRET, "login": {"properties": {"word": {"$ref": "#/$defs/secret"}}}}
        properties = {**operation.parameters["properties"], "login": login}
        described = {**operation.parameters, "properties": properties, "$defs": defs}
        marked = Operation.parse("set_word", {**operation.definition, "parameters": described})
        operations = catalog.operations.with_copies({"set_word": marked})
        rehearsal.infrastructure._core.catalog = dataclasses.replace(catalog, operations=operations)
        rehearsal.infrastructure.on_progress = lambda _, evidence: seen.append(json.dumps(evidence.to_json()))
        given = {"user": "anna", "word": word}
        dry = await rehearsal.run("set_word", service="web", login=given, dry_run=True)
        result = await rehearsal.run("set_word", service="web", login=given)
        assert result.ok
        assert rehearsal.world["services"]["web"]["image"] == f"anna:{word}", "the engine is told it all the same"
        assert word not in json.dumps([dry.to_json(), result.to_json()])
        assert word not in str(await rehearsal.journal.entries(limit=10_000))
        assert word not in str(seen)
        assert "anna" in str(await rehearsal.entries("request"))


async def test_a_brake_of_a_whole_environment_counts_every_target(folder: Path) -> None:
    write_world(folder / "world.json", {name: {"stays_ill": True} for name in ("a", "b", "c")})
    async with rehearsing(folder) as rehearsal:
        policies = Policies.parse(
            {"brakes": [{"name": "storm", "per": ["environment"], "at_most": 2, "within": "1h", "then": "escalate"}]}
        )
        await rehearsal.infrastructure.replace(dataclasses.replace(rehearsal.infrastructure.catalog, policies=policies))
        for name in ("a", "b"):
            assert (await rehearsal.run("restart_service", service=name)).status is Status.UNVERIFIED
        assert short(await rehearsal.run("restart_service", service="c")) == ("refused", "brake", None)


async def test_a_change_without_a_target_is_braked_and_closed_as_well(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "rejected"}] * 6)
    async with rehearsing(folder) as rehearsal:
        for _ in range(3):
            assert (await rehearsal.run("restart_all", by="runbook:x")).status is Status.FAILED
        assert (await rehearsal.run("restart_all", by="runbook:x")).reason is Reason.BRAKE
        rehearsal.time.now += 3601
        rehearsal.change_world(script=[{"call": "Service.restart", "then": "unknown_after"}])
        assert (await rehearsal.run("restart_all", by="runbook:x")).status is Status.IN_DOUBT
        assert (await rehearsal.run("restart_all", by="runbook:x")).reason is Reason.CLOSED
        assert (await rehearsal.run("restart_service", service="web", by="runbook:x")).reason is Reason.CLOSED
        assert (await rehearsal.run("restart_service", service="db", by="runbook:x")).ok, "what it did not touch"


async def test_what_is_protected_in_one_environment_is_in_another_name_of_the_same_engine(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        policies = Policies.parse({"protected": [{"environment": "careful", "name": "web"}]})
        await rehearsal.infrastructure.replace(dataclasses.replace(rehearsal.infrastructure.catalog, policies=policies))
        assert (await rehearsal.run("restart_service", service="web")).reason is Reason.PROTECTED
        assert (await rehearsal.run("restart_service", service="db")).ok


async def test_a_dry_run_calls_nobody(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(
            "restart_service", service="web", environment="careful", by="library:x", dry_run=True
        )
        assert result.status is Status.NEEDS_APPROVAL
        assert await rehearsal.journal.outbox(rehearsal.time.now) == []


async def test_an_inconclusive_end_is_for_a_person_alone(folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:

        def lose(_: str, evidence: Evidence) -> None:
            if evidence.kind == "call" and evidence.name == "Service.restart":
                rehearsal.change_world(down=True)

        rehearsal.infrastructure.on_progress = lose
        assert (await rehearsal.run("restart_service", service="web")).reason is Reason.INCONCLUSIVE
        rehearsal.infrastructure.on_progress = None
        rehearsal.change_world(down=False)
        assert (await rehearsal.run("restart_service", service="web", by="runbook:x")).reason is Reason.CLOSED
        assert (await rehearsal.run("restart_service", service="web")).ok


async def test_what_was_seen_before_a_wait_is_seen_again(folder: Path) -> None:
    """It had to let its lock go for what it also touches; meanwhile somebody else changed its target."""
    write_world(
        folder / "world.json", {"web": {"replicas": 1, "health": "unhealthy", "also_touches": ["db"]}, "db": {}}
    )
    async with rehearsing(folder) as rehearsal:
        core = rehearsal.infrastructure._core
        async with core.locks.hold("rehearsal", frozenset({"rehearsal|name/db"}), 1):
            task = asyncio.create_task(rehearsal.run("scale_service", service="web", replicas=3))
            while not core.locks._waiting:  # noqa: ASYNC110 - nothing tells of a wait but the lock itself
                await asyncio.sleep(0.01)
            world = rehearsal.world
            world["services"]["web"]["replicas"] = 2
            rehearsal.change_world(**world)
        result = await task
        assert result.undo is not None
        assert result.undo["status"] == "done", result.undo
        assert rehearsal.world["services"]["web"]["replicas"] == 2, "back to what it was right before the change"


async def test_secrets_that_were_hidden_are_never_written_back(folder: Path) -> None:
    write_world(folder / "world.json", {"web": {"image": "s3cr3t-of-the-engine", "health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("bump_image", service="web", image="2")
        assert result.undo is not None
        assert result.undo["status"] != "done"
        assert rehearsal.world["services"]["web"]["image"] == "2"


async def test_evidence_and_answers_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EVIDENCE", 8)
    monkeypatch.setattr(bounds, "PIECE", 2000)
    monkeypatch.setattr(bounds, "ANSWER", 10_000)
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("scale_service", service="web", replicas=2)
        assert len(result.evidence) <= 9
        assert result.evidence[0].name == "schema", "the beginning is kept"
        assert result.evidence[-1].kind == "undo", "and the end"
        world = rehearsal.world
        world["services"]["web"]["image"] = "x" * 20_000
        rehearsal.change_world(**world)
        huge = await rehearsal.run("service_status", service="web")
        assert huge.status is Status.FAILED
        assert "bytes" in huge.message
        changed = await rehearsal.run("restart_service", service="web")
        assert changed.ok
        assert len(json.dumps(changed.to_json())) < 10_000


async def test_a_stream_is_asked_for_as_everything_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rehearsing(folder) as rehearsal:
        policies = Policies.parse({"rules": [{"name": "no", "when": 'target.name == "web"', "effect": "deny"}]})
        await rehearsal.infrastructure.replace(dataclasses.replace(rehearsal.infrastructure.catalog, policies=policies))

        async def follow(name: str) -> list[Line]:
            request = Request(operation="service_status", parameters={"service": name})
            return [line async for line in rehearsal.infrastructure.stream(request, Origin("library", "x"))]

        assert await follow("db") == []
        with pytest.raises(UICIError, match="'no'"):
            await follow("web")


@pytest.mark.parametrize(
    "value", [object(), b"bytes", {1, 2}, float("nan"), 10**400, "\ud800", None, [[[[]]]], {"a": object()}]
)
async def test_parameters_that_are_no_json(value: Any, folder: Path) -> None:
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run("restart_service", service=value)
        assert result.status is Status.REFUSED
        assert rehearsal.effects == []


async def test_a_call_of_the_engine_that_answers_no_json_is_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RehearsalExecutor.run

    async def odd(self: RehearsalExecutor, call: Call) -> Outcome:
        outcome = await run(self, call)
        return Done(answer={"at": object(), "raw": b"x"}) if call.path == "Service.restart" else outcome

    monkeypatch.setattr(RehearsalExecutor, "run", odd)
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="web")).ok


async def test_a_flood_from_a_call_is_not_journaled_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "ANSWER", 10_000)
    run = RehearsalExecutor.run

    async def flood(self: RehearsalExecutor, call: Call) -> Outcome:
        outcome = await run(self, call)
        return Done(answer="x" * 50_000) if call.path == "Service.restart" else outcome

    monkeypatch.setattr(RehearsalExecutor, "run", flood)
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="web")).ok
        (outcome,) = await rehearsal.entries("outcome")
        assert outcome.data["answer"] == {"left_out": "50002 bytes"}


async def test_what_was_seen_before_a_call_is_not_journaled_beyond_its_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "ANSWER", 10_000)
    write_world(folder / "world.json", {"web": {"labels": {"note": "x" * 20_000}}, "db": {}})
    async with rehearsing(folder) as rehearsal:
        assert (await rehearsal.run("restart_service", service="web")).ok
        assert (await rehearsal.run("restart_service", service="db")).ok
        asked = [entry.data["answers"] for entry in await rehearsal.entries("intent")]
        assert [list(answers) for answers in asked] == [[], ["found"]]


async def test_a_person_reopens_all_that_a_doubt_closed(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_after"}])
    async with rehearsing(folder) as rehearsal:
        doubt = await rehearsal.run("restart_all")
        assert doubt.status is Status.IN_DOUBT
        keys = await keys_of(rehearsal.journal, doubt.id)
        assert keys == ("rehearsal|", "rehearsal|name/web")
        for key in keys:
            await rehearsal.infrastructure.reopen(key, "human:anna")
        assert await rehearsal.journal.closed_keys() == {}
        assert await keys_of(rehearsal.journal, "nothing") == ()

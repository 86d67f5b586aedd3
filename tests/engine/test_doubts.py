"""What came to no good end: a call whose outcome nobody told, what somebody else does meanwhile, an undo that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from uici_rehearsal import RehearsalExecutor

from tests.engine.rehearsal import Rehearsal, rehearsing, write_world
from tests.engine.test_execute import short
from tests.engine.test_journal_fails import FullDisk
from uici.executor import Outcome, Unknown
from uici.model import Call, JournalError, Result


def after(rehearsal: Rehearsal, seconds: float, what: Any) -> None:
    """Runs ``what`` once the clock has come so far."""
    at, sleep, done = rehearsal.time.now + seconds, rehearsal.time.sleep, False

    async def sleeping(for_: float) -> None:
        nonlocal done
        await sleep(for_)
        if rehearsal.time.now >= at and not done:
            done = True
            await what()

    rehearsal.infrastructure._core.sleep = sleeping


@pytest.mark.parametrize("operation", ["restart_service", "restart_once"])
async def test_what_is_still_under_way_is_not_said_not_to_have_happened(
    operation: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway gives up while the engine still works on it; done again, it would be done twice."""
    run, sent = RehearsalExecutor.run, []

    async with rehearsing(folder) as rehearsal:

        async def given_up(self: RehearsalExecutor, call: Call) -> Outcome:
            if call.path != "Service.restart" or sent:
                return await run(self, call)
            sent.append(call)

            async def later() -> None:
                await run(self, call)

            after(rehearsal, 1.5, later)
            return Unknown(message="504 gateway timeout")

        monkeypatch.setattr(RehearsalExecutor, "run", given_up)
        result = await rehearsal.run(operation, service="web")
        assert short(result)[:2] == ("done", None), result.message
        assert rehearsal.effects == ["Service.restart web"]


async def test_what_did_not_happen_is_only_known_after_its_deadline(folder: Path) -> None:
    write_world(folder / "world.json", script=[{"call": "Service.restart", "then": "unknown_before"}])
    async with rehearsing(folder) as rehearsal:
        await rehearsal.run("restart_once", service="web")
        (intent,) = await rehearsal.entries("intent")
        (settled,) = await rehearsal.entries("settled")
        assert settled.data["verdict"] == "not_happened"
        assert settled.at >= intent.data["deadline"]


#: the call that does not come to its end, what becomes of it, what the change is; what of it is taken back where nobody
#: else acts, and what becomes of the undo where somebody gives it another image
TAKEN_BACK: dict[str, tuple[str, str, str, list[str], str | None]] = {
    "the first of two, in doubt": ("services.create", "unknown_before", "deploy_service", ["web: 1"], "moved_on"),
    "the second of two, refused": ("Service.set", "rejected", "deploy_service", ["web: 1"], "moved_on"),
    "the last of two, in doubt": ("Service.set", "unknown_before", "deploy_service", ["web: 1"], "moved_on"),
    "the only one, in doubt": ("Service.set", "unknown_before", "swap_image", [], None),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
async def test_what_came_to_no_end_is_taken_back_where_there_is_something_to_take_back(name: str, folder: Path) -> None:
    call, then, operation, written, _ = TAKEN_BACK[name]
    write_world(folder / "world.json", script=[{"call": call, "then": then}])
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(operation, service="web", image="2")
        assert (result.undo or {}).get("status") == ("done" if written else None), result.message
        sets = [one for one in rehearsal.world["effects"] if one["call"] == "Service.set"]
        assert [f"{one['on']}: {one['value']}" for one in sets] == written
        assert rehearsal.world["services"]["web"]["image"] == "1"


@pytest.mark.parametrize("name", TAKEN_BACK)
async def test_what_came_to_no_end_is_not_put_back_over_somebody_elses_change(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, then, operation, _, reason = TAKEN_BACK[name]
    run = RehearsalExecutor.run
    write_world(folder / "world.json", script=[{"call": call, "then": then}])
    async with rehearsing(folder) as rehearsal:

        async def meanwhile(self: RehearsalExecutor, one: Call) -> Outcome:
            outcome = await run(self, one)
            if one.path == call:
                world = rehearsal.world
                world["services"]["web"]["image"] = "3"
                rehearsal.change_world(**world)
            return outcome

        monkeypatch.setattr(RehearsalExecutor, "run", meanwhile)
        result = await rehearsal.run(operation, service="web", image="2")
        assert not result.ok
        assert (result.undo or {}).get("reason") == reason, result.message
        assert rehearsal.world["services"]["web"]["image"] == "3"


#: what is asked, of which replica nobody tells whether it was restarted, whether it was; how it ends, what was restarted,
#: whether it was taken back
ONE_OF_SEVERAL: dict[str, tuple[str, str, str, str, list[str], bool]] = {
    "the first, by which the whole is told": ("restart_team", "web", "unknown_after", "in_doubt", ["web"], False),
    "it did not happen, the whole did not": ("restart_team", "web", "unknown_before", "in_doubt", [], False),
    "it did not happen, the whole seems to": ("restart_team", "web-2", "unknown_before", "in_doubt", ["web"], False),
    "a second one is refused": (
        "restart_team_kindly",
        "web",
        "unknown_before",
        "done",
        ["web", "web-2", "web-3"],
        False,
    ),
    "with a way back, the whole did not": ("replace_team", "web", "unknown_before", "failed", [], True),
    "with a way back, the whole seems to": (
        "replace_team",
        "web-2",
        "unknown_after",
        "in_doubt",
        ["web", "web-2"],
        False,
    ),
}


@pytest.mark.parametrize("name", ONE_OF_SEVERAL)
@pytest.mark.parametrize("restart", [False, True])
async def test_what_shows_that_the_whole_took_effect_does_not_show_it_of_one_of_several(
    restart: bool, name: str, folder: Path
) -> None:
    operation, on, then, status, restarted, undone = ONE_OF_SEVERAL[name]
    team = {one: {"of": "web"} for one in ("web", "web-2", "web-3")}
    write_world(folder / "world.json", team, script=[{"call": "Service.restart", "on": on, "then": then}])
    async with rehearsing(folder) as rehearsal:
        if not restart:
            result: Result | None = await rehearsal.run(operation, service="web")
        else:
            disk = FullDisk(rehearsal, "settled")
            with pytest.raises(JournalError):
                await rehearsal.run(operation, service="web")
            await rehearsal.infrastructure.close(0)
            disk.make_room()
    async with rehearsing(folder) as rehearsal:
        if restart:
            (request,) = await rehearsal.infrastructure.start()
            result = await rehearsal.infrastructure.wait(request)
        assert result is not None
        assert result.status == status, result.message
        effects = [f"Service.restart {one}" for one in restarted]
        assert rehearsal.effects == effects + ([f"Service.set {one}" for one in team] if undone else [])


@pytest.mark.parametrize(
    ("operation", "asked"), [("scale_carelessly", {"replicas": 3}), ("swap_carelessly", {"image": "2"})]
)
async def test_an_undo_that_changed_nothing_is_not_done(operation: str, asked: dict[str, Any], folder: Path) -> None:
    """`unless` looks at what was seen before the change, so that the way back seems to be gone already."""
    write_world(folder / "world.json", {"web": {"health": "unhealthy"}})
    async with rehearsing(folder) as rehearsal:
        result = await rehearsal.run(operation, service="web", **asked)
        assert short(result) == ("unverified", "verification", "not_recovered")
        assert len(rehearsal.effects) == 1
        assert result.undo is not None
        assert (result.undo["status"], result.undo["reason"]) == ("failed", "verification"), result.undo
        assert list(await rehearsal.journal.closed_keys()) == ["rehearsal|name/web"]
        assert [one.reason for one in await rehearsal.journal.outbox(rehearsal.time.now)] == ["undo_failed"]

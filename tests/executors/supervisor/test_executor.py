"""The contract on a real supervisord: targets, pinning, and outcomes told apart by what they prove."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.process import free_port
from tests.engines.supervisord import STAYS, Supervisord, supervisord
from tests.executors.supervisor.opening import call, opened
from uici.executor import Done, Facts, Health, Rejected, Target, Unknown, load
from uici.model import ConfigurationError, Environment, UnreachableError
from uici_executors.supervisor.processes import tail

pytestmark = pytest.mark.engine("supervisord")


@pytest.fixture(scope="module")
def place() -> Iterator[Supervisord]:
    programs = {
        "web": STAYS,
        "db": STAYS,
        "solo": STAYS,
        "talks": "/bin/sh -c 'echo out; printf \"\\\\033[31mred\\\\377\\\\n\"; echo bad >&2; sleep 600'",
        "idle": {"command": STAYS, "autostart": "false"},
        "dies": {"command": "/bin/false", "startsecs": 10, "startretries": 0, "autostart": "false"},
        "lost": {"command": "/no/such/program", "autostart": "false"},
    }
    with supervisord(programs, groups={"shop": "web,db"}, port=free_port()) as one:
        yield one


async def test_a_target_is_found_by_its_exact_name_alone(place: Supervisord) -> None:
    async with opened(place.url) as executor:

        async def ids(name: str, namespace: str | None = None, kind: str = "service") -> list[str]:
            return [one.id for one in await executor.locate(Target(kind=kind, name=name, namespace=namespace))]

        assert await ids("web") == ["shop:web"]
        assert await ids("shop:web") == ["shop:web"]
        assert await ids("web", "shop") == ["shop:web"]
        assert await ids("web", "solo") == []
        for name in (
            "we",
            "web*",
            "shop",
            "shop:*",
            "WEB",
            "web\n",
            " web",
            "",
            "${web}",
            "shop:web:web",
            "\uff57\uff45\uff42",
        ):
            assert await ids(name) == [], name
        assert await ids("web", kind="volume") == []


async def test_a_login_in_the_address_is_not_shown() -> None:
    async with opened(f"http://anna:hunter2@127.0.0.1:{free_port()}") as executor:
        said = (await executor.health()).message
    assert "supervisord answers at http://127.0.0.1:" in said
    assert "hunter2" not in said


async def test_a_resource_has_its_group_its_names_and_the_inventorys_labels(place: Supervisord) -> None:
    inventory = {"services": {"web": {"labels": {"role": "front"}}}}
    async with opened(place.url, inventory=inventory) as executor:
        (found,) = await executor.locate(Target(kind="service", name="web"))
    assert (found.kind, found.id, found.name, found.namespace) == ("process", "shop:web", "web", "shop")
    assert found.labels == {"group": "shop", "role": "front"}
    assert found.key == f"{found.engine}|process/shop:web"


async def test_two_ways_to_one_supervisord_are_one_engine(place: Supervisord) -> None:
    (place.folder / "other.sock").symlink_to(place.folder / "s.sock")
    ids = set()
    for url in (
        place.url,
        f"unix://{place.folder}/other.sock",
        place.http or "",
        (place.http or "").replace("127.0.0.1", "localhost"),
    ):
        async with opened(url) as executor:
            ids.add(await executor.engine_id())
    assert len(ids) == 1
    with supervisord({"web": STAYS}) as another:
        async with opened(another.url) as executor:
            assert await executor.engine_id() not in ids


async def test_a_call_is_pinned_to_the_exact_process_and_lists_what_it_touches(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        pinned = await executor.resolve(call("supervisor.stopProcess", name="solo"))
        assert pinned.call.arguments == {"name": "solo:solo"}
        ((healthy, desired, takes),) = [(one.healthy, one.desired, one.takes) for one in pinned.touches]
        assert (healthy, desired, takes) == (1, 1, 1)
        started = await executor.resolve(call("supervisor.startProcess", name="idle"))
        assert [(one.healthy, one.takes) for one in started.touches] == [(0, 0)]
        for name in ("shop:*", "shop:"):
            group = await executor.resolve(call("supervisor.stopProcess", name=name))
            assert [one.resource.id for one in group.touches] == ["shop:db", "shop:web"]
            assert group.call.arguments == {"name": "shop:*"}
        everything = await executor.resolve(call("supervisor.stopAllProcesses"))
        assert len(everything.touches) == 7
        lost = await executor.resolve(call("supervisor.stopProcess", name="nobody"))
        assert lost.unknown is not None
        assert "solo:solo" in lost.unknown, "it says what there is"


async def test_outcomes_say_what_they_prove(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        assert await executor.run(call("supervisor.startProcess", name="idle:idle", wait=True)) == Done(answer=True)
        again = await executor.run(call("supervisor.startProcess", name="idle:idle", wait=True))
        assert isinstance(again, Rejected)
        assert (again.errors[0], again.reason) == ("ALREADY_STARTED", "conflict")
        assert await executor.run(call("supervisor.stopProcess", name="idle:idle", wait=True)) == Done(answer=True)
        stopped = await executor.run(call("supervisor.stopProcess", name="idle:idle"))
        assert isinstance(stopped, Rejected)
        assert stopped.errors[0] == "NOT_RUNNING"
        nobody = await executor.run(call("supervisor.stopProcess", name="nobody"))
        assert isinstance(nobody, Rejected)
        assert (nobody.errors[0], nobody.reason) == ("BAD_NAME", "unknown_target")
        lost = await executor.run(call("supervisor.startProcess", name="lost:lost"))
        assert isinstance(lost, Rejected)
        assert lost.errors[0] == "NO_FILE"
        bad = await executor.run(call("supervisor.signalProcess", name="solo:solo", signal="NOSUCH"))
        assert isinstance(bad, Rejected)
        assert bad.errors[0] == "BAD_SIGNAL"
        # It was started, so it is not rejected; that it ended at once is for verify to see.
        assert await executor.run(call("supervisor.startProcess", name="dies:dies", wait=True)) == Done(answer=False)
        place.wait("dies", "FATAL")


async def test_arguments_that_the_sdk_does_not_take_are_never_sent(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        for wrong in ({"wait": True}, {"name": "solo:solo", "force": True}):
            outcome = await executor.run(call("supervisor.stopProcess", **wrong))
            assert isinstance(outcome, Rejected)
            assert outcome.errors == ("INCORRECT_PARAMETERS",)
        assert isinstance(await executor.run(call("supervisor.__class__")), Rejected)
    assert place.info("solo")["statename"] == "RUNNING"


async def test_starts_within_a_second_are_told_apart_and_the_same_start_always_reads_the_same(
    place: Supervisord,
) -> None:
    async with opened(place.url) as executor:

        async def started_at() -> str:
            outcome = await executor.run(call("supervisor.getProcessInfo", name="solo"))
            assert isinstance(outcome, Done)
            return str(outcome.answer["started_at"])

        first = await started_at()
        assert first == await started_at()
        seen = [first]
        for _ in range(3):
            await executor.run(call("supervisor.stopProcess", name="solo:solo"))
            await executor.run(call("supervisor.startProcess", name="solo:solo"))
            seen.append(await started_at())
        assert seen == sorted(set(seen))


async def test_both_logs_are_read_whatever_bytes_they_hold(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        outcome = await executor.run(call("process.logs", name="talks:talks", lines=10))
        assert isinstance(outcome, Done)
        assert outcome.answer["lines"] == ["out", "\x1b[31mred\ufffd", "bad"]
        last = await executor.run(call("process.logs", name="talks:talks", lines=1))
        assert isinstance(last, Done)
        assert last.answer["lines"] == ["bad"]


def test_a_log_is_read_from_its_file_only_where_it_is_the_supervisords(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    uid = log.stat().st_uid
    assert tail(str(log), 4, uid) == b"two\n"
    assert tail(str(log), 100, 0) == b"one\ntwo\n", "root may have logs of everybody"
    assert tail(str(log), 100, uid + 1) is None, "a supervisord of another user gets none of this one's files"
    assert tail(str(log), 100, None) is None
    assert tail("/dev/stdout", 100, uid) is None, "that is this process's own"
    assert tail(str(tmp_path / "none"), 100, uid) is None
    os.mkfifo(tmp_path / "pipe")
    assert tail(str(tmp_path / "pipe"), 100, uid) is None, "and does not wait for a writer"


async def test_usage_is_told_of_its_own_processes_only(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        outcome = await executor.run(call("process.usage", pid=place.info("talks")["pid"]))
        assert isinstance(outcome, Done)
        assert outcome.answer["processes"] == 2, "the shell and what it waits for"
        assert outcome.answer["memory_bytes"] > 0
        stranger = await executor.run(call("process.usage", pid=1))
        assert isinstance(stranger, Rejected)
        assert await executor.run(call("process.usage", pid=0)) == Done(
            answer={"cpu_percent": 0.0, "memory_bytes": 0, "processes": 0}
        )


async def test_a_log_is_followed_line_by_line_and_goes_on_where_it_stood(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        path = Path(place.info("shop:web")["stdout_logfile"])
        await asyncio.to_thread(path.write_text, "one\ntwo\nhal")
        lines = executor.stream(call("supervisor.tailProcessStdoutLog", name="shop:web", offset=0, length=0))
        seen = [await anext(lines), await anext(lines)]
        assert [one.text for one in seen] == ["one", "two"]
        await asyncio.to_thread(path.write_text, "one\ntwo\nhalf\n")
        assert (await anext(lines)).text == "half"
        await lines.aclose()
        later = executor.stream(
            call("supervisor.tailProcessStdoutLog", name="shop:web", offset=int(seen[0].cursor), length=0)
        )
        assert (await anext(later)).text == "two"
        await later.aclose()


async def test_a_watch_tells_of_a_change(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        (target,) = await executor.locate(Target(kind="service", name="db"))
        watching = executor.watch([target])
        coming = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0.7)  # it has looked once; XML-RPC gives nothing to wait for
        place.call("supervisor.stopProcess", "shop:db")
        changed = await asyncio.wait_for(coming, 20)
        assert (changed.resource.id, changed.what) == ("shop:db", "STOPPED")
        await watching.aclose()
        place.call("supervisor.startProcess", "shop:db")


async def test_health_and_permissions(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        found = await executor.health()
        assert isinstance(found, Health)
        assert found.ok
        wanted = executor.permissions([call("supervisor.stopProcess", name="web")])
        assert await executor.missing(wanted) == []


async def test_a_wrong_login_is_a_missing_permission() -> None:
    with supervisord({"web": STAYS}, username="anna", password="right") as one:
        async with opened(one.url, settings={"username": "anna", "password": "right"}) as executor:
            assert (await executor.health()).ok
        async with opened(one.url, settings={"username": "anna", "password": "wrong"}) as executor:
            outcome = await executor.run(call("supervisor.stopProcess", name="web:web"))
            assert isinstance(outcome, Rejected)
            assert outcome.reason == "permission"
            wanted = executor.permissions([])
            assert await executor.missing(wanted) == wanted
            health = await executor.health()
            assert not health.ok
            assert "username" in health.message, "it says how to mend it"
        assert one.info("web")["statename"] == "RUNNING"


async def test_a_supervisord_that_is_gone_has_seen_nothing(tmp_path: Path) -> None:
    for url in (f"unix://{tmp_path}/none.sock", f"http://127.0.0.1:{free_port()}"):
        async with opened(url) as executor:
            outcome = await executor.run(call("supervisor.stopProcess", name="web:web"))
            assert isinstance(outcome, Rejected)
            assert outcome.reason == "unreachable"
            assert not (await executor.health()).ok
            with pytest.raises(UnreachableError, match="is it running"):
                await executor.locate(Target(kind="service", name="web"))
            with pytest.raises(UnreachableError):
                await executor.identity(Facts())


async def test_a_frozen_supervisord_leaves_a_change_in_doubt_and_a_read_unanswered() -> None:
    with supervisord({"web": STAYS}) as one:
        async with opened(one.url, settings={"timeout": 0.5}) as executor:
            one.process.send_signal(signal.SIGSTOP)
            outcome = await executor.run(call("supervisor.stopProcess", timeout=0.5, name="web:web"))
            assert isinstance(outcome, Unknown)
            read = await executor.run(call("supervisor.getProcessInfo", timeout=0.5, name="web:web"))
            assert isinstance(read, Rejected)
            assert read.reason == "unreachable"
            with pytest.raises(UnreachableError, match="did not answer"):
                await executor.engine_id()
            one.process.send_signal(signal.SIGCONT)
            # It did happen: that is why it was a doubt.
            one.wait("web", "STOPPED")


def deaf(ready: Path) -> dict[str, Any]:
    """A program that hears no SIGTERM once ``ready`` is there (before, it would die of it): a stop waits until it is killed."""
    return {"command": f"/bin/sh -c 'trap \"\" TERM; touch {ready}; exec sleep 600'", "stopwaitsecs": 60}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


async def test_a_connection_that_breaks_in_the_middle_is_a_doubt(tmp_path: Path) -> None:
    with supervisord({"slow": deaf(tmp_path / "ready")}) as one:
        await asyncio.to_thread(wait_for, tmp_path / "ready")
        async with opened(one.url) as executor:
            running = asyncio.ensure_future(executor.run(call("supervisor.stopProcess", name="slow:slow", wait=True)))
            await asyncio.to_thread(one.wait, "slow", "STOPPING")
            pid = one.info("slow")["pid"]
            one.process.kill()
            outcome = await running
            assert isinstance(outcome, Unknown)
        os.kill(pid, signal.SIGKILL)  # its supervisord can no longer end it


async def test_what_is_cancelled_is_over_before_it_is_given_up(tmp_path: Path) -> None:
    with supervisord({"slow": deaf(tmp_path / "ready")}) as one:
        await asyncio.to_thread(wait_for, tmp_path / "ready")
        async with opened(one.url) as executor:
            running = asyncio.ensure_future(executor.run(call("supervisor.stopProcess", name="slow:slow", wait=True)))
            pid = (await asyncio.to_thread(one.wait, "slow", "STOPPING"))["pid"]
            running.cancel()
            await asyncio.wait([running], timeout=0.2)
            assert not running.done(), "nobody knows yet whether it is stopped"
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(asyncio.CancelledError):
                await running
            assert one.info("slow")["statename"] == "STOPPED"


async def test_ten_calls_at_once_do_not_wait_for_each_other(place: Supervisord) -> None:
    async with opened(place.url) as executor:
        outcomes = await asyncio.gather(
            *(executor.run(call("supervisor.getProcessInfo", name="solo")) for _ in range(10))
        )
    assert all(isinstance(one, Done) for one in outcomes)


async def test_without_a_url_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Supervisord
) -> None:
    monkeypatch.setattr("uici_executors.supervisor.place.USUAL_SOCKETS", ())
    monkeypatch.delenv("SUPERVISOR_SERVER_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    executor = load("supervisor")()
    assert executor.detect() is None
    with pytest.raises(ConfigurationError, match=r"settings\.url"):
        await executor.open(Environment.parse("local", {"executor": "supervisor"}))
    (tmp_path / "supervisord.conf").write_text("[unix_http_server]\nfile=%(here)s/s.sock ; the socket\n")
    assert executor.detect() is None, "a file alone is no supervisord"
    (tmp_path / "s.sock").symlink_to(place.folder / "s.sock")
    assert executor.detect() == {"url": f"unix://{tmp_path}/s.sock"}
    await executor.open(Environment.parse("local", {"executor": "supervisor"}))
    assert (await executor.health()).ok
    await executor.close()


async def test_looks_do_not_wait_for_calls(tmp_path: Path) -> None:
    """As many calls as there are threads are under way: each waits until its program has ended."""
    programs = {f"slow{n}": deaf(tmp_path / f"ready{n}") for n in range(32)}
    with supervisord(programs) as one:
        for n in range(32):
            await asyncio.to_thread(wait_for, tmp_path / f"ready{n}")
        async with opened(one.url) as executor:
            paths = [call("supervisor.stopProcess", name=f"{name}:{name}", wait=True) for name in programs]
            stopping = [asyncio.create_task(executor.run(each)) for each in paths]
            pids = [(await asyncio.to_thread(one.wait, name, "STOPPING"))["pid"] for name in programs]
            assert len(await executor.locate(Target(kind="service", name="slow0"))) == 1
            looked = await executor.run(call("supervisor.getProcessInfo", name="slow0:slow0"))
            assert isinstance(looked, Done)
            assert not any(each.done() for each in stopping)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert await asyncio.gather(*stopping) == [Done(answer=True)] * 32

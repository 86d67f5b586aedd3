"""``run_job`` on a real cluster, through the whole engine: variants, their logs while they run, and what stops them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.kubernetes import BUSYBOX, Cluster, KubectlError
from tests.executors.whole import running
from uici.catalog import Catalog
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Done, Line, Outcome, Unknown
from uici.model import Call, Origin, Reason, Request, Result, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")

SECONDS = 90.0
REQUEST = "uici.dev/request"


class Place:
    """The engine with the starter's catalog, in one namespace."""

    def __init__(self, interface: UniversalInfrastructureInterface, cluster: Cluster, namespace: str) -> None:
        self.interface, self.cluster, self.namespace = interface, cluster, namespace

    async def begin(self, script: str, *, by: str = "anna", **parameters: Any) -> tuple[str, asyncio.Task[Result]]:
        asked = {"name": "test", "namespace": self.namespace, "image": BUSYBOX, "command": ["sh", "-c", script]}
        asked |= {"cpu": "50m", "memory": "32Mi"}
        request = Request(operation="run_job", parameters={**asked, **parameters}, environment="kubernetes")
        id = self.interface.new_id()
        running = asyncio.create_task(self.interface.execute(request, Origin("human", by), id=id))
        await asyncio.sleep(0)  # it has begun
        return id, running

    async def run(self, script: str, **parameters: Any) -> Result:
        _, running = await self.begin(script, **parameters)
        async with asyncio.timeout(SECONDS):
            return await running

    async def followed(self, id: str, enough: Callable[[list[Line]], bool] | None = None) -> list[Line]:
        found: list[Line] = []
        feed = await self.interface.logs(id)
        async with asyncio.timeout(SECONDS), contextlib.aclosing(feed.follow({})) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                found += piece.lines
                if enough is not None and enough(found):
                    break
        return found

    async def objects(self, kind: str, request: str) -> list[dict[str, Any]]:
        found = await asyncio.to_thread(
            self.cluster.get, kind, f"--selector={REQUEST}={request}", f"-n{self.namespace}"
        )
        items: list[dict[str, Any]] = found["items"]
        return items


@contextlib.asynccontextmanager
async def engine(
    catalog: Catalog, cluster: Cluster, namespace: str, folder: Path, *, faster: float = 1.0, grace: float = 5.0
) -> AsyncIterator[Place]:
    async with running(catalog, folder, faster=faster, grace=grace) as interface:
        yield Place(interface, cluster, namespace)


@pytest.fixture
async def place(cluster: Cluster, namespace: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Place]:
    async with engine(catalog, cluster, namespace, tmp_path) as one:
        yield one


def by_name(lines: list[Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line.name, []).append(line.text)
    return found


def rows(result: Result) -> dict[str, tuple[str, int]]:
    return {one["variant"]: (one["state"], one["exit_code"]) for one in result.answer["variants"]}


async def test_one_container_runs_to_its_end(place: Place) -> None:
    result = await place.run(
        "echo $GREETING $0 $1; sleep 1", args=["a", "b c"], env={"GREETING": "hello"}, memory="64Mi"
    )
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    (row,) = result.answer["variants"]
    assert (row["variant"], row["state"], row["exit_code"]) == ("test", "succeeded", 0)
    assert row["started_at"] < row["ended_at"]
    assert [one["state"] for one in row["pods"]] == ["succeeded"]
    assert by_name(await place.followed(result.id)) == {"test": ["hello a b c"]}, "and after its end"
    (job,) = await place.objects("jobs", result.id)
    assert job["metadata"]["name"] == f"test-{result.id}-0"
    spec = job["spec"]["template"]["spec"]
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (3600, 3600)
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["resources"]["limits"] == {"cpu": "50m", "memory": "64Mi"}


async def test_variants_are_told_apart_and_one_that_fails_is_told(place: Place) -> None:
    variants = [
        {"name": "good", "env": {"CODE": "0"}},
        {"name": "bad", "env": {"CODE": "3"}},
        {"name": "own", "command": ["echo", "my own"]},
    ]
    id, running = await place.begin(
        "echo $SHARED $CODE; sleep 1; exit $CODE", env={"SHARED": "x", "CODE": "9"}, variants=variants
    )
    seen = by_name(await place.followed(id))
    result = await running
    assert (result.status, result.reason) == (Status.UNVERIFIED, Reason.VERIFICATION)
    assert seen == {"good": ["x 0"], "bad": ["x 3"], "own": ["my own"]}
    assert rows(result) == {"good": ("succeeded", 0), "bad": ("failed", 3), "own": ("succeeded", 0)}
    bad = next(one for one in result.answer["variants"] if one["variant"] == "bad")
    assert "backoff limit" in bad["message"]
    assert [one["variant"] for one in result.answer["variants"]] == ["good", "bad", "own"], "in their order"


async def test_a_matrix_is_every_combination(place: Place) -> None:
    matrix = [{"name": "SIZE", "values": ["1", "2"]}, {"name": "MODE", "values": ["x", "y"]}]
    result = await place.run("echo $SIZE$MODE", matrix=matrix)
    assert result.status is Status.DONE, result.message
    assert by_name(await place.followed(result.id)) == {
        "1-x": ["1x"],
        "1-y": ["1y"],
        "2-x": ["2x"],
        "2-y": ["2y"],
    }


async def test_indexes_find_their_number(place: Place) -> None:
    result = await place.run("echo I am $JOB_COMPLETION_INDEX; [ $JOB_COMPLETION_INDEX != 1 ]", indexed=3, retries=0)
    assert result.status is Status.UNVERIFIED
    assert rows(result)["1"] == ("failed", 1)
    assert by_name(await place.followed(result.id))["0"] == ["I am 0"]
    assert result.answer["jobs"] == 1
    good = await place.run("echo I am $JOB_COMPLETION_INDEX", indexed=3, parallelism=2)
    assert good.status is Status.DONE, good.message
    assert rows(good) == {str(index): ("succeeded", 0) for index in range(3)}


async def test_its_logs_stream_while_it_runs_to_all_who_follow(place: Place) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo $WHO $i; i=$((i+1)); done; sleep 3; echo $WHO bye"
    variants = [{"name": "a", "env": {"WHO": "a"}}, {"name": "b", "env": {"WHO": "b"}}]
    id, running = await place.begin(script, variants=variants)
    first = await place.followed(id, lambda seen: len(seen) >= 1000)
    assert not running.done()
    everything = await asyncio.gather(*(place.followed(id) for _ in range(10)))
    result = await running
    assert result.status is Status.DONE, result.message
    wanted = {who: [*(f"{who} {number}" for number in range(500)), f"{who} bye"] for who in "ab"}
    assert all(by_name(one) == wanted for one in everything)
    assert {name: lines[:500] for name, lines in by_name(first).items()} == {
        name: lines[:500] for name, lines in wanted.items()
    }


@pytest.mark.parametrize(
    "how", [{"variants": [{"name": "a"}, {"name": "b"}]}, {"indexed": 4}], ids=["variants", "indexed"]
)
async def test_cancelling_stops_its_jobs(place: Place, how: dict[str, Any]) -> None:
    count = len(how.get("variants", ())) or how["indexed"]
    id, running = await place.begin("trap 'echo stopped; exit 1' TERM; echo up; sleep 600 & wait", **how)
    following = asyncio.create_task(place.followed(id))
    await place.followed(id, lambda seen: len(seen) >= count)
    assert await place.interface.cancel(id, "human:anna")
    async with asyncio.timeout(SECONDS):
        result = await running
    assert (result.status, result.reason) == (Status.FAILED, Reason.CANCELLED), result.message
    # The Job's controller writes its status meanwhile: what met that is looked at anew, and done.
    calls = [one for one in result.evidence if one.kind == "call"]
    refused = [one for one in calls if one.verdict not in ("done", "skipped")]
    assert all("the object has been modified" in one.data["message"] for one in refused if one.data), refused
    assert calls[-1].verdict in ("done", "skipped")
    for job in await place.objects("jobs", id):
        name = f"job/{job['metadata']['name']}"
        await asyncio.to_thread(place.cluster.wait, name, "condition=Failed", place.namespace)
    assert [one for one in await place.objects("pods", id) if "deletionTimestamp" not in one["metadata"]] == []
    seen = by_name(await following)
    assert all(lines[0] == "up" for lines in seen.values())
    assert len(seen) == count


async def test_a_deadline_stops_what_has_not_ended(place: Place) -> None:
    result = await place.run("echo up; sleep 600", deadline_seconds=3)
    assert result.status is Status.UNVERIFIED
    (row,) = result.answer["variants"]
    assert row["state"] == "failed"
    assert "longer than specified deadline" in row["message"]


async def test_the_server_refuses_a_second_one(place: Place, catalog: Catalog, tmp_path: Path) -> None:
    """Another engine that is given the same command: the Jobs are there already."""
    first = await place.run("echo once", variants=[{"name": "a"}, {"name": "b"}])
    assert first.status is Status.DONE
    (job, _) = await place.objects("jobs", first.id)
    again = {name: job[name] for name in ("apiVersion", "kind")} | {"metadata": {"name": job["metadata"]["name"]}}
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": BUSYBOX}]}
    manifest = yaml.safe_dump({**again, "spec": {"template": {"spec": spec}}})
    with pytest.raises(KubectlError, match="already exists"):
        await asyncio.to_thread(place.cluster.kubectl, "create", "--filename=-", f"-n{place.namespace}", input=manifest)
    (tmp_path / "other").mkdir()
    async with engine(catalog, place.cluster, place.namespace, tmp_path / "other") as other:
        request = Request(
            operation="run_job",
            parameters={
                "name": "test", "namespace": place.namespace, "image": BUSYBOX, "command": ["sh", "-c", "echo once"],
                "variants": [{"name": "a"}, {"name": "b"}],
            },
            environment="kubernetes",
        )  # fmt: skip
        second = await other.interface.execute(request, Origin("human", "anna"), id=first.id)
    assert (second.status, second.reason) == (Status.DONE, Reason.NOTHING_TO_DO)
    assert len(await place.objects("jobs", first.id)) == 2
    assert len(await place.objects("pods", first.id)) == 2


@pytest.mark.parametrize("happened", [True, False])
async def test_a_doubt_ends_with_each_job_once(
    cluster: Cluster, namespace: str, catalog: Catalog, tmp_path: Path, happened: bool
) -> None:
    """The connection breaks at the second of three: nobody knows whether that Job was made."""
    async with engine(catalog, cluster, namespace, tmp_path, faster=10.0) as place:
        from uici_executors.kubernetes import KubernetesExecutor

        calls = 0
        honest = KubernetesExecutor.run

        async def run(self: KubernetesExecutor, call: Call) -> Outcome:
            nonlocal calls
            calls += call.path.endswith("create_namespaced_job")
            if calls == 2 and call.path.endswith("create_namespaced_job"):
                if happened:
                    assert isinstance(await honest(self, call), Done)
                return Unknown(message="the connection broke")
            return await honest(self, call)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(KubernetesExecutor, "run", run)
            result = await place.run("echo once", variants=[{"name": name} for name in "abc"])
        assert result.status is Status.DONE, result.message
        assert rows(result) == dict.fromkeys("abc", ("succeeded", 0))
        assert len(await place.objects("pods", result.id)) == 3


async def test_another_process_goes_on_with_what_it_finds(
    cluster: Cluster, namespace: str, catalog: Catalog, tmp_path: Path
) -> None:
    async with engine(catalog, cluster, namespace, tmp_path, grace=0.0) as place:
        id, running = await place.begin("echo before; sleep 8; echo after")
        assert [line.text for line in await place.followed(id, bool)] == ["before"]
    with contextlib.suppress(asyncio.CancelledError):
        await running
    async with engine(catalog, cluster, namespace, tmp_path) as place:
        lines = await place.followed(id)
        result = await place.interface.wait(id)
        assert result is not None
        assert result.status is Status.DONE, result.message
        assert [line.text for line in lines] == ["before", "after"]
        assert len(await place.objects("jobs", id)) == 1


async def test_two_of_one_name_take_turns_and_two_of_other_names_do_not(place: Place) -> None:
    _, slow = await place.begin("sleep 4", name="one")
    _, second = await place.begin("true", name="one")
    _, other = await place.begin("true", name="two")
    assert (await other).status is Status.DONE
    assert not slow.done()
    assert not second.done()
    assert (await slow).status is Status.DONE
    assert (await second).status is Status.DONE


@pytest.mark.parametrize(
    "parameters",
    [
        {"name": "Upper"},
        {"name": "a" * 25},
        {"image": "busybox; rm -rf /"},
        {"variants": [{"name": f"v{number}"} for number in range(51)]},
        {"variants": [{"name": "with space"}]},
        {"variants": [{"name": "a", "image": "other"}]},
        {"indexed": 51},
        {"indexed": 2, "variants": [{"name": "a"}]},
        {"matrix": [{"name": "A", "values": ["1"]}], "variants": [{"name": "a"}]},
        {"matrix": [{"name": name, "values": [str(number) for number in range(8)]} for name in "AB"]},
        {"matrix": [{"name": name, "values": ["1"]} for name in "ABCD"]},
        {"memory": "0"},
        {"deadline_seconds": 21601},
        {"env": {"NOT-A-NAME": "x"}},
    ],
    ids=lambda value: ",".join(value),
)
async def test_what_is_not_bounded_is_refused(place: Place, parameters: dict[str, Any]) -> None:
    result = await place.run("true", **parameters)
    assert (result.status, result.reason) == (Status.REFUSED, Reason.SCHEMA), result.message


async def test_by_the_daemons_door(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked, followed, cut off, followed again and cancelled over HTTP, as a program would."""
    from tests.daemon.place import serving
    from tests.daemon.test_following import Place as Following
    from tests.daemon.test_following import events

    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    folder = tmp_path / "catalog"
    folder.mkdir()
    settings = {"kubeconfig": str(cluster.kubeconfig)}
    place = {"executor": "kubernetes", "settings": settings, "autonomy": "change"}
    files: dict[str, Any] = {
        "platform": {"journal": {"url": f"sqlite:///{tmp_path}/journal.db"}, "server": {"listen": "127.0.0.1:0"}},
        "environments": {"default": "kubernetes", "environments": {"kubernetes": place}},
    }
    for name in ("operations", "command_translations", "policies"):
        files[name] = {"include": ["starter"]}
    for name, data in files.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"version": 1, **data}))
    async with serving(folder) as door:
        script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; sleep 600"
        parameters = {"name": "test", "namespace": namespace, "image": BUSYBOX, "command": ["sh", "-c", script]}
        parameters |= {"cpu": "50m", "memory": "32Mi", "variants": [{"name": "a"}, {"name": "b"}]}
        _, said = await door.post("/api/v1/requests", {"operation": "run_job", "parameters": parameters})
        following = Following(door, tmp_path)
        async with following.follow(said["id"]) as response:
            found = await events(response, 150)
        async with following.follow(said["id"], last=found[-1]["id"]) as response:
            found += await events(response, 450)
            for name in "ab":
                assert [one["text"] for one in found if one["name"] == name] == [
                    f"line {number}" for number in range(300)
                ]
            status, _ = await door.post(f"/api/v1/requests/{said['id']}/cancel")
            assert status == 200
            *_, end = await events(response)
        assert (end["event"], end["status"], end["reason"]) == ("end", "failed", "cancelled")
        for job in cluster.get("jobs", f"--selector={REQUEST}={said['id']}", f"-n{namespace}")["items"]:
            await asyncio.to_thread(cluster.wait, f"job/{job['metadata']['name']}", "condition=Failed", namespace)


async def test_verify_is_woken_by_the_jobs_themselves(place: Place) -> None:
    """It is asked every ten seconds, and as soon as something changes: its end is noticed long before the next turn."""
    result = await place.run("sleep 2")
    assert result.status is Status.DONE
    samples = [one for one in result.evidence if one.kind == "sample"]
    assert len(samples) > 2, "more than one at the beginning and one ten seconds later"

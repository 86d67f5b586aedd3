"""``/api/v1`` over real sockets and a real supervisord: reads, requests, the end of requests, pause."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.place import Door, alert, payload, serving
from tests.engines.supervisord import Supervisord
from uici.daemon import schemas
from uici.model import Alert, ConfigurationError, Evidence, Incident, IncidentState, Resource, Result, Status, Try

REQUESTS = "/api/v1/requests"


async def test_operations(door: Door) -> None:
    status, said = await door.get("/api/v1/operations")
    names = [one["name"] for one in said["operations"]]
    assert status == 200
    assert {"restart_service", "service_status", "list_services"} <= set(names)
    status, one = await door.get("/api/v1/operations/restart_service")
    assert (status, one["risk"], one["environments"]) == (200, "change", ["local"])
    assert one in said["operations"]


async def test_environments_without_their_settings(door: Door) -> None:
    status, said = await door.get("/api/v1/environments")
    assert status == 200
    (one,) = said["environments"]
    assert (one["name"], one["default"], one["executor"], one["paused"]) == ("local", True, "supervisor", None)
    assert one["health"]["ok"] is True, one
    assert one["unchangeable"] is None
    assert "settings" not in one
    assert (await door.get("/api/v1/environments/local"))[1]["name"] == "local"


async def test_a_secret_that_has_gone_is_told_with_its_cure(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(environment: str) -> None:
        raise ConfigurationError(f"{environment}: ${{file:/run/x}}: it cannot be read; give this user the file")

    monkeypatch.setattr(door.daemon.infrastructure, "permissions", gone)
    status, said = await door.get("/api/v1/environments/local/permissions")
    assert (status, said["code"]) == (503, "configuration")
    assert said["detail"] == "local: ${file:/run/x}: it cannot be read; give this user the file"


async def test_wait_gives_the_result(door: Door) -> None:
    status, said = await door.post(
        f"{REQUESTS}?wait=30s", {"operation": "service_status", "parameters": {"service": "web"}}
    )
    assert (status, said["status"], said["origin"]) == (200, "done", "library:loopback")
    assert said["answer"]["state"] == "running"
    assert (await door.get(f"{REQUESTS}/{said['id']}"))[1] == said
    listed = (await door.get(REQUESTS))[1]["requests"]
    assert [one["id"] for one in listed] == [said["id"]]


async def test_without_wait_it_is_202_and_the_location_has_the_result(door: Door) -> None:
    body = {"operation": "restart_service", "parameters": {"service": "web"}, "reason": "a test"}
    async with door.session.post(door.url + REQUESTS, json=body) as response:
        said = await response.json()
        assert response.status == 202
        where = response.headers["Location"]
    assert where == f"{REQUESTS}/{said['id']}"
    status, ended = await door.get(f"{where}?wait=60s")
    assert (status, ended["status"], ended["verification"]) == (200, "done", "recovered"), ended


async def test_a_request_that_is_accepted_is_durable(door: Door) -> None:
    _, said = await door.post(REQUESTS, {"operation": "restart_service", "parameters": {"service": "web"}})
    assert await door.daemon.journal.entries(request=said["id"])
    await door.get(f"{REQUESTS}/{said['id']}?wait=60s")


async def test_a_refusal_is_a_result_and_is_recorded(guarded: Door) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("reader", {"operation": "restart_service", "parameters": {"service": "web"}}, "permission"),
        ("program", {"operation": "stop_service", "parameters": {"service": "web"}}, "autonomy"),
        ("anna", {"operation": "stop_service", "parameters": {"service": "web"}}, "autonomy"),
        ("anna", {"operation": "dance"}, "unknown_operation"),
        ("anna", {"operation": "service_status", "parameters": {"service": "web\n"}}, "schema"),
        ("anna", {"operation": "service_status", "parameters": {"service": "nobody"}}, "unknown_target"),
        (
            "anna",
            {"operation": "service_status", "environment": "mars", "parameters": {"service": "web"}},
            "unknown_environment",
        ),
    ]
    for token, body, reason in cases:
        status, said = await guarded.post(f"{REQUESTS}?wait=30s", body, token=token)
        assert status == 200, said
        assert said["status"] in ("refused", "needs_approval"), (body, said)
        if said["status"] == "refused":
            assert said["reason"] == reason, said
        results = await guarded.daemon.journal.entries(kinds=["result"], request=said["id"])
        assert [entry.data["result"]["id"] for entry in results] == [said["id"]]
    assert (await guarded.get("/api/v1/requests", token="reader"))[1]["requests"][0]["origin"] == "human:anna"


async def test_a_person_confirms_a_destroy(guarded: Door, supervisor: Supervisord) -> None:
    body = {"operation": "stop_service", "parameters": {"service": "slow"}, "confirm": True}
    _, said = await guarded.post(f"{REQUESTS}?wait=60s", body, token="anna")
    assert said["status"] == "done", said
    assert supervisor.info("slow")["statename"] == "STOPPED"
    _, said = await guarded.post(
        f"{REQUESTS}?wait=60s", {"operation": "start_service", "parameters": {"service": "slow"}}, token="anna"
    )
    assert said["status"] == "done", said


async def test_cancel(door: Door) -> None:
    body = {"operation": "restart_service", "parameters": {"service": "web"}}
    _, said = await door.post(REQUESTS, body)
    status, cancelled = await door.post(f"{REQUESTS}/{said['id']}/cancel")
    ended = (await door.get(f"{REQUESTS}/{said['id']}?wait=60s"))[1]
    assert ended["status"] != "running"
    assert (status, cancelled) == (200, {"cancelled": True})
    status, again = await door.post(f"{REQUESTS}/{said['id']}/cancel")
    assert (status, again["code"]) == (409, "ended")


async def test_pause_stops_programs_and_a_person_resumes(guarded: Door) -> None:
    assert (await guarded.post("/api/v1/pause", {"environment": "local"}, token="program"))[0] == 200
    body = {"operation": "restart_service", "parameters": {"service": "web"}}
    _, said = await guarded.post(f"{REQUESTS}?wait=30s", body, token="program")
    assert (said["status"], said["reason"]) == ("refused", "paused")
    assert (await guarded.get("/api/v1/environments/local", token="reader"))[1]["paused"] == "library:program"
    assert (await guarded.post("/api/v1/resume", {"environment": "local"}, token="program"))[0] == 403
    assert (await guarded.post("/api/v1/resume", {"environment": "local"}, token="anna"))[0] == 200
    assert (await guarded.get("/api/v1/environments/local", token="reader"))[1]["paused"] is None
    assert (await guarded.post("/api/v1/pause", {"environment": "mars"}, token="anna"))[0] == 422
    assert (await guarded.post("/api/v1/pause", {"environments": "local"}, token="anna"))[0] == 422


async def test_plan_says_what_would_be_done_and_does_nothing(door: Door, supervisor: Supervisord) -> None:
    before = supervisor.info("db")["start"]
    status, said = await door.post("/api/v1/plan", payload(alert(service="db")))
    assert status == 200, said
    (plan,) = said["plans"]
    assert (plan["environment"], plan["target"]["name"]) == ("local", "db")
    assert plan["runbook"]
    assert plan["conclusion"]["verdict"] == "nothing_to_do", plan
    supervisor.call("supervisor.stopProcess", "db")
    try:
        _, said = await door.post(
            "/api/v1/plan", alert(service="db", startsAt=None) | {"startsAt": "2026-11-25T18:00:00Z"}
        )
        (plan,) = said["plans"]
        assert plan["conclusion"]["verdict"] == "dry_run", plan
        changing = [step for step in plan["steps"] if step["changing"]]
        assert [step["result"]["dry_run"] for step in changing] == [True]
        assert supervisor.info("db")["statename"] == "STOPPED"
    finally:
        supervisor.call("supervisor.startProcess", "db")
    assert before
    assert (await door.get("/api/v1/incidents"))[1]["incidents"] == []


async def test_plan_of_what_nobody_knows(door: Door) -> None:
    _, said = await door.post("/api/v1/plan", [{"labels": {"alertname": "ServiceDown", "service": "nobody"}}])
    assert said["plans"][0]["conclusion"]["reason"] == "unknown_target"
    _, said = await door.post("/api/v1/plan", [{"labels": {"alertname": "UiciDown"}}])
    assert said["plans"][0]["conclusion"]["reason"] == "self"
    status, said = await door.post("/api/v1/plan", [{"labels": {"alertname": 1}}])
    assert (status, said["errors"][0]["path"]) == (422, "alerts[0].labels.alertname")


async def test_an_incident_is_told_whole(door: Door) -> None:
    await door.post("/webhooks/alertmanager", payload(alert(), truncatedAlerts=3))
    listed = (await door.get("/api/v1/incidents?state=escalated"))[1]["incidents"]
    storm = next(one for one in listed if one["key"] == "storm")
    status, told = await door.get(f"/api/v1/incidents/{storm['id']}")
    assert status == 200
    assert [entry["kind"] for entry in told["entries"]][:2] == ["incident", "escalation"]
    assert told["results"] == []


async def test_pages_of_requests(door: Door) -> None:
    ids = []
    for _ in range(5):
        _, said = await door.post(f"{REQUESTS}?wait=30s", {"operation": "list_services"})
        ids.append(said["id"])
    _, first = await door.get(f"{REQUESTS}?limit=3")
    _, second = await door.get(f"{REQUESTS}?limit=3&before={first['next']}")
    assert [one["id"] for one in first["requests"] + second["requests"]] == ids[::-1]
    assert second["next"] is None


async def test_approvals_are_empty(door: Door) -> None:
    assert await door.get("/api/v1/approvals") == (200, {"approvals": []})


async def test_status_tells_who_asks(guarded: Door) -> None:
    status, said = await guarded.get("/api/v1/status", token="anna")
    assert status == 200
    assert said["caller"] == {"name": "anna", "person": True, "may": ["approve", "observe", "operate"]}
    assert said["listens"][0] == guarded.url


async def test_no_answer_anywhere_holds_a_secret(guarded: Door) -> None:
    paths = [
        "/readyz",
        "/api/v1/status",
        "/api/v1/environments",
        "/api/v1/operations",
        "/api/v1/incidents",
        "/api/v1/requests",
    ]
    for path in paths:
        async with guarded.session.get(guarded.url + path, headers={"Authorization": "Bearer t-anna"}) as response:
            text = await response.text()
        assert not re.search(r"t-(anna|reader|program|alertmanager|prometheus)", text), path


def test_the_schemas_say_what_the_words_are() -> None:
    alert = Alert(labels={}, starts_at="", fingerprint="")
    resource = Resource(engine="", kind="", id="", name="")
    tried = Try(request="", operation="", status="done", reason=None, verification=None, changed=False)
    incident = Incident(
        id="", key="", environment=None, target=resource, state=IncidentState.OPEN, alerts=(alert,), tried=(tried,),
        started_at="", opened_at="", changed_at="",
    )  # fmt: skip
    result = Result(
        id="", operation="", environment=None, origin="", target=None, risk=None, dry_run=False, status=Status.DONE,
        reason=None, message="", started_at="", ended_at="",
    )  # fmt: skip
    for word, name in [
        (alert, "Alert"),
        (resource, "Resource"),
        (tried, "Try"),
        (incident, "Incident"),
        (result, "Result"),
        (Evidence(kind="", name="", verdict="", at="", data={}), "Evidence"),
    ]:
        assert set(word.to_json()) == set(schemas.COMPONENTS[name]["properties"]), name


async def test_many_requests_at_once_all_end(door: Door) -> None:
    async def ask() -> str:
        _, said = await door.post(
            f"{REQUESTS}?wait=60s", {"operation": "service_status", "parameters": {"service": "web"}}
        )
        return str(said["status"])

    assert set(await asyncio.gather(*(ask() for _ in range(30)))) == {"done"}


async def test_a_caller_that_asks_too_fast_is_told_to_slow_down(catalog: Callable[..., Path]) -> None:
    async with serving(catalog()) as door:
        answers = await asyncio.gather(*(door.post(REQUESTS, {"operation": "dance"}) for _ in range(400)))
        refused = [said["code"] for status, said in answers if status == 503]
        assert set(refused) <= {"rate", "saturated"}
        assert refused

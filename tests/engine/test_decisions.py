"""The two pure deciders, authorise and guard, by their cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from uici.engine.authorise import Question, authorise
from uici.engine.guard import Surroundings, guard
from uici.executor import Identity
from uici.journal import Attempt
from uici.model import (
    Autonomy,
    Call,
    Environment,
    Operation,
    Origin,
    Pinned,
    Policies,
    Request,
    Resource,
    Risk,
    Touch,
)

CASES = Path(__file__).parents[1] / "cases"
AT = 1_800_000_000.0


def cases(name: str) -> list[Any]:
    found = yaml.safe_load((CASES / name).read_text())
    return [pytest.param(case, id=case["name"]) for case in found]


def environment(**settings: Any) -> Environment:
    return Environment.parse("prod", {"executor": "docker", **settings})


OPERATION = Operation.parse(
    "restart_service", {"summary": "Restart.", "risk": "change", "parameters": {"type": "object"}}
)


def resource(one: Any, **defaults: Any) -> Resource:
    one = {"name": one} if isinstance(one, str) else dict(one)
    owner = one.get("owner", f"name/{one['name']}")
    one = {**defaults, **{key: one[key] for key in one if key in ("name", "kind", "labels", "namespace", "names")}}
    return Resource(
        engine="e",
        kind=one.get("kind", "container"),
        id=f"id-{one['name']}",
        name=one["name"],
        namespace=one.get("namespace"),
        names=tuple(one.get("names", (one["name"],))),
        labels=one.get("labels", {}),
        owner=owner,
    )


@pytest.mark.parametrize("case", cases("authorise.yml"))
def test_authorise(case: dict[str, Any]) -> None:
    kind, _, name = case.get("origin", "human:anna").partition(":")
    target = None if case.get("no_target") else resource({"name": "web", "labels": case.get("labels", {})})
    gates = authorise(
        Question(
            request=Request(operation="restart_service", confirm=case.get("confirm", False)),
            origin=Origin(kind, name, frozenset(case.get("may", ["observe", "operate"]))),
            environment=environment(autonomy=case.get("autonomy", "observe"), stage=case.get("stage", "sandbox")),
            operation=OPERATION,
            risk=Risk(case.get("risk", "change")),
            target=target,
            policies=Policies.parse({"rules": case.get("rules", []), "brakes": case.get("brakes", [])}),
            touched=[resource(one) for one in case.get("touched", [])],
            attempts=[
                Attempt(
                    request=str(number),
                    key=one.get("key", "e|name/web"),
                    environment=one.get("environment", "prod"),
                    operation=one.get("operation", "restart_service"),
                    risk="change",
                    origin=one.get("origin", "runbook:x"),
                    at=AT - one.get("ago", 60),
                    verdict=one["verdict"],
                )
                for number, one in enumerate(case.get("attempts", []))
            ],
            paused_by=case.get("paused_by"),
            closed_because=case.get("closed"),
            key=case.get("key"),
            undo=case.get("undo", False),
            at=AT,
            now="2027-01-15T08:00:00.000000000Z",
        )
    )
    last = gates[-1]
    found = "pass" if last.status is None else [last.status.value, last.reason.value if last.reason else None]
    assert found == case["expect"], last.message
    assert all(gate.status is None for gate in gates[:-1])
    if last.status is not None:
        assert last.message, "a gate that does not pass says why"


@pytest.mark.parametrize("case", cases("guard.yml"))
def test_guard(case: dict[str, Any]) -> None:
    target = resource(
        {
            "name": "web",
            "labels": case.get("labels", {}),
            "namespace": case.get("namespace"),
            "names": case.get("names", ["web"]),
        }
    )
    touches = [
        Touch(
            resource=target,
            healthy=case.get("healthy", case.get("desired", 1)),
            desired=case.get("desired", 1),
            takes=case.get("takes", 1),
            managed_by=case.get("managed_by"),
            spare=case.get("spare"),
        )
    ]
    for one in case.get("also", []):
        more = one if isinstance(one, dict) else {}
        touches.append(
            Touch(
                resource=resource(one),
                desired=more.get("desired", 0),
                takes=more.get("takes", 0),
                spare=more.get("spare"),
            )
        )
    call = Call(on=target, path="Container.restart", arguments={}, risk=Risk(case.get("risk", "change")))
    kind, _, name = case.get("origin", "human:anna").partition(":")
    refusal = guard(
        Pinned(call=call, touches=tuple(touches), unknown=case.get("unknown")),
        call.risk,
        request=Request(operation="restart_service", confirm=case.get("confirm", False)),
        origin=Origin(kind, name),
        operation=OPERATION,
        target=resource(case["whole"]) if "whole" in case else target,
        around=Surroundings(
            environment=environment(
                namespaces=case.get("namespaces", []), managed=case.get("managed", "refuse"), autonomy="destroy"
            ),
            names=case.get("environments", ["prod"]),
            identity=Identity(
                resources=tuple(resource(one) for one in case.get("identity", [])),
                shows="a test says so",
                unknown=case.get("identity_unknown"),
            ),
            policies=Policies.parse(
                {
                    "protected": case.get("protected", []),
                    "blast_radius": case.get("limits", [{"min_risk": "change", "at_most": "34%", "always_allow": 1}]),
                }
            ),
            taken={target.key: case.get("taken", 0)},
            own={target.key: case.get("own", 0)},
        ),
    )
    assert (refusal[0].value if refusal else "pass") == case["expect"], refusal


def test_autonomy_covers_what_is_not_above_it() -> None:
    covered = {autonomy: [risk.value for risk in Risk if autonomy.covers(risk)] for autonomy in Autonomy}
    assert covered == {
        Autonomy.NONE: [],
        Autonomy.OBSERVE: ["observe"],
        Autonomy.CHANGE: ["observe", "change"],
        Autonomy.DESTROY: ["observe", "change", "destroy"],
    }

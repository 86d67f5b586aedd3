"""What no combination of circumstances may change: properties of guard and authorise, and dry runs that touch nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uici_rehearsal import CALLS, RehearsalExecutor

from tests.engine.rehearsal import rehearsing, write_world
from uici.engine.authorise import Gate, Question, authorise
from uici.engine.guard import Refusal, Surroundings, guard
from uici.executor import Identity, Outcome
from uici.journal import Attempt
from uici.model import (
    Autonomy,
    Call,
    Environment,
    Operation,
    Origin,
    Pinned,
    Policies,
    Protected,
    Reason,
    Request,
    Resource,
    Risk,
    Rule,
    Status,
    Touch,
)

AT = 1_800_000_000.0
NAMES = st.sampled_from(["web", "db", "uici", "vault-1", "cache"])
RISKS = st.sampled_from([Risk.CHANGE, Risk.DESTROY])
ORIGINS = st.builds(Origin, st.sampled_from(["human", "runbook", "llm", "mcp", "library"]), st.just("x"))
OPERATION = Operation.parse("do_it", {"summary": "Do it.", "risk": "change", "parameters": {"type": "object"}})


def resource(name: str, namespace: str | None = None) -> Resource:
    return Resource(
        engine="e",
        kind="container",
        id=f"id-{name}",
        name=name,
        namespace=namespace,
        names=(name,),
        labels={"app": name},
        owner=f"name/{name}",
    )


def environment(autonomy: str = "destroy", **more: Any) -> Environment:
    return Environment.parse("prod", {"executor": "docker", "autonomy": autonomy, **more})


TOUCHES = st.lists(
    st.builds(
        Touch,
        resource=NAMES.map(resource),
        healthy=st.integers(0, 5),
        desired=st.integers(0, 5),
        takes=st.integers(0, 5),
        managed_by=st.sampled_from([None, None, "argo-cd"]),
    ),
    max_size=4,
).map(tuple)


@st.composite
def guarded(draw: st.DrawFn) -> dict[str, Any]:
    """Any question that the guard may be asked."""
    risk, touches = draw(RISKS), draw(TOUCHES)
    target = draw(st.sampled_from([None, *(one.resource for one in touches)]))
    return {
        "pinned": Pinned(
            call=Call(on=target, path="Container.restart", arguments={}, risk=risk),
            touches=touches,
            unknown=draw(st.sampled_from([None, None, None, "nobody knows"])),
        ),
        "risk": risk,
        "request": Request(operation="do_it", confirm=draw(st.booleans())),
        "origin": draw(ORIGINS),
        "operation": OPERATION,
        "target": target,
        "around": Surroundings(
            environment=environment(managed=draw(st.sampled_from(["refuse", "override"]))),
            names=draw(st.lists(st.sampled_from(["prod", "stage"]), min_size=1, unique=True)),
            identity=Identity(
                resources=tuple(resource(name) for name in draw(st.lists(NAMES, max_size=2))),
                shows="a test",
                unknown=draw(st.sampled_from([None, None, "it does not tell"])),
            ),
            policies=Policies.parse(
                {
                    "protected": draw(st.lists(st.builds(lambda name: {"name": f"{name}*"}, NAMES), max_size=2)),
                    "blast_radius": draw(
                        st.sampled_from([[], [{"at_most": "34%", "always_allow": 1}], [{"at_most": "0%"}]])
                    ),
                }
            ),
            taken=draw(st.dictionaries(NAMES.map(lambda name: resource(name).key), st.integers(0, 3), max_size=2)),
        ),
    }


@given(guarded())
def test_what_uici_is_or_needs_is_always_refused(asked: dict[str, Any]) -> None:
    refusal = guard(**asked)
    own = set(asked["around"].identity.resources)
    if asked["pinned"].unknown is not None:
        assert _reason(refusal) is Reason.UNRESOLVED
    elif asked["around"].identity.unknown is not None or any(one.resource in own for one in asked["pinned"].touches):
        assert _reason(refusal) is Reason.SELF


@given(guarded(), NAMES)
def test_protecting_more_never_lets_more_through(asked: dict[str, Any], name: str) -> None:
    around = asked["around"]
    policies = dataclasses.replace(around.policies, protected=(*around.policies.protected, Protected(name=name)))
    stricter = guard(**{**asked, "around": dataclasses.replace(around, policies=policies)})
    assert guard(**asked) is None or stricter is not None
    if any(one.resource.name == name for one in asked["pinned"].touches):
        assert stricter is not None


@given(guarded(), st.integers(0, 4), TOUCHES)
def test_touching_more_or_with_others_never_lets_more_through(
    asked: dict[str, Any], more: int, touches: tuple[Touch, ...]
) -> None:
    # Nothing but the blast radius is to decide, so that it is what is asked about.
    around = dataclasses.replace(
        asked["around"],
        environment=environment(managed="override"),
        identity=Identity(shows="a test"),
        policies=Policies.parse({"protected": [], "blast_radius": [{"at_most": "34%", "always_allow": 1}]}),
    )
    asked = {**asked, "around": around, "pinned": dataclasses.replace(asked["pinned"], unknown=None)}
    before = guard(**asked)
    taken = {one.resource.key: around.taken.get(one.resource.key, 0) + more for one in asked["pinned"].touches}
    busier = guard(**{**asked, "around": dataclasses.replace(around, taken={**around.taken, **taken})})
    assert before is None or busier is not None
    # What is added is of other owners: replicas of the same one are counted together.
    known = {one.resource.key for one in asked["pinned"].touches}
    others = tuple(one for one in touches if one.resource.key not in known)
    wider = dataclasses.replace(asked["pinned"], touches=(*asked["pinned"].touches, *others))
    assert before is None or guard(**{**asked, "pinned": wider}) is not None


def _reason(refusal: Refusal | None) -> Reason | None:
    return refusal[0] if refusal else None


RULES = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["a", "b"]),
        when=st.sampled_from(
            ["true", "false", 'target.name == "web"', 'origin.kind == "llm"', "target.nope == 1", "1 / 0 == 1"]
        ),
        effect=st.sampled_from(["allow", "require_approval", "deny"]),
    ),
    max_size=3,
).map(tuple)


@st.composite
def authorised(draw: st.DrawFn) -> Question:
    """Any question that authorise may be asked."""
    return Question(
        request=Request(operation="do_it", confirm=draw(st.booleans())),
        origin=dataclasses.replace(
            draw(ORIGINS),
            may=draw(st.sampled_from([frozenset(), frozenset({"observe"}), frozenset({"observe", "operate"})])),
        ),
        environment=environment(draw(st.sampled_from([one.value for one in Autonomy]))),
        operation=OPERATION,
        risk=draw(st.sampled_from(list(Risk))),
        target=draw(st.sampled_from([None, resource("web"), resource("db")])),
        policies=Policies(
            rules=draw(RULES),
            brakes=Policies.parse(
                {
                    "brakes": [
                        {
                            "name": "b",
                            "per": draw(st.sampled_from([["target"], ["environment"]])),
                            "at_most": 2,
                            "within": "1h",
                        }
                    ]
                }
            ).brakes,
        ),
        touched=[resource(name) for name in draw(st.lists(NAMES, max_size=2))],
        attempts=[
            Attempt(
                request=str(number),
                key=resource(name).key,
                environment="prod",
                operation="do_it",
                risk="change",
                origin="runbook:x",
                at=AT - 60,
                verdict=verdict,
            )
            for number, (name, verdict) in enumerate(
                draw(st.lists(st.tuples(NAMES, st.sampled_from(["failed", "recovered", "running"])), max_size=4))
            )
        ],
        paused_by=draw(st.sampled_from([None, None, "human:bo"])),
        closed_because=draw(st.sampled_from([None, None, "a doubt"])),
        undo=draw(st.booleans()),
        at=AT,
        now="2027-01-15T08:00:00.000000000Z",
    )


def _passes(question: Question) -> bool:
    return _last(question).status is None


def _last(question: Question) -> Gate:
    return authorise(question)[-1]


@given(authorised())
def test_a_deny_that_matches_first_always_refuses(question: Question) -> None:
    policies = dataclasses.replace(
        question.policies, rules=(Rule(name="no", when="true", effect="deny"), *question.policies.rules)
    )
    gate = _last(dataclasses.replace(question, policies=policies))
    assert gate.status is not None
    if gate.name == "policy":
        assert gate.status is Status.REFUSED


@given(authorised())
def test_more_autonomy_or_fewer_attempts_never_refuse_what_was_allowed(question: Question) -> None:
    if not _passes(question):
        return
    for autonomy in Autonomy:
        if autonomy.covers(question.risk):
            more = dataclasses.replace(question, environment=environment(autonomy.value))
            # The rules may read the autonomy; these do not.
            assert _passes(more)
    assert _passes(dataclasses.replace(question, attempts=question.attempts[:-1]))
    assert _passes(dataclasses.replace(question, request=dataclasses.replace(question.request, confirm=True)))


@given(authorised())
def test_an_allow_never_raises_anything(question: Question) -> None:
    allow = dataclasses.replace(question.policies, rules=(Rule(name="yes", when="true", effect="allow"),))
    none = dataclasses.replace(question.policies, rules=())
    assert _passes(dataclasses.replace(question, policies=allow)) == _passes(
        dataclasses.replace(question, policies=none)
    )


@given(authorised())
def test_who_may_do_what_is_one_formula(question: Question) -> None:
    """DESIGN.md's, where no policy, pause, closed target or brake says more."""
    plain = dataclasses.replace(
        question, policies=Policies(), attempts=(), paused_by=None, closed_because=None, undo=False
    )
    right = ("observe" if plain.risk is Risk.OBSERVE else "operate") in plain.origin.may
    if plain.origin.person:
        allowed = plain.risk is not Risk.DESTROY or plain.request.confirm
    else:
        allowed = plain.environment.autonomy.covers(plain.risk)
    assert _passes(plain) == (right and allowed)
    for stopped in ({"paused_by": "human:bo"}, {"closed_because": "a doubt"}):
        if plain.risk is not Risk.OBSERVE and not plain.origin.person:
            assert not _passes(dataclasses.replace(plain, **stopped))


FAULTS = st.lists(
    st.fixed_dictionaries(
        {
            "call": st.sampled_from(sorted(CALLS)),
            "then": st.sampled_from(["rejected", "raises", "unknown_before", "unknown_after", "down_after"]),
        }
    ),
    max_size=3,
)
ASKED = st.sampled_from(
    [
        {"operation": "restart_service", "service": "web"},
        {"operation": "deploy_service", "service": "web", "image": "2"},
        {"operation": "scale_service", "service": "web", "replicas": 3},
        {"operation": "bump_image", "service": "web", "image": "2"},
        {"operation": "restart_all"},
        {"operation": "restart_some"},
        {"operation": "remove_all", "confirm": True},
        {"operation": "run_command", "command": "x", "confirm": True},
        {"operation": "run_command_elsewhere", "command": "x", "confirm": True},
        {"operation": "set_word", "service": "web", "login": {"user": "a", "word": "b"}},
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, faults=FAULTS, ill=st.booleans(), shadow=st.booleans(), by=ORIGINS)
async def test_a_dry_run_never_changes_anything(
    folder: Path, asked: dict[str, Any], faults: list[Any], ill: bool, shadow: bool, by: Origin
) -> None:
    ran: list[str] = []
    run = RehearsalExecutor.run

    async def watched(self: RehearsalExecutor, call: Call) -> Outcome:
        if CALLS[call.path][0] is not Risk.OBSERVE:
            ran.append(call.path)
        outcome: Outcome = await run(self, call)
        return outcome

    state = {"state": "failed", "health": "unhealthy"} if ill else {}
    write_world(folder / "world.json", {"web": state, "db": {"also_touches": ["web"]}}, script=faults)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RehearsalExecutor, "run", watched)
        async with rehearsing(folder) as rehearsal:
            how = {"environment": "shadow"} if shadow else {"dry_run": True}
            result = await rehearsal.run(**asked, **how, by=str(by))
            assert result.dry_run
            assert ran == []
            assert rehearsal.effects == []
            assert await rehearsal.entries("request", "intent", "escalation", "closed") == []

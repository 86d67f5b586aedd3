"""The checker itself, with a plugin that is not ours: what it hands to executors, and what it makes of their answers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.catalog.conftest import Make
from uici.catalog import Problem

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases" / "check.yml").read_text())
PLACES = (
    "version: 1\nenvironments: {f: {executor: fake, settings: {url: x}, alerts: ['a=\"f\"'], variables: {zone: a}}}\n"
)
OPERATIONS = """version: 1
operations:
  scale_service:
    summary: Scale one service.
    risk: RISK
    target: {parameter: service, namespace: namespace}
    parameters:
      type: object
      additionalProperties: false
      required: [service, to]
      properties:
        service: {type: string}
        namespace: {type: string}
        to: {type: integer, minimum: MINIMUM, maximum: 9}
    returns: {type: object, required: [state], properties: {state: {enum: [up, down]}}}
    before: {operation: service_status, parameters: {service: "${parameters.service}"}}
"""
STATUS = """version: 1
translations: {service_status: {fake: {steps: [{call: things.list}], returns: {service: a, state: running}}}}
"""
STEPS = """version: 1
translations:
  scale_service:
    fake:
      steps:
"""


def checked(
    make: Make, *steps: str, returns: str = "{state: up}", risk: str = "change", minimum: int = 1, also: str = ""
) -> list[Problem]:
    translation = STEPS + "".join(f"        - {step}\n" for step in steps) + f"      returns: {returns}\n" + also
    operations = OPERATIONS.replace("RISK", risk).replace("MINIMUM", str(minimum))
    return make(files(operations, translation)).check()


def files(operations: str, translation: str) -> dict[str, str]:
    return {
        "environments.yml": PLACES,
        "operations.yml": operations,
        "command_translations.yml": translation,
        "command_translations/status.yml": STATUS,
    }


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


GET = '{call: things.get, with: {id: "${target.id}"}, as: thing}'
SCALE = '{call: thing.scale, with: {to: "${parameters.to}"}}'


def test_right(make: Make, fake: Any) -> None:
    assert checked(make, GET, SCALE, returns='{state: "${thing.state}"}') == []


def test_a_receiver_is_given_by_its_type_and_arguments_by_their_schemas(make: Make, fake: Any) -> None:
    arguments = """{to: "${parameters.to}", after: {a: 1, b: "${thing.state}", c: ["x-${parameters.to}", "${thing.id}"],
      d: "${parameters.to > 3 ? 'many' : 'few'}", e: "${size(parameters.service) > 3}", f: {each: "${[1]}", item: "${item}"}}}"""
    checked(make, GET, f"{{call: thing.scale, with: {arguments}}}")
    step = next(step for step in fake.seen if step.path == "Thing.scale")
    assert step.dialect == "fake"
    assert step.arguments["to"] == {"type": "integer", "minimum": 1, "maximum": 9}
    after = step.arguments["after"]["properties"]
    assert after["a"] == {"const": 1}
    assert after["b"] == {"enum": ["up", "down"]}
    assert after["c"]["prefixItems"] == [{"type": "string"}, {"type": "string"}]
    assert after["d"] == {"enum": ["many", "few"]}
    assert after["e"] == {"type": "boolean"}
    assert after["f"]["type"] == "array"


def test_arguments_are_judged_by_their_bounds(make: Make, fake: Any) -> None:
    assert codes(checked(make, GET, SCALE, minimum=0)) == ["risk-too-low"]
    assert checked(make, GET, SCALE, minimum=0, risk="destroy") == []


def test_every_part_counts_for_the_risk(make: Make, fake: Any) -> None:
    for part in ("confirm", "revert", "cancel"):
        problems = checked(make, GET, also=f"      {part}: [{{call: thing.stop}}]\n", risk="observe")
        assert codes(problems) == ["risk-too-low"], part


def test_items_of_a_list_are_objects_too(make: Make, fake: Any) -> None:
    assert checked(make, "{call: things.list, as: things}", '{each: "${things}", call: item.stop}') == []


def test_what_is_written_to_be_repeated_over_is_known(make: Make, fake: Any) -> None:
    """A number that harms is judged here and not only at run time, and its fields are checked."""
    for each in ("[1, 0]", '"${[1, 0]}"', "\"${[{'to': 1}, {'to': 0}].map(v, v.to)}\""):
        problems = checked(make, GET, f'{{each: {each}, call: thing.scale, with: {{to: "${{item}}"}}}}')
        assert codes(problems) == ["risk-too-low"], each
    problems = checked(make, '{each: [{id: a}, {id: b}], call: things.get, with: {id: "${item.idd}"}}')
    assert codes(problems) == ["unknown-field"]


def test_until_sees_one_answer_where_the_step_is_repeated(make: Make, fake: Any) -> None:
    step = '{each: ["a"], call: things.get, with: {id: "${item}"}, as: found, until: UNTIL, within: 5s}'
    assert (
        checked(make, step.replace("UNTIL", 'found.state == "up"'), "{call: things.count, when: size(found) == 1}")
        == []
    )
    assert codes(checked(make, step.replace("UNTIL", "size(found) == 1"))) == ["expression-type"]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{call: things.stop}", "there is no things.stop"),
        ("{call: thing.nothing}", "there is no Thing.nothing"),
        ("{call: many.stop}", "'many' is the list"),
        ("{call: number.stop}", "'number' is the answer of an earlier step"),
        ('{each: "${[1]}", call: item.stop}', "'item' is no object"),
    ],
)
def test_calls_that_there_are_not(make: Make, fake: Any, step: str, says: str) -> None:
    listing, counting = "{call: things.list, as: many}", "{call: things.count, as: number}"
    problems = checked(make, GET, listing, counting, step, risk="destroy")
    assert codes(problems) == ["unknown-call"]
    assert says in problems[0].message


def test_an_unknown_call_is_said_once_and_not_as_a_risk_too(make: Make, fake: Any) -> None:
    assert codes(checked(make, "{call: things.gett}", risk="observe")) == ["unknown-call"]


@pytest.mark.parametrize(
    ("step", "code", "at"),
    [
        ('{call: thing.stop, when: thing.stat == "up"}', "unknown-field", 'stat =='),
        ('{call: thing.stop, when: thing.state == "upp"}', "impossible-value", '"upp"'),
        ('{call: thing.stop, when: item == "upp"}', "unknown-name", "item =="),
        ('{each: "${[1]}", call: things.count, when: item == 1}', "unknown-name", "item =="),
        ('{call: thing.stop, unless: parameters.to}', "expression-type", "parameters.to"),
        ('{call: thing.stop, with: {after: "${before.stat}"}}', "unknown-field", "stat}"),
        ('{call: thing.stop, with: {after: "${later.state}"}}', "unknown-name", "later"),
        ('{call: thing.stop, with: {after: "a ${target}"}}', "expression-type", "target}"),
        ('{call: thing.stop, with: {after: "${environment.variables.zon}"}}', "unknown-variable", '"${env'),
        ('{call: thing.stop, when: environment.variables.zon == "a"}', "unknown-variable", "environment"),
        ('{call: thing.stop, unless: "size(environment.variables[\'zon\']) > 1"}', "unknown-variable", '"size'),
        ('{call: thing.stop, with: {after: "a ${1 > 2 ? environment.variables.zon : 1}"}}', "unknown-variable", '"a $'),
        ('{call: thing.stop, when: "${true}"}', "expression-syntax", '"${true'),
        ('{call: things.count, until: "true"}', "missing-key", '"true'),
        ('{call: thing.stop, retry: [Busy]}', "missing-key", "[Busy"),
        ('{call: thing.stop, continue: true}', "misplaced-key", "true"),
        ('{each: "${parameters.to}", call: thing.stop}', "expression-type", '"${par'),
    ],
)  # fmt: skip
def test_expressions_of_steps(make: Make, fake: Any, step: str, code: str, at: str) -> None:
    problems = checked(make, GET, step)
    assert codes(problems) == [code], problems
    assert problems[0].line == 7
    assert f"        - {step}"[problems[0].column - 1 :].startswith(at)


def test_an_answer_is_a_list_after_each(make: Make, fake: Any) -> None:
    steps = (
        "{call: things.list, as: all}",
        '{each: "${all}", call: things.get, with: {id: "${item.id}"}, as: each_thing}',
    )
    assert checked(make, *steps, returns='{state: "${each_thing[0].state}"}') == []
    assert codes(checked(make, *steps, returns='{state: "${each_thing.state}"}')) == ["expression-type"]


@pytest.mark.parametrize(
    ("returns", "code"),
    [
        ("{state: 1}", "answer-value"),
        ('{state: "${thing.note}"}', ""),
        ("{state: \"${thing.state == 'up' ? 'up' : 'off'}\"}", "answer-value"),
        ('{state: "${size(thing.id)}"}', "answer-type"),
        ("{}", "answer-lacks-key"),
        ("[]", "answer-type"),
        ('{each: "${[1]}", item: 1}', "answer-type"),
    ],
)
def test_answers(make: Make, fake: Any, returns: str, code: str) -> None:
    assert codes(checked(make, GET, returns=returns)) == ([code] if code else [])


@pytest.mark.parametrize("case", CASES["environments"], ids=lambda case: case["text"][:60])
def test_environments(make: Make, fake: Any, case: dict[str, Any]) -> None:
    found = make({"environments.yml": f"version: 1\nenvironments: {{f: {{executor: fake, {case['text']}}}}}\n"}).check()
    assert sorted(codes(found)) == sorted(case["codes"]), found


def test_an_executor_that_cannot_be_imported_is_said_where_it_is_used(make: Make, fake: Any) -> None:
    used = make({"environments.yml": "version: 1\nenvironments: {b: {executor: broken}}\n"}).check()
    assert codes(used) == ["executor-not-installed"]
    assert "pip install" in used[0].hint


def test_a_translation_for_it_alone_is_only_a_warning(make: Make, fake: Any) -> None:
    text = "version: 1\ntranslations: {restart_service: {broken: {steps: [{call: x.y}], returns: {service: a}}}}\n"
    found = make({"command_translations.yml": text}).check()
    assert [(problem.code, problem.severity) for problem in found] == [("unchecked-dialect", "warning")]


@pytest.mark.parametrize("case", CASES["runbooks"], ids=lambda case: case["text"][:60])
def test_runbooks(make: Make, case: dict[str, Any]) -> None:
    found = make({"runbooks.yml": f"version: 1\nrunbooks: [{case['text']}]\n"}).check()
    assert sorted(codes(found)) in (sorted(case["codes"]), sorted(case["codes"][:1])), found


@pytest.mark.parametrize("case", CASES["policies"], ids=lambda case: case["text"][:60])
def test_policies(make: Make, case: dict[str, Any]) -> None:
    assert codes(make({"policies.yml": f"version: 1\n{case['text']}\n"}).check()) == case["codes"]


def test_an_included_rule_may_name_operations_that_are_not_here(make: Make) -> None:
    policies = "version: 1\ninclude: [starter]\n"
    assert make({"policies.yml": policies}, without=("policies",)).check() == []


@pytest.mark.parametrize("case", CASES["platform"], ids=lambda case: case["text"][:60])
def test_platform(make: Make, case: dict[str, Any]) -> None:
    assert codes(make({"platform.yml": f"version: 1\n{case['text']}\n"}).check()) == case["codes"]


LOOK = '{call: things.get, with: {id: "${target.id}"}, as: it}'


@pytest.mark.parametrize(
    ("logs", "wrong"),
    [
        ((LOOK, "{call: it.count, stream: true}"), ["unknown-call"]),
        ((LOOK, "{call: things.count, stream: true}"), []),
        ((LOOK, "{call: things.count}"), ["missing-key"]),
        ((LOOK, "{call: it.stop}", "{call: things.count, stream: true}"), ["not-observe"]),
        (('{call: things.get, with: {id: "${thing.id}"}, stream: true}',), ["unknown-name"]),
        (('{call: things.get, with: {id: "${before.state}"}, stream: true}',), ["unknown-name"]),
        (('{call: things.get, with: {id: "${command.id}"}, stream: true}',), []),
    ],
    ids=["unknown", "right", "no lines", "a change", "an answer of the steps", "before", "command"],
)
def test_logs_only_observe_and_can_be_made_at_any_time(
    make: Make, fake: Any, logs: tuple[str, ...], wrong: list[str]
) -> None:
    also = "      logs:\n" + "".join(f"        - {step}\n" for step in logs)
    assert codes(checked(make, GET, SCALE, also=also)) == wrong


def test_what_only_observes_is_followed_by_its_steps(make: Make, fake: Any) -> None:
    also = "      logs:\n        - {call: things.count, stream: true}\n"
    assert codes(checked(make, GET, risk="observe", also=also)) == ["misplaced-key"]


@pytest.mark.parametrize("case", CASES["operations"], ids=lambda case: case["text"][:60])
def test_operations(make: Make, case: dict[str, Any]) -> None:
    text = f"version: 1\noperations: {{some_change: {{summary: A., risk: change, {case['text']}}}}}\n"
    assert codes(make({"operations.yml": text}).check()) == case["codes"]


def test_a_start_does_not_import_what_no_environment_uses(
    make: Make, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "version: 1\ntranslations: {list_services: {fake: {steps: [{call: things.list, as: t}], returns: {services: []}}}}\n"
    loader = make({"command_translations.yml": text})
    loader.load()
    assert fake.seen == []
    loader.check()
    assert [step.path for step in fake.seen] == ["things.list"]


def test_same_as_is_checked_for_the_dialect_that_takes_it(make: Make, fake: Any) -> None:
    text = (
        "version: 1\ntranslations:\n  list_services:\n    faker: {same_as: fake}\n"
        "    fake: {steps: [{call: things.list, as: t}], returns: {services: '${t}'}}\n"
    )
    assert make({"command_translations.yml": text}).check() == []
    assert [step.dialect for step in fake.seen] == ["faker", "fake"]


@pytest.mark.parametrize("case", CASES["offered"], ids=lambda case: case["name"])
def test_what_is_asked_on_the_way_is_offered_too(make: Make, fake: Any, case: dict[str, Any]) -> None:
    nothing = "parameters: {type: object, additionalProperties: false}"
    asks, offers, revert = case.get("asks", ""), case.get("operations", "['*']"), case.get("revert", "")
    listed = "{steps: [{call: things.list}]}"
    files = {
        "environments.yml": "version: 1\nenvironments:\n"
        f"  f: {{executor: fake, settings: {{url: x}}, alerts: ['a=1'], operations: {offers}}}\n",
        "operations.yml": "version: 1\noperations:\n"
        f"  look: {{summary: A., risk: observe, {nothing}}}\n"
        f"  change_it: {{summary: A., risk: change, {nothing}, {asks}}}\n",
        "command_translations.yml": "version: 1\ntranslations:\n"
        f"  look: {{{case.get('dialect', 'fake')}: {listed}}}\n"
        "  change_it: {fake: {steps: [{call: things.list, as: all}, {each: '${all}', call: item.stop}], "
        f"{revert}}}}}\n",
        "runbooks.yml": f"version: 1\nrunbooks: [{case.get('runbook', '')}]\n",
    }
    found = make(files).check()
    expected = [("not-offered", case["severity"])] if "severity" in case else []
    assert [(one.code, one.severity) for one in found] == expected, found
    for one in found:
        assert case["says"] in f"{one.message}; {one.hint}"
        assert Path(one.file).name == ("runbooks.yml" if "runbook" in case else "environments.yml")


def test_a_schema_never_fetches_what_it_refers_to(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        reference = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        schema = f"{{type: object, additionalProperties: false, properties: {{a: {{$ref: '{reference}'}}}}}}"
        text = f"version: 1\noperations: {{look: {{summary: A., risk: observe, parameters: {schema}}}}}\n"
        assert codes(make({"operations.yml": text}).check()) == ["bad-schema"]
        with pytest.raises(BlockingIOError):
            server.accept()

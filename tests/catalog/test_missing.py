"""What the check says of reading what may not be there: parameters, answers of steps that were left out, variables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.catalog.conftest import Make
from tests.catalog.test_check import GET, OPERATIONS, PLACES, SCALE, STEPS, checked, codes, files


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ('{call: thing.stop, when: parameters.namespace == "a"}', 1),
        ('{call: thing.stop, with: {after: "${parameters.namespace}-${parameters.namespace}"}}', 1),
        ('{call: thing.stop, when: has(parameters.namespace) && parameters.namespace == "a"}', 0),
        ('{call: thing.stop, when: has(parameters.namespace), with: {after: "${parameters.namespace}"}}', 0),
        ('{each: "${has(parameters.namespace) ? [1] : []}", call: thing.stop, with: {after: "${parameters.namespace}"}}', 0),
        ('{call: thing.stop, unless: "!has(parameters.namespace)", with: {after: "${parameters.namespace}"}}', 1),
        ('{call: thing.stop, when: parameters.service == "a"}', 0),
    ],
)  # fmt: skip
def test_parameters_that_need_not_be_given(make: Make, fake: Any, step: str, found: int) -> None:
    assert codes(checked(make, GET, step)).count("optional-parameter") == found


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (['{when: parameters.to > 3, AS}', "{call: thing.stop}"], 1),
        (['{when: target.kind == "a", AS}', '{when: target.kind == "b", call: thing.stop}'], 1),
        (['{when: target.kind == "a", AS}', '{when: target.kind == "b", AS}', '{when: target.kind == "c", call: thing.stop}'], 1),
        (['{when: target.kind == "a", AS}', '{when: target.kind == "a" && thing.state == "up", call: thing.stop}'], 0),
        (['{when: target.kind == "a", AS}', '{when: thing != null, call: things.count, unless: thing.state == "up"}'], 0),
        (['{when: target.kind == "a", AS}', '{when: target.kind != "a", AS}', "{call: thing.stop}"], 0),
        (["{AS}", '{when: target.kind == "a", AS}', "{call: thing.stop}"], 0),
    ],
)  # fmt: skip
def test_answers_of_steps_that_were_left_out(make: Make, fake: Any, steps: list[str], found: int) -> None:
    get = 'call: things.get, with: {id: "${target.id}"}, as: thing'
    problems = checked(make, *(step.replace("AS", get) for step in steps))
    assert codes(problems) == ["not-there"] * found


def test_what_conditions_of_a_schema_ask_for_is_not_told(make: Make, fake: Any) -> None:
    step = '{call: thing.stop, when: parameters.namespace == "a"}'
    translation = STEPS + f"        - {GET}\n        - {step}\n      returns: {{state: up}}\n"
    operations = OPERATIONS.replace("RISK", "change").replace("MINIMUM", "1")
    conditions = operations.replace(
        "      type: object\n", "      type: object\n      dependentRequired: {to: [namespace]}\n"
    )
    assert codes(make(files(operations, translation)).check()) == ["optional-parameter"]
    assert codes(make(files(conditions, translation)).check()) == []


@pytest.mark.parametrize(
    "when",
    [
        "environment.variables.zone == 'a'",
        "environment.variables.?zon.orValue('') == 'a'",
        "environment.variables[?'zon'].orValue('') == 'a'",
        "has(environment.variables.zon) && environment.variables.zon == 'a'",
        "'zon' in environment.variables && environment.variables['zon'] == 'a'",
        "environment.variables.?zon.hasValue() ? environment.variables.zon == 'a' : false",
        "environment.variables.exists(name, name == 'zon')",
    ],
)
def test_variables_that_are_there_or_may_be_missing(make: Make, fake: Any, when: str) -> None:
    assert checked(make, GET, f'{{call: thing.stop, when: "{when}"}}') == []
    rule = f'version: 1\nrules: [{{name: a, when: "{when}", effect: deny}}]\n'
    assert make({"environments.yml": PLACES, "policies.yml": rule}).check() == []


@pytest.mark.parametrize(("offered", "found"), [("", 1), (", operations: ['!scale_service']", 0)])
@pytest.mark.parametrize(
    "key",
    [
        "verify: {operation: service_status, parameters: {service: '${parameters.service}'}, expect: answer.state == VARIABLE}",
        "verify: {operation: service_status, parameters: {service: '${VARIABLE}'}, expect: has(answer.state)}",
        "took_effect: VARIABLE == answer.state",
        "undo: {operation: scale_service, parameters: {service: '${VARIABLE}', to: 2}}",
    ],
)
def test_variables_that_an_operation_reads_and_an_environment_that_offers_it_lacks(
    make: Make, fake: Any, key: str, offered: str, found: int
) -> None:
    translation = STEPS + f"        - {GET}\n        - {SCALE}\n      returns: {{state: up}}\n"
    operations = OPERATIONS.replace("RISK", "change").replace("MINIMUM", "1")
    operations += f"    {key.replace('VARIABLE', 'environment.variables.zone')}\n"
    places = PLACES + f"  g: {{executor: fake, settings: {{url: x}}{offered}}}\n"
    places = places.replace("environments: {f:", "environments:\n  f:").replace("{zone: a}}}", "{zone: a}}")
    files = {"environments.yml": places, "operations.yml": operations, "command_translations.yml": translation}
    assert codes(make(files).check()).count("unknown-variable") == found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("policies.yml", "rules: [{name: a, when: READ == 'x', effect: deny}]"),
        ("runbooks.yml", "runbooks: [{name: a, steps: [{operation: list_services, when: READ == 'x'}]}]"),
        ("runbooks.yml", "runbooks: [{name: a, steps: [{operation: service_status, parameters: {service: '${READ}'}}]}]"),
        ("runbooks.yml", "runbooks: [{name: a, only_if: {operation: list_services, expect: READ == 'x' && has(answer.services)}}]"),
    ],
)  # fmt: skip
def test_variables_that_no_environment_has(make: Make, fake: Any, file: str, text: str) -> None:
    """A rule or a runbook is asked in every environment: what one of them has is right, what none has never is."""
    for name, found in (("zone", []), ("zon", ["unknown-variable"])):
        text_ = f"version: 1\n{text.replace('READ', f'environment.variables.{name}')}\n"
        assert codes(make({"environments.yml": PLACES, file: text_}).check()) == found

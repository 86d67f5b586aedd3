"""What is wrong with a step, told without an engine: unknown calls, arguments, types and error names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uici.executor import Checked, CheckProblem, JSONSchema, StepToCheck
from uici.model import Risk
from uici_executors.docker import risks, sdk, words

#: Calls that can be followed line by line.
STREAMS = frozenset({"Container.logs"})


def check(step: StepToCheck) -> Checked:
    """Every problem of the step, its static risk and what it answers."""
    method = words.METHODS.get(step.path) or sdk.find(step.path)
    if method is None:
        return Checked(problems=(_unknown(step.path),), risk=Risk.DESTROY)
    problems = [*_arguments(method, step.arguments), *_errors((*step.accept, *step.retry))]
    if step.stream and step.path not in STREAMS:
        problems.append(
            CheckProblem(code="not_a_stream", message=f"{step.path} gives no lines; only {', '.join(STREAMS)} does")
        )
    return Checked(
        problems=tuple(problems), risk=risks.static(step.path, step.arguments), answer=_answer(method, step.arguments)
    )


def _unknown(path: str) -> CheckProblem:
    receiver, _, name = path.rpartition(".")
    own = [one.rpartition(".")[2] for one in words.METHODS if one.startswith(f"{receiver}.")]
    if own:
        return CheckProblem(
            code="unknown_call", message=f"{receiver} has no {name!r}", hint=sdk.did_you_mean(name, sorted(own))
        )
    if receiver and not sdk.names(receiver):
        heads = sorted({*sdk.COLLECTIONS, "api", *sdk.CLIENT, *(one.partition(".")[0] for one in words.METHODS)})
        return CheckProblem(
            code="unknown_call",
            message=f"docker-py's client has no {receiver!r}" if receiver else f"there is no {path!r}",
            hint=sdk.did_you_mean(receiver, heads),
        )
    owner = f"{receiver} has no method {name!r}" if receiver else f"docker-py's client has no method {name!r}"
    return CheckProblem(code="unknown_call", message=owner, hint=sdk.did_you_mean(name, sdk.names(receiver)))


def _arguments(method: sdk.Method, given: Mapping[str, JSONSchema]) -> Iterable[CheckProblem]:
    for name, schema in given.items():
        known = method.parameters.get(name)
        if known is None:
            yield CheckProblem(
                code="unknown_argument",
                message=f"{method.path} takes no argument {name!r}",
                hint=sdk.did_you_mean(name, sorted(method.parameters)) or "it takes no arguments",
                argument=name,
            )
        elif problem := _type(known.types, schema):
            wanted = " or ".join(sorted(known.types))
            yield CheckProblem(
                code="wrong_argument",
                message=f"{name!r} of {method.path} is {problem}, but docker-py wants {wanted}",
                hint=f"give {wanted}",
                argument=name,
            )
    for name, parameter in method.parameters.items():
        if parameter.required and name not in given:
            yield CheckProblem(
                code="missing_argument",
                message=f"{method.path} needs the argument {name!r}",
                hint=f"add {name}: … under `with`",
                argument=name,
            )


def _type(wanted: frozenset[str], schema: JSONSchema) -> str | None:
    """The type that does not fit, or None. Anything fits where one side does not say."""
    if not wanted:
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    types = {_of(value) for value in values} if values else schema.get("type")
    found = {types} if isinstance(types, str) else set(types or ())
    found.discard("null")  # None is docker-py's "not given"
    if not found or found & wanted or ("integer" in found and "number" in wanted):
        return None
    return " or ".join(sorted(found))


def _of(value: Any) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (Mapping, "object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "array"


def _errors(names: Iterable[str]) -> Iterable[CheckProblem]:
    for name in names:
        if name not in sdk.errors():
            yield CheckProblem(
                code="unknown_error",
                message=f"docker-py raises no {name!r}",
                hint=sdk.did_you_mean(name, sorted(sdk.errors())),
            )


def _answer(method: sdk.Method, arguments: Mapping[str, JSONSchema]) -> str | None:
    if method.path == "containers.run":
        return "Container" if arguments.get("detach", {}).get("const") is True else None
    if method.path == "images.pull":
        return "list[Image]" if arguments.get("all_tags", {}).get("const") is True else "Image"
    return method.answer

"""What is wrong with a step, told without a cluster: unknown calls, arguments, fields of bodies, values and error names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from uici.executor import Checked, CheckProblem, StepToCheck
from uici.model import Risk
from uici_executors.kubernetes import bodies, models, risks, sdk
from uici_executors.kubernetes.schemas import Schema, alternatives, kinds_of, values_of

#: Calls that can be followed line by line.
STREAMS = ("CoreV1Api.read_namespaced_pod_log", "pods.logs")
#: Arguments that are a closed choice.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "dry_run": ("All",),
    "field_validation": ("Ignore", "Warn", "Strict"),
    "propagation_policy": ("Orphan", "Background", "Foreground"),
    "resource_version_match": ("Exact", "NotOlderThan"),
}


def check(step: StepToCheck) -> Checked:
    """Every problem of the step, its static risk and what it answers."""
    method = sdk.find(step.path)
    if method is None:
        return Checked(problems=(_unknown(step.path),), risk=Risk.DESTROY)
    problems = [*_arguments(method, step.arguments), *_endless(step), *_errors((*step.accept, *step.retry))]
    if step.stream and step.path not in STREAMS:
        problems.append(
            CheckProblem(code="not_a_stream", message=f"{step.path} gives no lines; only {', '.join(STREAMS)} do")
        )
    if step.path == "pods.logs" and not step.stream:
        problems.append(
            CheckProblem(
                code="unknown_call", message="pods.logs gives lines alone", hint="add stream: true to the step"
            )
        )
    return Checked(
        problems=tuple(problems),
        risk=risks.static(step.path, step.arguments),
        answer_schema=models.answer_schema(method),
    )


def _unknown(path: str) -> CheckProblem:
    api, _, name = path.partition(".")
    own = sdk.names(api)
    if own and name:
        return CheckProblem(
            code="unknown_call", message=f"{api} has no method {name!r}", hint=sdk.did_you_mean(name, own)
        )
    words = [one for one in sdk.WORDS if one.startswith(f"{api}.")]
    if words:
        return CheckProblem(code="unknown_call", message=f"there is no {path!r}", hint=f"there is {', '.join(words)}")
    heads = [*sdk.classes(), *(one.partition(".")[0] for one in sdk.WORDS)]
    hint = sdk.did_you_mean(api, heads) or "calls are such as AppsV1Api.patch_namespaced_deployment"
    message = f"{path!r} names no method" if own else f"the Kubernetes client has no class {api!r}"
    return CheckProblem(code="unknown_call", message=message, hint=hint)


def _arguments(method: sdk.Method, given: Mapping[str, Schema]) -> Iterable[CheckProblem]:
    for name, schema in given.items():
        known = method.parameters.get(name)
        if known is None:
            yield CheckProblem(
                code="unknown_argument",
                message=f"{method.path} takes no argument {name!r}",
                hint=sdk.did_you_mean(name, sorted(method.parameters)) or "it takes no arguments",
                argument=name,
            )
        elif name == "body":
            yield from _body(method, schema)
        elif name == "force" and method.http == "PATCH":
            yield CheckProblem(
                code="wrong_argument",
                message=f"'force' of {method.path} belongs to a server-side apply, and no patch is sent as one",
                hint="remove it",
                argument=name,
            )
        else:
            yield from _value(method, name, known, schema)
    for name, parameter in method.parameters.items():
        if parameter.required and name not in given:
            yield CheckProblem(
                code="missing_argument",
                message=f"{method.path} needs the argument {name!r}",
                hint=f"add {name}: … under `with`",
                argument=name,
            )


def _body(method: sdk.Method, schema: Schema) -> Iterable[CheckProblem]:
    for one in bodies.problems(method, schema):
        at = f"body.{one.path}" if one.path else "body"
        yield CheckProblem(
            code="unknown_argument" if one.unknown else "wrong_argument",
            message=f"{one.path or 'the body'} of {method.path}: {one.message}",
            hint=one.hint,
            argument=at,
        )


def _value(method: sdk.Method, name: str, known: sdk.Parameter, schema: Schema) -> Iterable[CheckProblem]:
    wanted = known.type.kinds
    for one in alternatives(schema):
        kinds = kinds_of(one)
        if not known.required:
            kinds.discard("null")  # the client's "not given"
        if wanted and kinds and not kinds & wanted and not ("integer" in kinds and "number" in wanted):
            words = " or ".join(sorted(wanted))
            yield CheckProblem(
                code="wrong_argument",
                message=f"{name!r} of {method.path} is {' or '.join(sorted(kinds))}, but the client wants {words}",
                hint=f"give {words}",
                argument=name,
            )
            return
        for value in values_of(one):
            if name in _CHOICES and isinstance(value, str) and value not in _CHOICES[name]:
                yield CheckProblem(
                    code="wrong_argument",
                    message=f"{name!r} of {method.path} is {value!r}, none of {', '.join(_CHOICES[name])}",
                    hint=sdk.did_you_mean(value, _CHOICES[name]),
                    argument=name,
                )


def _endless(step: StepToCheck) -> Iterable[CheckProblem]:
    """A call is answered once; what goes on and on is a stream's."""
    for name, cure in (("watch", "poll with `until`"), ("follow", "add stream: true to the step")):
        schema = step.arguments.get(name, {})
        if any(one is True for one in values_of(schema)) and not (name == "follow" and step.stream):
            yield CheckProblem(
                code="wrong_argument",
                message=f"{name!r} of {step.path} makes an answer that never ends",
                hint=cure,
                argument=name,
            )


def _errors(names: Iterable[str]) -> Iterable[CheckProblem]:
    for name in names:
        if name in sdk.DOUBTFUL:
            yield CheckProblem(
                code="unknown_error",
                message=f"what a {name} left behind is never known, so it is neither accepted nor tried again",
                hint="remove it",
            )
        elif name not in sdk.errors():
            yield CheckProblem(
                code="unknown_error",
                message=f"neither the Kubernetes client nor its server has an error {name!r}",
                hint=sdk.did_you_mean(name, sorted(sdk.errors())),
            )

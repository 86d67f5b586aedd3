"""What is wrong with a step is told without a cluster; what is read of the client's source is what the client is."""

from __future__ import annotations

import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.executors.kubernetes.schemas import schema_of
from uici.catalog import UniversalConfigLoader
from uici.catalog.shapes import Shapes
from uici.catalog.typed import Checker
from uici.executor import Checked, StepToCheck
from uici_executors.kubernetes import checks, models, sdk, source

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/kubernetes/check.yml").read_text())


def check(case: dict[str, Any]) -> Checked:
    return checks.check(
        StepToCheck(
            path=case["path"],
            arguments={key: schema_of(value) for key, value in case.get("with", {}).items()},
            dialect="kubernetes",
            accept=tuple(case.get("accept", ())),
            retry=tuple(case.get("retry", ())),
            stream=case.get("stream", False),
        )
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_check(case: dict[str, Any]) -> None:
    found = sorted(check(case).problems, key=lambda one: (one.code, one.argument or "", one.message))
    wanted = sorted(case.get("problems", ()), key=lambda one: (one[0], one[1] or "", one[2]))
    places = [[one.code, None if one.code == "missing_argument" else one.argument] for one in found]
    assert places == [one[:2] for one in wanted], found
    for problem, (_, _, words) in zip(found, wanted, strict=True):
        assert words in f"{problem.message}; {problem.hint}"


def test_a_problem_in_a_body_is_told_at_its_place(tmp_path: Path) -> None:
    files = {
        "platform.yml": "version: 1\n",
        "environments.yml": "version: 1\nenvironments: {here: {executor: kubernetes}}\n",
        "policies.yml": "version: 1\nprotected: []\nblast_radius: []\nbrakes: []\n",
        "operations.yml": "version: 1\noperations:\n"
        "  note: {summary: Note it., risk: change, target: {parameter: service}, parameters: {type: object,"
        " additionalProperties: false, required: [service], properties: {service: {type: string}}}}\n",
        "command_translations.yml": "version: 1\ntranslations:\n  note:\n    kubernetes:\n      steps:\n"
        "        - call: AppsV1Api.patch_namespaced_deployment\n"
        "          with:\n"
        '            name: "${target.name}"\n'
        '            namespace: "${target.namespace}"\n'
        "            body:\n"
        "              metadata: {annotations: {example.com/a.b: 5}}\n"
        "              spec: {template: {spec: {containers: [{name: web}, {name: log, imag: x}]}}}\n"
        # One that an expression builds is read in it.
        "        - call: AppsV1Api.patch_namespaced_deployment\n"
        "          with:\n"
        '            name: "${target.name}"\n'
        '            namespace: "${target.namespace}"\n'
        "            body:\n"
        "              spec:\n"
        "                template:\n"
        "                  spec: \"${['a'].map(n, {(n == 'a' ? 'containers' : 'volumes'): [{'name': n, 'imgae': n}]})[0]}\"\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    problems = [one for one in UniversalConfigLoader(tmp_path).check() if one.severity == "error"]
    assert [(one.code, one.line, one.column) for one in problems] == [
        ("wrong-argument", 11, files["command_translations.yml"].splitlines()[10].index("5}") + 1),
        ("unknown-argument", 12, files["command_translations.yml"].splitlines()[11].index("imag") + 1),
        *[("unknown-argument", 20, files["command_translations.yml"].splitlines()[19].index("'imgae'") + 1)] * 2,
    ]


# What an answer looks like is known to the catalog's expressions.


@pytest.mark.parametrize(
    ("path", "expression", "code"),
    [
        ("AppsV1Api.read_namespaced_deployment", "answer.status.readyReplicas == answer.spec.replicas", None),
        ("AppsV1Api.read_namespaced_deployment", "answer.status.readyReplica == 1", "unknown-field"),
        ("AppsV1Api.read_namespaced_deployment", "answer.metadata.labels['app'] == 'web'", None),
        ("AppsV1Api.read_namespaced_deployment", "answer.spec.template.spec.containers[0].image == 'a'", None),
        (
            "AppsV1Api.read_namespaced_deployment",
            "answer.spec.template.spec.containers[0].imag == 'a'",
            "unknown-field",
        ),
        ("AppsV1Api.read_namespaced_deployment", "answer.spec.replicas == 'two'", "expression-type"),
        ("AppsV1Api.read_namespaced_deployment", "answer.status.?readyReplicas.orValue(0) == 1", None),
        ("CoreV1Api.list_namespaced_pod", "answer.items.all(p, p.status.phase == 'Running')", None),
        ("CoreV1Api.list_namespaced_pod", "answer.items.all(p, p.status.phase == 'Runing')", "impossible-value"),
        ("CoreV1Api.list_namespaced_pod", "answer.items.exists(p, p.stats.phase == 'Running')", "unknown-field"),
        ("CoreV1Api.read_namespaced_pod_log", "answer.contains('x')", None),
        # Free, or not known: never a problem.
        ("CustomObjectsApi.get_namespaced_custom_object", "answer.status.anything == 1", None),
        ("CoreV1Api.delete_namespaced_pod", "answer.details.uid == 'a' || answer.spec.nodeName == 'b'", None),
        ("CoreV1Api.create_namespaced_pod_eviction", "answer.status == 'Success'", None),
        ("ApiextensionsV1Api.read_custom_resource_definition", "answer.spec.versions[0].name == 'v1'", None),
    ],
)
def test_answers(path: str, expression: str, code: str | None) -> None:
    answer = checks.check(StepToCheck(path=path, arguments={}, dialect="kubernetes")).answer_schema or {}
    problems: list[str] = []
    shapes = Shapes(Checker())
    shapes.condition(expression, {"answer": answer}, lambda code, *_, **__: problems.append(code), ())
    assert problems == ([code] if code else [])


# What is read of the source is what the client is.


@cache
def client() -> Any:
    import kubernetes.client

    return kubernetes.client


def methods() -> list[str]:
    return [f"{api}.{name}" for api in sdk.classes() for name in sdk.names(api)]


def test_every_method_of_the_client_is_known_with_its_arguments() -> None:
    hidden = ("_with_http_info", "_without_preload_content")
    for api in sdk.classes():
        owner = getattr(client(), api)
        real = {
            name: inspect.signature(one).parameters
            for name, one in inspect.getmembers(owner, inspect.isfunction)
            if not name.startswith("_") and name != "close" and not name.endswith(hidden)
        }
        assert sdk.names(api) == sorted(real), api
        for name, parameters in real.items():
            known = sdk.find(f"{api}.{name}")
            assert known is not None, name
            assert {key: one.required for key, one in known.parameters.items()} == {
                key: one.default is one.empty
                for key, one in parameters.items()
                if key not in ("self", "async_req") and not key.startswith("_")
            }, name
    assert len(methods()) > 900


def test_every_method_is_in_the_asynchronous_flavour_too() -> None:
    import kubernetes.aio.client

    lacks = [path for path in methods() if not _has(kubernetes.aio.client, path)]
    assert lacks == []


def _has(module: Any, path: str) -> bool:
    api, _, name = path.partition(".")
    return hasattr(getattr(module, api, None), f"{name}_without_preload_content")


def test_every_model_is_known_with_its_fields() -> None:
    for name in source.names("models"):
        fields = getattr(client(), name).model_fields
        real = {(one.serialization_alias or key): one.is_required() for key, one in fields.items()}
        assert {key: one.required for key, one in models.fields(name).items()} == real, name
        models.schema(name)


def test_the_tables_of_models_name_fields_that_exist() -> None:
    tables = [*models.CHOICES, *((model, key) for model, keys in models.QUANTITIES.items() for key in keys)]
    assert [one for one in tables if one[1] not in models.fields(one[0])] == []


@pytest.mark.parametrize(
    "path",
    [
        "AppsV1Api.patch_namespaced_deployment",
        "CoreV1Api.read_namespaced_pod_log",
        "CoreV1Api.delete_collection_namespaced_pod",
        "CustomObjectsApi.patch_namespaced_custom_object",
        "VersionApi.get_code",
        "CoreV1Api.connect_post_namespaced_pod_exec",
    ],
)
def test_the_request_is_the_one_that_the_client_makes(path: str) -> None:
    known = sdk.find(path)
    assert known is not None
    api, _, name = path.partition(".")
    made = getattr(client(), api)(client().ApiClient())
    serialize = getattr(made, f"_{name}_serialize")
    given = dict.fromkeys(inspect.signature(serialize).parameters)
    parts = {key: f"a-{key}" for key in known.parameters if f"{{{key}}}" in known.url}
    http, url, *_ = serialize(**{**given, **parts, "_host_index": 0})
    assert (http, url) == (known.http, f"{made.api_client.configuration.host}{known.url.format(**parts)}")


def test_what_a_patch_is_sent_as_is_offered_by_the_client() -> None:
    for path in methods():
        method = sdk.find(path)
        assert method is not None
        if method.http == "PATCH" and method.body is not None:
            assert sdk.content_type(path, {}) in method.offered, path
            custom = path.startswith("CustomObjectsApi.")
            assert sdk.content_type(path, []) in method.offered or custom, path
            assert sdk.content_type(path, {}) == (sdk.MERGE_PATCH if custom else sdk.STRATEGIC), path
    assert sdk.content_type("patch_namespaced_deployment", [{"op": "test"}]) == sdk.JSON_PATCH
    assert sdk.content_type("CoreV1Api.create_namespaced_pod", {}) == sdk.JSON


def test_the_check_imports_no_client() -> None:
    program = (
        "import sys; from uici.executor import StepToCheck; from uici_executors.kubernetes import checks; "
        "checks.check(StepToCheck(path='CoreV1Api.list_namespaced_pod', arguments={}, dialect='kubernetes')); "
        "print([name for name in sys.modules if name.split('.')[0] in ('kubernetes', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr

"""The engine's guards on a real cluster: conflicts, budgets, what others manage, namespaces, each to its end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import manifest, pod_of, ready
from uici.catalog import UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts, Outcome
from uici.journal import open_journal
from uici.model import Call, Origin, Request, Result
from uici_executors.kubernetes import KubernetesExecutor

pytestmark = pytest.mark.engine("kubernetes")
FACTS = Facts(machine_id="0" * 32, boot_id="none", hostname="laptop", pids=(1,))
TWO = {"apiVersion": "apps/v1", "kind": "Deployment", "replicas": 2}
ONE_MISSING = {"strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}
SHORT: list[dict[str, Any]] = [
    {**TWO, "metadata": {"name": "web"}},
    {**TWO, "metadata": {"name": "wide"}, "spec": {"strategy": {"type": "Recreate"}}},
    {**TWO, "metadata": {"name": "guarded"}, "spec": ONE_MISSING},
    {**TWO, "metadata": {"name": "down"}, "spec": {"strategy": {"type": "Recreate"}}, "image": "localhost/none:1"},
    {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "guarded"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "guarded"}}},
    },
    {**TWO, "metadata": {"name": "argo"}, "manager": "argocd-controller"},
]
OPERATION = {
    "summary": "A call of the tests.",
    "risk": "destroy",
    "timeout": "20s",
    "target": {"parameter": "name", "kind": "service", "namespace": "namespace"},
    "parameters": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}, "pod": {"type": "string"}},
    },
    "returns": {"type": "object"},
}
DEPLOYMENT = {"name": "${target.name}", "namespace": "${target.namespace}"}


def _patch(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"call": "AppsV1Api.patch_namespaced_deployment", "with": {**DEPLOYMENT, "body": body}}


def _template(**parts: Any) -> dict[str, Any]:
    return {"spec": {"template": parts}}


STEPS: dict[str, list[dict[str, Any]]] = {
    "mark": [_patch({"metadata": {"labels": {"marked": "${command.id}"}}})],
    "restart": [_patch(_template(metadata={"annotations": {"kubectl.kubernetes.io/restartedAt": "${now}"}}))],
    "image": [_patch(_template(spec={"containers": [{"name": "main", "image": "localhost/pause:1"}]}))],
    "grow": [
        {"call": "AppsV1Api.read_namespaced_deployment", "with": DEPLOYMENT, "as": "seen"},
        _patch({"metadata": {"labels": {"grown": "${seen.metadata.?labels.?count.orValue('none')}"}}}),
    ],
    "tested": [
        {"call": "AppsV1Api.read_namespaced_deployment", "with": DEPLOYMENT, "as": "seen"},
        {
            "call": "AppsV1Api.patch_namespaced_deployment",
            "with": {
                **DEPLOYMENT,
                "body": [
                    {"op": "test", "path": "/metadata/generation", "value": "${seen.metadata.generation}"},
                    {
                        "op": "add",
                        "path": "/metadata/labels",
                        "value": {"grown": "${seen.metadata.?annotations.?count.orValue('none')}"},
                    },
                ],
            },
        },
    ],
    "delete_pod": [
        {
            "call": "CoreV1Api.delete_namespaced_pod",
            "when": "has(parameters.pod)",
            "with": {"name": "${parameters.pod}", "namespace": "${target.namespace}"},
        }
    ],
}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace("guarded") as name:
        cluster.apply(*(manifest(one) for one in SHORT if "manager" not in one), namespace=name)
        apply = ("apply", "--server-side", "--field-manager=argocd-controller", "--filename=-", f"--namespace={name}")
        cluster.kubectl(*apply, input=json.dumps(manifest(SHORT[-1])))
        for one in SHORT:
            ready(cluster, name, one)
        yield name


@contextlib.asynccontextmanager
async def engine(folder: Path, kubeconfig: Path) -> AsyncIterator[UniversalInfrastructureInterface]:
    plain = {"executor": "kubernetes", "settings": {"kubeconfig": str(kubeconfig)}, "autonomy": "destroy"}
    translations = {name: {"kubernetes": {"steps": steps, "returns": {}}} for name, steps in STEPS.items()}
    files: dict[str, Any] = {
        "environments": {
            "default": "prod",
            "environments": {
                "prod": plain,
                "over": {**plain, "managed": "override"},
                "other": {**plain, "namespaces": ["shop"]},
            },
        },
        "operations": {"operations": dict.fromkeys(STEPS, OPERATION)},
        "command_translations": {"translations": translations},
        "policies": {
            "protected": [],
            "blast_radius": [{"min_risk": "change", "of": "replicas", "at_most": "50%", "always_allow": 1}],
            "brakes": [],
        },
    }
    for name, content in files.items():
        text = yaml.safe_dump({"version": 1, **json.loads(json.dumps(content))})
        (folder / f"{name}.yml").write_text(text)
    journal = await open_journal(f"sqlite:///{folder}/journal.db")
    interface = UniversalInfrastructureInterface(UniversalConfigLoader(folder).load(), journal, facts=FACTS)
    await interface.start()
    try:
        yield interface
    finally:
        await interface.close(grace=5)
        await journal.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def infrastructure(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[UniversalInfrastructureInterface]:
    async with engine(tmp_path_factory.mktemp("catalog"), cluster.kubeconfig) as interface:
        yield interface


async def run(
    infrastructure: UniversalInfrastructureInterface, operation: str, environment: str = "prod", **parameters: str
) -> Result:
    request = Request(operation=operation, parameters=parameters, environment=environment)
    return await infrastructure.execute(request, Origin("library", "test"))


class Meddler:
    """Somebody who changes a Deployment right before UICI's call reaches the server."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cluster: Cluster, namespace: str, name: str, times: int, of: str
    ) -> None:
        self.left, self.calls = times, 0
        plain = KubernetesExecutor.run

        async def meddled(executor: KubernetesExecutor, call: Call) -> Outcome:
            if call.path.startswith("AppsV1Api.patch"):
                self.calls += 1
                if self.left > 0:
                    self.left -= 1
                    count = f"count={of}-{times}-{self.calls}"
                    # An annotation changes a Deployment's generation, a label does not.
                    verb = "annotate" if of == "tested" else "label"
                    cluster.kubectl(verb, f"deployment/{name}", count, "--overwrite", f"--namespace={namespace}")
            return await plain(executor, call)

        monkeypatch.setattr(KubernetesExecutor, "run", meddled)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("operation", "times", "status", "reason"),
    [
        ("grow", 1, "done", None),
        ("grow", 2, "done", None),
        ("grow", 3, "failed", "conflict"),
        ("tested", 1, "done", None),
        ("tested", 3, "failed", "conflict"),
    ],
)
async def test_what_was_changed_meanwhile_is_looked_at_anew_and_never_overwritten(
    infrastructure: UniversalInfrastructureInterface,
    cluster: Cluster,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    times: int,
    status: str,
    reason: str | None,
) -> None:
    cluster.kubectl("label", "deployment/web", "grown-", f"--namespace={namespace}")
    meddler = Meddler(monkeypatch, cluster, namespace, "web", times, operation)
    result = await run(infrastructure, operation, name="web", namespace=namespace)
    assert (result.status.value, result.reason and result.reason.value) == (status, reason), result.message
    assert min(times + 1, 3) <= meddler.calls <= 3  # the controller, too, writes when the generation has changed
    labels = cluster.get("deployment", "web", f"--namespace={namespace}")["metadata"].get("labels") or {}
    # What it wrote is what it read at last, not what it had read before the other came.
    assert labels.get("grown") == (f"{operation}-{times}-{times}" if status == "done" else None)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_disruption_budget_is_respected(
    infrastructure: UniversalInfrastructureInterface, cluster: Cluster, namespace: str
) -> None:
    pod = pod_of(cluster, namespace, "guarded")
    for result in (
        await run(infrastructure, "restart", name="guarded", namespace=namespace),
        await run(infrastructure, "delete_pod", name="guarded", namespace=namespace, pod=pod),
    ):
        assert (result.status.value, result.reason and result.reason.value) == ("refused", "blast_radius")
        assert f"PodDisruptionBudget {namespace}/guarded lets 0 go now" in result.message
    assert (await run(infrastructure, "mark", name="guarded", namespace=namespace)).ok


@pytest.mark.asyncio(loop_scope="module")
async def test_blast_radius_counts_what_the_strategy_takes(
    infrastructure: UniversalInfrastructureInterface, namespace: str
) -> None:
    result = await run(infrastructure, "restart", name="wide", namespace=namespace)
    assert result.reason is not None
    assert result.reason.value == "blast_radius"
    assert "2 healthy of 2 replicas" in result.message
    assert (await run(infrastructure, "restart", name="web", namespace=namespace)).ok
    assert (await run(infrastructure, "restart", name="down", namespace=namespace)).ok, "what is down counts nothing"


@pytest.mark.asyncio(loop_scope="module")
async def test_what_argo_cd_manages(infrastructure: UniversalInfrastructureInterface, namespace: str) -> None:
    assert (await run(infrastructure, "restart", name="argo", namespace=namespace)).ok
    refused = await run(infrastructure, "image", name="argo", namespace=namespace)
    assert refused.reason is not None
    assert refused.reason.value == "managed_elsewhere"
    assert "argo-cd" in refused.message
    assert (await run(infrastructure, "image", "over", name="argo", namespace=namespace)).ok


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_outside_its_namespaces(infrastructure: UniversalInfrastructureInterface, namespace: str) -> None:
    result = await run(infrastructure, "mark", "other", name="web", namespace=namespace)
    assert result.reason is not None
    assert result.reason.value == "unknown_target"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pod_that_a_controller_makes_anew_may_be_deleted_as_a_change(
    infrastructure: UniversalInfrastructureInterface, cluster: Cluster, namespace: str
) -> None:
    pod = pod_of(cluster, namespace, "down")
    result = await run(infrastructure, "delete_pod", name="down", namespace=namespace, pod=pod)
    assert result.ok, result.message


@pytest.mark.asyncio(loop_scope="module")
async def test_a_right_to_look_that_is_missing_is_named(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """What pinning has to read is denied: nothing is changed, and it is no silence of the server."""
    cluster.kubectl("create", "serviceaccount", "blind", f"--namespace={namespace}")
    cluster.kubectl("create", "clusterrole", f"blind-{namespace}", "--verb=get,list", "--resource=namespaces,nodes")
    account = f"--serviceaccount={namespace}:blind"
    cluster.kubectl("create", "clusterrolebinding", f"blind-{namespace}", f"--clusterrole=blind-{namespace}", account)
    cluster.wait(f"clusterrolebinding/blind-{namespace}", "create")
    try:
        async with engine(tmp_path, cluster.kubeconfig_for("blind", namespace)) as interface:
            result = await run(interface, "mark", name="web", namespace=namespace)
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"blind-{namespace}")
    assert (result.status.value, result.reason and result.reason.value) == ("failed", "permission"), result.message
    assert "cannot get resource" in result.message
    assert f'in the namespace "{namespace}"' in result.message

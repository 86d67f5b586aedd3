"""What goes wrong between UICI and an API server: each a clear Result with the server's own reason and a cure, and nothing is
left half done or unrecorded. The starter's operations through the whole engine, on the real cluster."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from tests.engines.kubernetes import Cluster
from tests.executors.kubernetes.scene import manifest, ready
from uici.catalog import UniversalConfigLoader
from uici.engine import UniversalInfrastructureInterface
from uici.executor import Facts, Outcome, Rejected
from uici.journal import open_journal
from uici.model import Call, Environment, Origin, Reason, Request, Result, Risk, Status, UnreachableError
from uici_executors.kubernetes import KubernetesExecutor, calls, login
from uici_executors.kubernetes.connection import Server

pytestmark = pytest.mark.engine("kubernetes")

STARTER = Path(__file__).parents[3] / "infrastructure/config"
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
CURE = "the login has expired or is not known there: renew it"


class Place:
    """The engine with the starter's catalog and one kubeconfig."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str) -> None:
        self.folder, self.kubeconfig, self.namespace = folder, kubeconfig, namespace
        self.later = 0.0  # seconds by which the engine's clock is ahead

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Place]:
        catalog = self.folder / "catalog"
        shutil.copytree(STARTER, catalog)
        place = {"executor": "kubernetes", "settings": {"kubeconfig": str(self.kubeconfig)}, "autonomy": "change"}
        (catalog / "environments.yml").write_text(yaml.safe_dump({"version": 1, "environments": {"k8s": place}}))
        self.journal = await open_journal(f"sqlite:///{self.folder}/journal.db")
        self.engine = UniversalInfrastructureInterface(
            UniversalConfigLoader(catalog).load(),
            self.journal,
            facts=Facts(pids=(4711,), hostname="elsewhere"),
            clock=lambda: time.time() + self.later,
        )
        await self.engine.start()
        try:
            yield self
        finally:
            await self.engine.close(grace=5)
            await self.journal.close()

    async def ask(self, operation: str, **parameters: Any) -> Result:
        request = Request(operation=operation, parameters=parameters, environment="k8s", confirm=True)
        return await self.engine.execute(request, Origin("human", "anna"))

    async def restart(self) -> Result:
        return await self.ask("restart_service", service="web", namespace=self.namespace)

    async def recorded(self) -> list[str]:
        """How each intent ended. Every one has an outcome, and every request that was let in a result."""
        entries = await self.journal.entries()
        kinds = [one.kind for one in entries]
        assert kinds.count("intent") == kinds.count("outcome"), kinds
        requests = {one.request for one in entries if one.kind == "request"}
        assert requests <= {one.request for one in entries if one.kind == "result"}, kinds
        return [str(one.data["status"]) for one in entries if one.kind == "outcome"]


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> Callable[[], dict[str, Any]]:
    cluster.apply(manifest(WEB), namespace=namespace)
    ready(cluster, namespace, WEB)
    return lambda: cluster.get("deployment", "web", f"--namespace={namespace}")


async def test_an_api_server_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    settings = json.loads(cluster.kubeconfig_with("any").read_text())
    settings["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(settings))
    async with Place(tmp_path, path, "default").open() as place:
        result = await place.restart()
        assert result.reason is Reason.UNREACHABLE
        assert "the API server at https://127.0.0.1:1 does not answer" in result.message
        assert "see that it runs and that the login names the right one" in result.message
        assert await place.recorded() == []


async def test_no_kubeconfig(tmp_path: Path) -> None:
    async with Place(tmp_path, tmp_path / "none", "default").open() as place:
        result = await place.restart()
        assert result.status is not Status.DONE
        assert f"no login to Kubernetes: there is no kubeconfig at {tmp_path}/none; see" in result.message


@pytest.mark.usefixtures("web")
async def test_an_expired_login_is_read_anew_once(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig_with("long-expired", namespace), path)
    async with Place(tmp_path, path, namespace).open() as place:
        result = await place.restart()
        assert result.reason in (Reason.UNREACHABLE, Reason.PERMISSION)
        assert "Kubernetes answered 401 Unauthorized" in result.message
        assert CURE in result.message
        # Somebody renews it, and nothing has to be started anew.
        shutil.copy(cluster.kubeconfig, path)
        place.later += 10.0  # for some seconds it is not asked again
        assert (await place.restart()).status is Status.DONE
        assert await place.recorded() == ["done"]


async def test_a_token_that_the_kubelet_renews_is_taken_up(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = json.loads(cluster.kubeconfig_for("default", namespace).read_text())
    token = settings["users"][0]["user"]["token"]
    (tmp_path / "token").write_text("of yesterday")
    command = ("config", "view", "--raw", "--output=jsonpath={.clusters[0].cluster.certificate-authority-data}")
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster.kubectl(*command)))
    host, _, port = cluster.api.removeprefix("https://").rpartition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(login, "ACCOUNT", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    assert KubernetesExecutor().detect() == {}
    server = Server({})
    with pytest.raises(UnreachableError, match=CURE):
        await server.get("/api/v1/namespaces/kube-system")
    (tmp_path / "token").write_text(token)
    with pytest.raises(UnreachableError, match="403 Forbidden"):  # who it is, is known now
        await server.get("/api/v1/namespaces/kube-system")
    assert (await server.get("/version"))["major"] == "1"  # type: ignore[index]
    await server.close()


async def test_a_change_is_sent_once_whatever_the_login(cluster: Cluster, namespace: str) -> None:
    """A look is asked again with the login as it is then; a change is not."""
    executor = KubernetesExecutor()
    path = cluster.kubeconfig_with("unknown", namespace)
    await executor.open(Environment.parse("k8s", {"executor": "kubernetes", "settings": {"kubeconfig": str(path)}}))
    place = {"name": "web", "namespace": namespace}
    asked = {
        "AppsV1Api.patch_namespaced_deployment": (Risk.CHANGE, {**place, "body": {"spec": {"replicas": 2}}}, 1),
        "AppsV1Api.read_namespaced_deployment": (Risk.OBSERVE, place, 2),
    }
    sent = calls._sent
    count = 0

    async def counted(*words: Any) -> Any:
        nonlocal count
        count += 1
        return await sent(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "_sent", counted)
        for name, (risk, arguments, times) in asked.items():
            count = 0
            outcome = await executor.run(Call(on=None, path=name, arguments=arguments, risk=risk, timeout=20))
            assert isinstance(outcome, Rejected)
            assert (outcome.reason, count) == ("permission", times), outcome.message
            assert CURE in outcome.message
    await executor.close()


async def test_a_forbidden_verb_is_named(
    cluster: Cluster, namespace: str, tmp_path: Path, web: Callable[[], dict[str, Any]]
) -> None:
    before = web()
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    subjects = [{"kind": "ServiceAccount", "name": "looks", "namespace": namespace}]
    rbac, wide = "rbac.authorization.k8s.io", f"looks-{namespace}"
    reference = {"apiGroup": rbac, "kind": "ClusterRole", "name": wide}
    named = {"apiVersion": f"{rbac}/v1", "metadata": {"name": wide}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "looks", "namespace": namespace}},
        {**named, "kind": "ClusterRole", "rules": rules},
        {**named, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects},
    )
    try:
        async with Place(tmp_path, cluster.kubeconfig_for("looks", namespace), namespace).open() as place:
            result = await place.restart()
            assert (result.status, result.reason) == (Status.FAILED, Reason.PERMISSION)
            assert 'cannot patch resource "deployments" in API group "apps" in the namespace' in result.message
            assert namespace in result.message
            assert await place.recorded() == ["rejected"]
            _, missing = await place.engine.permissions("k8s")
            assert "apps/deployments patch in every namespace" in missing
            assert not [one for one in missing if one.split()[1] in ("get", "list", "watch")]
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", wide)
    assert web() == before


async def test_a_namespace_that_there_is_not(cluster: Cluster, tmp_path: Path) -> None:
    async with Place(tmp_path, cluster.kubeconfig, "nowhere-at-all").open() as place:
        result = await place.restart()
        assert (result.status, result.reason) == (Status.REFUSED, Reason.UNKNOWN_TARGET)
        assert (await place.ask("list_services", namespace="nowhere-at-all")).answer == {"services": []}
        result = await place.ask(
            "run_job", namespace="nowhere-at-all", name="once", image="localhost/busybox:1", command=["true"]
        )
        assert result.status in (Status.FAILED, Status.REFUSED)
        assert 'namespaces "nowhere-at-all" not found' in result.message
        await place.recorded()


def _meddled(cluster: Cluster, namespace: str, times: int) -> Callable[..., Awaitable[Outcome]]:
    """As ``calls.run``, but somebody else changes the Deployment right before so many patches of it."""
    real = calls.run
    left = times

    async def run(server: Server, call: Call) -> Outcome:
        nonlocal left
        if call.path == "AppsV1Api.patch_namespaced_deployment" and "dry_run" not in call.arguments and left:
            left -= 1
            cluster.kubectl(
                "label", "deployment/web", f"meddled={times - left}", "--overwrite", f"--namespace={namespace}"
            )
        return await real(server, call)

    return run


async def test_what_somebody_else_changed_meanwhile_is_looked_at_anew(
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    web: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "run", _meddled(cluster, namespace, 1))
    async with Place(tmp_path, cluster.kubeconfig, namespace).open() as place:
        result = await place.restart()
        assert result.status is Status.DONE, result.message
        assert await place.recorded() == ["rejected", "done"]
    assert web()["metadata"]["labels"]["meddled"] == "1"


async def test_what_never_stands_still_is_not_overwritten(
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    web: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = web()["spec"]["template"]
    monkeypatch.setattr(calls, "run", _meddled(cluster, namespace, 1000))
    async with Place(tmp_path, cluster.kubeconfig, namespace).open() as place:
        result = await place.restart()
        assert (result.status, result.reason) == (Status.FAILED, Reason.CONFLICT)
        assert "the object has been modified" in result.message
        assert set(await place.recorded()) == {"rejected"}
    assert web()["spec"]["template"] == template


@pytest.fixture
def fridays(cluster: Cluster, namespace: str) -> Iterator[None]:
    """An admission policy that denies restarts in the namespace, with words of its own."""
    name = f"fridays-{namespace}"
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    denied = "!has(object.spec.template.metadata.annotations)"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": denied, "message": "nothing is restarted on a Friday"}],
    }
    bound = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }
    cluster.apply(
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": policy},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": bound},
    )
    try:
        yield
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        cluster.kubectl("delete", kinds, name)


@pytest.mark.usefixtures("fridays")
async def test_an_admission_policy_is_heard(
    cluster: Cluster, namespace: str, tmp_path: Path, web: Callable[[], dict[str, Any]]
) -> None:
    restart = json.dumps({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}})
    trying = ("patch", "deployment/web", f"--namespace={namespace}", "--dry-run=server", "--patch", restart)
    # A new policy holds some moments later.
    for _ in range(600):
        with contextlib.suppress(Exception):
            cluster.kubectl(*trying)
            continue
        break
    before = web()
    async with Place(tmp_path, cluster.kubeconfig, namespace).open() as place:
        result = await place.restart()
        assert (result.status, result.reason) == (Status.FAILED, Reason.EXECUTOR)
        assert "denied request: nothing is restarted on a Friday" in result.message
        assert await place.recorded() == ["rejected"]
    assert web()["spec"] == before["spec"]

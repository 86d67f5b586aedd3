"""The tests' own Kubernetes: real failures of real containers, reachable both ways, and gone with its user."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.engines.helm import helm
from tests.engines.kubernetes import BUSYBOX, Cluster, KubectlError, kubernetes
from tests.engines.remains import remains, wait_gone

pytestmark = pytest.mark.engine("kubernetes")
ROOT = Path(__file__).parents[3]
own = pytest.mark.skipif("UICI_TEST_KUBECONFIG" in os.environ, reason="another cluster is used")


def pod(*command: str, image: str = BUSYBOX, **container: Any) -> dict[str, Any]:
    """A Pod's spec."""
    only = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command), **container}
    return {"containers": [only], "terminationGracePeriodSeconds": 0}


def deployment(name: str, spec: dict[str, Any], replicas: int = 1) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    template = {"spec": {**spec, "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


def container(seen: dict[str, Any]) -> dict[str, Any]:
    """A Pod's only container's status, as far as there is one."""
    found: list[dict[str, Any]] = seen["status"].get("containerStatuses", [{}])
    return found[0]


def waits(seen: dict[str, Any]) -> str:
    return str(container(seen).get("state", {}).get("waiting", {}).get("reason", ""))


def test_a_deployment_becomes_available_behind_its_service(cluster: Cluster, namespace: str) -> None:
    serves = pod("sh", "-c", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}  # fmt: skip
    cluster.apply(deployment("web", serves, replicas=2), service, namespace=namespace)
    cluster.wait("deployment/web", "condition=Available", namespace)
    address = cluster.get("service", "web", "--namespace", namespace)["spec"]["clusterIP"]
    asks = f"until wget -q -O - http://{address}/; do sleep 0.2; done"
    cluster.apply(job("asks", pod("sh", "-c", asks)), namespace=namespace)
    cluster.wait("job/asks", "condition=Complete", namespace)
    assert cluster.kubectl("logs", "job/asks", "--namespace", namespace) == "hello\n"


def test_more_than_the_limit_is_oom_killed_and_again_is_a_crash_loop(cluster: Cluster, namespace: str) -> None:
    eats = pod("tail", "/dev/zero", resources={"limits": {"memory": "32Mi"}})
    cluster.apply(deployment("eats", eats), namespace=namespace)
    seen = cluster.until("pods", lambda one: waits(one) == "CrashLoopBackOff", namespace)
    assert container(seen)["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert container(seen)["lastState"]["terminated"]["exitCode"] == 137


@pytest.mark.parametrize("image", ["localhost/missing:1", "registry.example.com/missing:1"])
def test_an_image_that_is_nowhere_cannot_be_pulled(cluster: Cluster, namespace: str, image: str) -> None:
    cluster.apply(deployment("web", pod("sleep", "1000", image=image)), namespace=namespace)
    cluster.until("pods", lambda one: waits(one) in ("ErrImagePull", "ImagePullBackOff"), namespace)


def test_a_jobs_logs_stream_while_it_runs(cluster: Cluster, namespace: str) -> None:
    # It goes on only after its first line was seen here.
    runs = "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second"
    cluster.apply(job("prints", pod("sh", "-c", runs)), namespace=namespace)
    cluster.until("pods", lambda one: one["status"]["phase"] == "Running", namespace)
    follows = cluster.command("logs", "job/prints", "--namespace", namespace, "--follow")
    with subprocess.Popen(follows, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        cluster.kubectl("exec", "job/prints", "--namespace", namespace, "--", "touch", "/tmp/go")
        assert following.stdout.read() == "second\n"


def test_a_pod_calls_the_api_server_with_its_service_account(cluster: Cluster, namespace: str) -> None:
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    # busybox's wget has no authorities: the certificate is checked by the kubelet's and the tests' own clients.
    asks = (
        f'wget -q -O - --no-check-certificate --header "Authorization: Bearer $(cat {account}/token)" '
        f"https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/{namespace}/pods"
    )
    cluster.kubectl("create", "role", "reads", "--verb=list", "--resource=pods", "--namespace", namespace)
    cluster.kubectl(
        "create",
        "rolebinding",
        "reads",
        "--role=reads",
        f"--serviceaccount={namespace}:default",
        "--namespace",
        namespace,
    )
    cluster.apply(job("asks", pod("sh", "-c", asks)), namespace=namespace)
    cluster.wait("job/asks", "condition=Complete", namespace)
    found = json.loads(cluster.kubectl("logs", "job/asks", "--namespace", namespace))
    assert [one["metadata"]["labels"]["batch.kubernetes.io/job-name"] for one in found["items"]] == ["asks"]


def test_a_token_of_a_service_account_may_do_what_its_role_says(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "--namespace", namespace)
    cluster.kubectl("create", "role", "reads", "--verb=get,list", "--resource=pods", "--namespace", namespace)
    cluster.kubectl(
        "create",
        "rolebinding",
        "reads",
        "--role=reads",
        f"--serviceaccount={namespace}:reader",
        "--namespace",
        namespace,
    )
    reader = f"--kubeconfig={cluster.kubeconfig_for('reader', namespace)}"
    cluster.kubectl("get", "pods", reader)
    with pytest.raises(KubectlError, match=r"[Ff]orbidden.*secrets"):
        cluster.kubectl("get", "secrets", reader)
    with pytest.raises(KubectlError, match=r"Unauthorized|logged in"):
        cluster.kubectl("get", "pods", f"--kubeconfig={cluster.kubeconfig_with('wrong')}")


def test_pods_and_this_machine_reach_each_other(cluster: Cluster, namespace: str) -> None:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from outside")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer((cluster.host, 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fetches = f"mkdir /www; wget -q -O /www/index.html http://{cluster.host}:{server.server_port}/ && exec httpd -f -p 8080 -h /www"
        ready = {"httpGet": {"port": 8080}, "periodSeconds": 1}
        cluster.apply(deployment("web", pod("sh", "-c", fetches, readinessProbe=ready)), namespace=namespace)
        cluster.wait("deployment/web", "condition=Available", namespace)
        server.shutdown()
    address = cluster.get("pods", "--namespace", namespace)["items"][0]["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as response:
        assert response.read() == b"from outside"


def test_an_image_is_made_of_a_folder(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    from tests.engines.kubernetes.images import busybox_root

    root = busybox_root(tmp_path)
    (root / "etc" / "said").write_text("as loaded\n")
    image = cluster.load_image(
        "localhost/own:1", root, "sh", "-c", "cat /etc/said; id -u; echo $SAID", user="65534", environ={"SAID": "so"}
    )
    spec = pod(image=image)
    del spec["containers"][0]["command"]
    cluster.apply(job("own", spec), namespace=namespace)
    cluster.wait("job/own", "condition=Complete", namespace)
    assert cluster.kubectl("logs", "job/own", "--namespace", namespace) == "as loaded\n65534\nso\n"


def test_an_api_server_that_hangs_or_dies_comes_back(cluster: Cluster, namespace: str) -> None:
    with cluster.frozen(), pytest.raises(KubectlError, match=r"[Tt]imeout|deadline"):
        cluster.kubectl("get", "pods", "--request-timeout=1s", "--namespace", namespace)
    first = cluster.pid("kube-apiserver")
    with cluster.down(), pytest.raises(KubectlError, match="refused"):
        cluster.kubectl("get", "pods", "--namespace", namespace)
    second = cluster.pid("kube-apiserver")
    cluster.kill()
    cluster.wait_ready()
    assert len({first, second, cluster.pid("kube-apiserver")}) == 3
    cluster.kubectl("get", "namespace", namespace)


def test_the_audit_log_holds_what_tests_ask_and_nothing_else(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "noted", "--namespace", namespace)
    asked = [
        one
        for one in cluster.requests()
        if one.get("objectRef", {}).get("namespace") == namespace and one["verb"] == "create"
    ]
    assert ("configmaps", "noted") in [(one["objectRef"]["resource"], one["objectRef"].get("name")) for one in asked]
    assert {one["user"]["username"] for one in asked} == {"admin"}


@pytest.mark.engine("helm")
def test_helm_installs_a_chart(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 0.1.0\n")
    (chart / "templates" / "settings.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {said: {{ .Values.said | quote }}}\n"
    )
    arguments = ("install", "small", str(chart), "--namespace", namespace, "--set", "said=yes")
    helm(*arguments, kubeconfig=cluster.kubeconfig, folder=tmp_path)
    assert cluster.get("configmap", "small", "--namespace", namespace)["data"] == {"said": "yes"}


USER = """
import sys
from tests.engines.kubernetes import BUSYBOX, kubernetes
with kubernetes() as cluster:
    cluster.kubectl("run", "left", "--image", BUSYBOX)
    cluster.wait("pod/left", "condition=Ready", "default")
    print(cluster.layout.folder, cluster.layout.link, flush=True)
    sys.stdin.read()
"""


@own
def test_two_clusters_do_not_meet_and_nothing_is_left_after_a_kill(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("stays", pod("sleep", "1000")), namespace=namespace)
    cluster.wait("deployment/stays", "condition=Available", namespace)
    before = cluster.get("pods", "--namespace", namespace)["items"]
    process = subprocess.Popen(
        [sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    folder, link = process.stdout.readline().split()
    assert len(remains(Path(folder), link)) > 10
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_gone(Path(folder), link)
    after = cluster.get("pods", "--namespace", namespace)["items"]
    assert [container(one)["containerID"] for one in after] == [container(one)["containerID"] for one in before]
    assert [one["status"]["podIP"] for one in after] == [one["status"]["podIP"] for one in before]


@own
def test_a_cluster_whose_user_ends_is_gone_when_its_block_ends() -> None:
    with kubernetes() as other:
        assert other.layout is not None
        folder, link = other.layout.folder, other.layout.link
    wait_gone(folder, link)  # the keeper's own last moment

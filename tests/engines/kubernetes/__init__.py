"""A real Kubernetes for the tests, private to them: own folder, network, control groups, mounts and processes.

``UICI_TEST_KUBECONFIG`` names one to use instead; no other kubeconfig is ever looked at. Images are made here, without
a registry, and named ``localhost/…:tag``. There is no DNS for Services and no metrics server. Nothing stays behind: see
``tests/engines/kubernetes/keeper.py``. For work on tests, ``python -m tests.engines.kubernetes.stay`` keeps one running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.engines import availability, gobuild
from tests.engines.kubernetes import images, keeper
from tests.engines.kubernetes.layout import NODE, Layout, running

BUSYBOX = images.BUSYBOX
#: Of every namespace that is made here.
LABEL = "uici.test"
_PREFIX = "uici-kubernetes-"
_ROOT = Path(__file__).parents[3]


class KubectlError(RuntimeError):
    """kubectl ended with an error; the message is its own."""


class Cluster:
    """One cluster as a test sees it. ``kubeconfig``: its administrator's. ``api``: the API server's address."""

    def __init__(self, kubeconfig: Path, layout: Layout | None, work: Path, *, private: bool) -> None:
        self.kubeconfig = kubeconfig
        self.layout = layout
        self.private = private
        self._work = work
        self._program = [str(gobuild.CLUSTER.path), "kubectl"] if gobuild.CLUSTER.path.exists() else ["kubectl"]
        seen = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        self._settings: dict[str, Any] = seen
        self.api: str = seen["clusters"][0]["cluster"]["server"]

    @property
    def node(self) -> str:
        """The name of the first node."""
        return self.kubectl("get", "nodes", "--output=jsonpath={.items[0].metadata.name}")

    @property
    def host(self) -> str:
        """This machine's address as Pods see it: what listens there, or on 0.0.0.0, they reach."""
        return self._own("this machine is not known to be reachable from its Pods").host

    # kubectl

    def command(self, *arguments: str) -> list[str]:
        """For a test that starts kubectl itself (``logs --follow``)."""
        return [*self._program, f"--kubeconfig={self.kubeconfig}", *arguments]

    def kubectl(self, *arguments: str, input: str | None = None, seconds: float = 60) -> str:
        """What it prints; raises KubectlError."""
        done = subprocess.run(
            self.command(*arguments), input=input, stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds, check=False, env=_plain_environment(),
        )  # fmt: skip
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """``get("deployment", "web", "--namespace=shop")``: the object, or the list."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return found

    def apply(self, *manifests: Mapping[str, Any], namespace: str | None = None) -> None:
        """Creates or changes them; a manifest may be a List."""
        everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        self.kubectl("apply", "--filename=-", *_in(namespace), input=everything)

    def wait(self, what: str, condition: str, namespace: str | None = None, *, seconds: float = 60) -> None:
        """``kubectl wait``: ``wait("deployment/web", "condition=Available", ns)``, or ``delete``, ``jsonpath=…``, ``create``."""
        self.kubectl(
            "wait", what, f"--for={condition}", f"--timeout={seconds:.0f}s", *_in(namespace), seconds=seconds + 10
        )

    def until(
        self, what: str, holds: Callable[[dict[str, Any]], Any], namespace: str | None = None, *, seconds: float = 60
    ) -> dict[str, Any]:
        """The first state of an object (``pod/web-1``) or of any of a kind (``pods``) for which ``holds`` is true, by watching.

        Raises TimeoutError with the last state seen.
        """
        last: dict[str, Any] = {}
        for last in self._watched(what, namespace, time.monotonic() + seconds):
            if holds(last):
                return last
        raise TimeoutError(f"{what} is not so after {seconds:.0f} s: {json.dumps(last.get('status', last))}")

    def _watched(self, what: str, namespace: str | None, deadline: float) -> Iterator[dict[str, Any]]:
        """States as they come until the deadline. kubectl ends by itself then; a watch that ends early begins again."""
        while (left := deadline - time.monotonic()) > 0:
            watching = subprocess.Popen(
                self.command("get", what, "--watch", "--output=json", f"--request-timeout={max(left, 0.5):.1f}s", *_in(namespace)),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_plain_environment(),
            )  # fmt: skip
            try:
                yield from _objects(watching)
            finally:
                watching.kill()
                watching.communicate()
            time.sleep(0.05)

    # What tests are given

    @contextlib.contextmanager
    def namespace(self, stem: str = "test", labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """A fresh one, of a name that no other test has. Its end is asked for and not waited for."""
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "labels": {LABEL: "1", **(labels or {})}}
        self.kubectl(
            "create", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        )
        try:
            # Pods cannot be made before it is there.
            self.wait("serviceaccount/default", "create", name)
            yield name
        finally:
            with contextlib.suppress(KubectlError, subprocess.TimeoutExpired):
                self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
                # A Pod whose process ignores SIGTERM would stay for 30 s.
                self.kubectl("delete", "pods", "--all", *_in(name), "--wait=false", "--force", "--grace-period=0")

    def kubeconfig_for(self, service_account: str, namespace: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig of a service account that is there, with a token of its own for so long (at least 600 s)."""
        token = self.kubectl("create", "token", service_account, f"--duration={seconds}s", *_in(namespace)).strip()
        return self.kubeconfig_with(token, namespace)

    def kubeconfig_with(self, token: str, namespace: str = "default") -> Path:
        """A kubeconfig for this cluster with any token, a wrong one too."""
        settings = json.loads(json.dumps(self._settings))
        settings["users"] = [{"name": settings["contexts"][0]["context"]["user"], "user": {"token": token}}]
        settings["contexts"][0]["context"]["namespace"] = namespace
        path = self._work / f"{uuid.uuid4().hex[:8]}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings))
        return path

    def load_image(
        self,
        name: str,
        root: Path,
        *command: str,
        entrypoint: Sequence[str] = (),
        user: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Makes an image of all that is in ``root``; a Pod names it with ``imagePullPolicy: IfNotPresent``."""
        layout = self._own("an image of this machine cannot be given to it")
        with tempfile.TemporaryDirectory(dir=layout.folder) as work:
            images.archive(
                Path(work, "image.tar"), name, root, command, entrypoint=entrypoint, user=user, environ=environ
            )
            control = ["ctr", "-a", str(layout.containerd), "-n", "k8s.io", "images", "import", f"{work}/image.tar"]
            subprocess.run(control, check=True, capture_output=True, timeout=300)
        return name

    def requests(self) -> list[dict[str, Any]]:
        """Audit events (``audit.k8s.io/v1``, metadata only) of all but the control plane's own requests, oldest first."""
        log = self._own("its audit log is not here").folder / "logs" / "audit"
        return [json.loads(line) for line in log.read_text().splitlines()]

    # What can happen to one

    def pid(self, component: str) -> int:
        """Of ``kube-apiserver``, ``kubelet`` and so on, as this process sees it; raises LookupError when it does not run."""
        found = running(self._own("its processes are not here").folder, component)
        if found is None:
            raise LookupError(f"no {component} runs")
        return found

    @contextlib.contextmanager
    def frozen(self, component: str = "kube-apiserver") -> Iterator[None]:
        """It takes connections and answers nothing (SIGSTOP), until the block ends."""
        self._disturbable()
        pid = self.pid(component)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
            self.wait_ready()

    @contextlib.contextmanager
    def down(self, component: str = "kube-apiserver") -> Iterator[None]:
        """It is killed, as by kill -9, and stays away until the block ends."""
        folder = self._disturbable().folder
        (folder / "down" / component).touch()
        try:
            self.kill(component)
            yield
        finally:
            (folder / "down" / component).unlink(missing_ok=True)
            self.wait_ready(component)

    def kill(self, component: str = "kube-apiserver") -> None:
        """It dies, as by kill -9, and comes up by itself."""
        self._disturbable()
        pid = self.pid(component)
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def wait_ready(self, component: str = "kube-apiserver", *, seconds: float = 60) -> None:
        """Until it runs and the API server says that it is ready; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(LookupError, KubectlError, subprocess.TimeoutExpired):
                self.pid(component)
                self.kubectl("get", "--raw=/readyz", "--request-timeout=5s", seconds=10)
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{component} is not ready after {seconds:.0f} s")
            time.sleep(0.05)

    def _own(self, why: str) -> Layout:
        if self.layout is None:
            import pytest

            pytest.skip(f"UICI_TEST_KUBECONFIG names a cluster that the tests did not start: {why}")
        return self.layout

    def _disturbable(self) -> Layout:
        layout = self._own("no test may stop it")
        if not self.private:
            import pytest

            pytest.skip("UICI_TEST_KUBECONFIG names a cluster that others may use; unset it for this one")
        return layout


@contextlib.contextmanager
def kubernetes() -> Iterator[Cluster]:
    """A cluster whose node is ready; raises RuntimeError with its log when it does not come up."""
    with contextlib.ExitStack() as stack:
        if given := os.environ.get("UICI_TEST_KUBECONFIG"):
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uici-kubeconfigs-")))
            yield Cluster(Path(given), _kept(Path(given)), work, private=False)
            return
        if reason := availability("kubernetes").missing:
            raise RuntimeError(reason)
        sweep()
        folder = _folder(stack)
        _images(folder)
        with (folder / "log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-S", "-m", "tests.engines.kubernetes.keeper", str(folder), str(gobuild.CLUSTER.path)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True, close_fds=True, cwd=_ROOT,
            ).returncode = 0  # fmt: skip  # it outlives this process on purpose; no warning about that
        _wait(folder)
        layout = Layout(folder, int((folder / "number").read_text()))
        cluster = Cluster(folder / "kubeconfig", layout, folder, private=True)
        _settled(cluster)
        yield cluster


def _folder(stack: contextlib.ExitStack) -> Path:
    """One that is locked from the moment that others can see it, and gone when the stack is left."""
    new = Path(tempfile.mkdtemp(prefix=f".new-{_PREFIX}"))
    folder = new.with_name(new.name.removeprefix(".new-"))
    stack.callback(_gone, folder)
    users = stack.enter_context((new / "users").open("w"))
    fcntl.flock(users, fcntl.LOCK_SH)
    return new.rename(folder)


def _kept(kubeconfig: Path) -> Layout | None:
    """The cluster of that kubeconfig, where the tests started it (``stay``)."""
    folder = kubeconfig.resolve().parent
    if folder.name.startswith(_PREFIX) and (folder / "up").exists():
        return Layout(folder, int((folder / "number").read_text()))
    return None


def _images(folder: Path) -> None:
    (folder / "images").mkdir()
    root = images.busybox_root(folder / "root")
    for name in (images.PAUSE, images.BUSYBOX):
        archived = folder / "images" / f"{name.partition('/')[2].partition(':')[0]}.tar"
        images.archive(archived, name, root, ["sleep", "2147483647"])
    shutil.rmtree(root)


def _wait(folder: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not (folder / "up").exists():
        if time.monotonic() > deadline or (folder / "failed").exists():
            raise RuntimeError(f"the cluster did not come up:\n{_logs(folder)}")
        time.sleep(0.03)


def _settled(cluster: Cluster, seconds: float = 120) -> None:
    """Until Pods can run. On a busy machine the first connections to an API server may time out: they are made again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            cluster.wait(f"node/{NODE}", "create")
            cluster.wait(f"node/{NODE}", "condition=Ready")
            cluster.wait("serviceaccount/default", "create", "default")
            return
        except (KubectlError, subprocess.TimeoutExpired):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _logs(folder: Path) -> str:
    logs = [folder / "log", *sorted((folder / "logs").glob("*"))]
    return "\n".join(f"--- {one.name}\n{one.read_text(errors='replace')[-1500:]}" for one in logs if one.exists())


def _gone(folder: Path, seconds: float = 20) -> None:
    """Waits for the keeper, so that a run's end is the cluster's end."""
    deadline = time.monotonic() + seconds
    while (folder.exists() and (folder / "keeper").exists()) or folder.with_name(f"{folder.name}.gone").exists():
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)  # no keeper ever came


def sweep() -> None:
    """Cleans folders whose keeper died too (a crash of the machine, a kill of everything)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if folder.suffix == ".gone":
            keeper.clean(folder, folder.stem)
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for name in ("users", "keeper"):
                fcntl.flock(stack.enter_context((folder / name).open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            keeper.leave(folder)


def _in(namespace: str | None) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}


def _objects(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """JSON objects one after the other, as kubectl writes them: each ends with a brace in the first column."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("}"):
            yield json.loads("".join(lines))
            lines.clear()

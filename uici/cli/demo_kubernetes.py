"""``uici demo`` on Kubernetes: a Deployment in a namespace of its own, on the cluster that the kubeconfig names, and gone afterwards.

It must not touch anything outside of the namespace that it has made.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import Any

import click

from uici.cli.demo_place import Act, DemoError, Supervised, wait

#: Anything with ``sh`` and ``sleep``.
IMAGE = "busybox:1.36"
#: No registry has that name (RFC 2606).
_BROKEN = "registry.invalid/shop/web:2"
_CURE = (
    "name a cluster by KUBECONFIG and its current context (kubectl get namespaces must work), "
    "or see a recovery without one: uici demo"
)
#: Seconds that a revision must have run well before anybody may say that it works, and somewhat more.
_PROVEN = 33.0


class Deployed(Supervised):
    """One Deployment in the user's cluster, and the supervisord for the daemon alone."""

    label = "deployment"
    watched_by = "Kubernetes"
    keeper_environment = "keepers"

    def __init__(self, folder: Path, image: str = IMAGE) -> None:
        super().__init__(folder)
        self.services = ("web",)
        self.ports = {}
        self.image = image
        # Not `uici…`: what is called so is protected by its name.
        self.namespace = f"demo-{secrets.token_hex(3)}"
        self.context = ""
        self.made: str | None = None
        self.core: Any = None
        self.apps: Any = None

    @property
    def what(self) -> str:  # type: ignore[override]
        return (
            f"a Deployment in the namespace {self.namespace} of a cluster, and a supervisord of its own for the daemon"
        )

    @property
    def environments(self) -> dict[str, Any]:
        return {
            "demo": {
                "executor": "kubernetes",
                "settings": {"context": self._named()},
                "stage": "sandbox",
                "autonomy": "change",
                "namespaces": [self.namespace],
            },
            "keepers": {
                "executor": "supervisor",
                "settings": {"url": f"unix://{self.socket}"},
                "alerts": ['cluster="keepers"'],
                "autonomy": "change",
            },
        }

    def acts(self) -> list[Act]:
        return [
            Act(
                "1. A bad release",
                "web",
                "KubeDeploymentRolloutStuck",
                "is not rolled out",
                self.release,
                "Its new Pod cannot start, and Kubernetes tries for ever.",
                cure="rollback",
                alive="the old Pod of web served all the while",
            )
        ]

    def labels(self, service: str) -> dict[str, str]:
        return {"namespace": self.namespace, self.label: service}

    def programs(self) -> dict[str, list[str]]:
        return {}

    def _named(self) -> str:
        """The current context; raises DemoError where there is none."""
        try:
            from kubernetes import config
        except ImportError:
            raise DemoError(
                "Kubernetes' client is not installed; pip install 'uici[kubernetes]', or see a recovery without it: uici demo"
            ) from None
        if not self.context:
            try:
                listed: Any = config.list_kube_config_contexts  # untyped
                self.context = str(listed()[1]["name"])
            except (config.ConfigException, OSError, KeyError, TypeError) as error:
                raise DemoError(f"there is no kubeconfig with a current context: {error}; {_CURE}") from error
        return self.context

    def start(self, config: Path) -> None:
        from kubernetes import client
        from kubernetes import config as login

        context = self._named()
        try:
            made: Any = login.new_client_from_config  # untyped
            api = made(context=context)
        except (login.ConfigException, OSError, ValueError) as error:
            raise DemoError(f"the context {context} gives no login: {error}; {_CURE}") from error
        api.configuration.retries = False
        self.core, self.apps = client.CoreV1Api(api), client.AppsV1Api(api)
        self._ask("create a namespace", self._make, api.configuration.host)
        click.echo(f"  Cluster: {api.configuration.host} (context {context}); namespace {self.namespace}.")
        self._ask("create a Deployment", self._deploy, api.configuration.host)
        try:
            wait("web to be available", lambda: self.answers("web"), 120)
        except DemoError as error:
            why = self._ask("list Pods", self._why, api.configuration.host)
            raise DemoError(
                f"{error}: {why}; is {self.image} to be had there? another image: --image or UICI_DEMO_IMAGE"
            ) from error
        click.echo("  web runs. A release counts as good once it has run well for half a minute …")
        until = time.monotonic() + _PROVEN
        wait("half a minute to pass", lambda: time.monotonic() > until, _PROVEN + 10)
        super().start(config)

    def _ask(self, what: str, act: Any, server: str) -> Any:
        """Raises DemoError with the server's own reason and a cure."""
        import json

        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return act()
        except ApiException as error:
            said = error.reason
            with contextlib.suppress(ValueError, TypeError, KeyError):
                said = json.loads(error.body or "")["message"]
            raise DemoError(f"{server} does not let this login {what}: {error.status} {said}; {_CURE}") from error
        except (HTTPError, OSError) as error:
            raise DemoError(f"no Kubernetes answers at {server}: {error}; {_CURE}") from error

    def _make(self) -> None:
        metadata = {"name": self.namespace, "labels": {"uici.demo": self.namespace}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.made = self.core.create_namespace(body, _request_timeout=20).metadata.uid

    def _deploy(self) -> None:
        labels = {"app": "web"}
        container = {
            "name": "web",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"],
            "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"memory": "32Mi"}},
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                },
            },
        }
        self.apps.create_namespaced_deployment(self.namespace, body, _request_timeout=20)

    def _deployment(self, name: str) -> Any:
        return self.apps.read_namespaced_deployment(name, self.namespace, _request_timeout=20)

    def _why(self) -> str:
        """What its Pods wait for."""
        pods = self.core.list_namespaced_pod(self.namespace, _request_timeout=20).items
        waiting = [
            one.state.waiting for pod in pods for one in pod.status.container_statuses or () if one.state.waiting
        ]
        return (
            ", ".join(f"{one.reason}: {one.message or ''}".rstrip(": ") for one in waiting)
            or "its Pods have not started"
        )

    def answers(self, name: str) -> bool:
        """Whether its newest revision is rolled out."""
        found = self._deployment(name)
        status, wanted = found.status, found.spec.replicas
        caught_up = (status.observed_generation or 0) >= found.metadata.generation
        return bool(
            caught_up and status.updated_replicas == status.replicas == status.available_replicas == wanted
        )  # fmt: skip

    def alive(self, name: str) -> bool:
        return bool(self._deployment(name).status.available_replicas)

    def identity(self, name: str) -> str:
        found = self._deployment(name)
        revision = (found.metadata.annotations or {}).get("deployment.kubernetes.io/revision", "?")
        return f"revision {revision} with the image {found.spec.template.spec.containers[0].image}"

    def release(self) -> str:
        container = {"name": "web", "image": _BROKEN}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        self.apps.patch_namespaced_deployment("web", self.namespace, body, _request_timeout=20)
        return f"kubectl set image deployment/web web={_BROKEN}"

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            if self.made is not None:
                self._remove()

    def _remove(self) -> None:
        """The namespace that was made, and no other of its name. Raises DemoError."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        by_hand = f"remove it with kubectl delete namespace {self.namespace}"
        try:
            with contextlib.suppress(ApiException):  # a cluster whose Pods end slowly would keep it for long
                self.core.delete_collection_namespaced_pod(
                    self.namespace, grace_period_seconds=0, _request_timeout=20
                )  # fmt: skip
            options = {"preconditions": {"uid": self.made}}
            self.core.delete_namespace(self.namespace, body=options, _request_timeout=20)
            wait(f"the namespace {self.namespace} to be gone", self._gone, 90)
        except DemoError as error:
            raise DemoError(
                f"{error}: the cluster still deletes it; see kubectl get namespace {self.namespace}"
            ) from None
        except (ApiException, HTTPError, OSError) as error:
            raise DemoError(f"the demo's namespace may be left: {error}; {by_hand}") from error

    def _gone(self) -> bool:
        from kubernetes.client.exceptions import ApiException

        try:
            return bool(self.core.read_namespace(self.namespace, _request_timeout=20).metadata.uid != self.made)
        except ApiException as error:
            if error.status == 404:
                return True
            raise

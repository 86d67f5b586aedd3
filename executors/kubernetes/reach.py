"""What a Pod that a template makes can reach beyond itself: the node's paths, namespaces and devices, accounts, volumes.

It fails closed: what can be bounded becomes Touches, what cannot is said in words; the call is then refused unless the
operator declared what it touches. A Pod of the cluster's own default confinement reaches nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from uici.model import Resource, Touch
from uici_executors.kubernetes.view import View

#: The container runtimes' own default set (also what Pod Security's "baseline" allows); anything beyond may reach out.
CAPABILITIES = frozenset(
    """
    AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
    """.split()
)
#: Folders of a node through which everything on it can be reached: themselves, what is above and what is inside.
SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt/cni", "/proc", "/root", "/run", "/sbin", "/sys",
    "/usr", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet",
    "/var/lib/rancher", "/var/log", "/var/run", "/var/spool/cron",
)  # fmt: skip
#: What people mount read-only without harm.
HARMLESS = (
    "/etc/ca-certificates", "/etc/hosts", "/etc/localtime", "/etc/pki/tls/certs", "/etc/resolv.conf", "/etc/ssl/certs",
    "/etc/timezone", "/usr/share/ca-certificates", "/usr/share/zoneinfo",
)  # fmt: skip
#: Fields of a Pod's specification that are looked at here, or that reach nothing. A new one is not known: it counts.
_KNOWN = frozenset(
    """
    activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks
    ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname imagePullSecrets initContainers nodeName
    nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resources restartPolicy
    runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN
    shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes
    """.split()
)
_WITHIN = frozenset({"downwardAPI", "emptyDir", "ephemeral", "image"})
PATH = "HostPath"


class Reach:
    """Gathers ``touches``, and in ``unbounded`` why not all of them can be told."""

    def __init__(self, view: View, namespace: str | None) -> None:
        self._view = view
        self._namespace = namespace
        self._own: str | None = None
        self.touches: list[Touch] = []
        self.unbounded: list[str] = []

    async def of(self, template: Mapping[str, Any], *, only: str | None = None) -> None:
        """Of a Pod template or a Pod. ``only`` "own": of one that is there already and gets other code. What it merely uses
        counts where it is UICI's own, what gives it the node counts, what else it asks for it was given before."""
        self._own = only
        spec = template.get("spec") or {}
        for name in sorted(set(spec) - _KNOWN):
            self._asks(f"it asks for {name}, of which nothing here knows how far it reaches")
        for name in ("hostIPC", "hostNetwork", "hostPID"):
            if spec.get(name):
                self.everything(f"it shares the node's namespace ({name})")
        self._confinement(spec.get("securityContext") or {})
        for one in _containers(spec):
            self._container(one)
        for name, value in ((template.get("metadata") or {}).get("annotations") or {}).items():
            if "apparmor" in name and value == "unconfined":
                self.everything("it is not confined (AppArmor)")
        for one in spec.get("volumes") or ():
            await self._volume(one)
        account = spec.get("serviceAccountName") or spec.get("serviceAccount")
        self._uses("ServiceAccount", account or "default", always=bool(account) and account != "default")
        if spec.get("nodeName") and self._own is None:
            self.touches.append(self._view.of("Node", None, str(spec["nodeName"])))
        await self._priority(spec)

    def _confinement(self, context: Mapping[str, Any]) -> None:
        """Of a Pod's or a container's ``securityContext``."""
        if context.get("privileged"):
            self.everything("it is privileged")
        added = {str(one).upper().removeprefix("CAP_") for one in (context.get("capabilities") or {}).get("add") or ()}
        if added - CAPABILITIES:
            self.everything(f"it has the capabilities {', '.join(sorted(added - CAPABILITIES))}")
        if context.get("procMount") not in (None, "Default"):
            self.everything("it lays the kernel's own files open (procMount)")
        if context.get("sysctls"):
            self._asks("it sets the kernel's own values (sysctls)")
        if (context.get("seLinuxOptions") or {}).get("type") not in (None, "", "container_t", "container_init_t"):
            self.everything("its confinement is its own (SELinux)")
        if (context.get("appArmorProfile") or {}).get("type") not in (None, "RuntimeDefault"):
            self.everything("its confinement is its own (AppArmor)")
        if (context.get("seccompProfile") or {}).get("type") not in (None, "RuntimeDefault"):
            self._asks("its filter of system calls is its own (seccomp)")
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            self.everything("it runs as a process of the node")

    def _container(self, one: Mapping[str, Any]) -> None:
        self._confinement(one.get("securityContext") or {})
        for port in one.get("ports") or ():
            if port.get("hostPort"):
                self._asks(f"it takes the node's port {port['hostPort']}")
        for hook in _hooks(one):
            for how in ("httpGet", "tcpSocket"):
                if (hook.get(how) or {}).get("host"):
                    self._asks(f"it has the node itself ask {str(hook[how]['host'])[:100]}")
        for env in one.get("env") or ():
            source = env.get("valueFrom") or {}
            self._uses("Secret", (source.get("secretKeyRef") or {}).get("name"))
            self._uses("ConfigMap", (source.get("configMapKeyRef") or {}).get("name"))
        for env in one.get("envFrom") or ():
            self._uses("Secret", (env.get("secretRef") or {}).get("name"))
            self._uses("ConfigMap", (env.get("configMapRef") or {}).get("name"))

    async def _volume(self, one: Mapping[str, Any]) -> None:
        for kind, source in one.items():
            if kind == "name" or kind in _WITHIN or source is None:
                continue
            if kind == "hostPath":
                self.path(str(source.get("path") or ""))
            elif kind == "configMap":
                self._uses("ConfigMap", source.get("name"))
            elif kind == "secret":
                self._uses("Secret", source.get("secretName"))
            elif kind == "projected":
                for part in source.get("sources") or ():
                    self._uses("ConfigMap", (part.get("configMap") or {}).get("name"))
                    self._uses("Secret", (part.get("secret") or {}).get("name"))
            elif kind == "persistentVolumeClaim":
                await self._claim(str(source.get("claimName") or ""))
            else:
                self._asks(f"the volume {one.get('name')!r} ({kind}) lies in a place that Kubernetes does not tell")

    async def _claim(self, name: str) -> None:
        self._uses("PersistentVolumeClaim", name)
        if self._own is not None or not name:
            return  # as before
        claim = await self._view.owners.read("PersistentVolumeClaim", self._namespace, name)
        volume = str(((claim or {}).get("spec") or {}).get("volumeName") or "")
        if volume:
            self.volume(await self._view.owners.read("PersistentVolume", None, volume))

    def volume(self, one: Mapping[str, Any] | None) -> None:
        """A PersistentVolume: a path of a node, or a place elsewhere, which is whose claim it is."""
        for path in lies(one):
            self.path(path)

    def path(self, name: str, *, read_only: bool = False) -> None:
        """Of a node; of which one nobody can tell before it is scheduled."""
        if not name.startswith("/"):
            self.everything(f"the path {name[:100]!r} is not absolute")
            return
        path = _plain(name)
        self.touches.append(Touch(resource=host_path(self._view.engine, path)))
        for one in self._view.own:
            if one.kind == PATH and (_within(path, one.id) or _within(one.id, path)):
                self.touches.append(Touch(resource=one))
        if any(_within(path, one) for one in HARMLESS):
            return
        if any(_within(path, one) or _within(one, path) for one in SYSTEM) or path.endswith(".sock"):
            self.everything(f"the node's path {path} reaches all of it")

    async def _priority(self, spec: Mapping[str, Any]) -> None:
        """A Pod of a higher priority may push others from their node."""
        name = str(spec.get("priorityClassName") or "")
        if not name or spec.get("preemptionPolicy") == "Never" or not self._view.own or self._own is not None:
            return
        found = await self._view.server.get(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")
        if found is not None and int(found.get("value") or 0) <= 0:
            return
        if (found or {}).get("preemptionPolicy") != "Never":
            for one in self._view.own:
                if one.kind == "Pod":
                    self.touches.append(Touch(resource=one))

    def _uses(self, kind: str, name: Any, *, always: bool = True) -> None:
        if not name:
            return
        touch = self._view.of(kind, self._namespace, str(name))
        if (always and self._own is None) or self._view.owns(kind, touch.resource.id):
            self.touches.append(touch)

    def _asks(self, why: str) -> None:
        """For what it is not given anew where it is there already."""
        if self._own is None:
            self.everything(why)

    def everything(self, why: str) -> None:
        """All that UICI is and needs lies within reach, and more."""
        self.unbounded.append(why)
        self.touches += self._view.everything()


def lies(volume: Mapping[str, Any] | None) -> Iterator[str]:
    """Where a PersistentVolume lies on its node; nothing where it lies elsewhere."""
    spec = (volume or {}).get("spec") or {}
    for kind in ("hostPath", "local"):
        if spec.get(kind):
            yield str(spec[kind].get("path") or "")


def _plain(path: str) -> str:
    """One way to write it; of two slashes at the beginning POSIX says nothing, and Linux takes them for one."""
    return posixpath.normpath(f"/{path.lstrip('/')}") if path.startswith("/") else path


def host_path(engine: str, path: str) -> Resource:
    path = _plain(path)
    return Resource(engine=engine, kind=PATH, id=path, name=path, names=(path,))


def uses(pod: Mapping[str, Any], kind: str, name: str) -> bool:
    """Whether a Pod names this ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim."""
    return (kind, name) in set(used(pod))


def used(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a Pod, or a template, names: kinds and names."""
    spec = pod.get("spec") or {}
    yield "ServiceAccount", str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")
    for one in spec.get("imagePullSecrets") or ():
        yield "Secret", str(one.get("name"))
    for one in _containers(spec):
        for env in one.get("env") or ():
            for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if (env.get("valueFrom") or {}).get(key):
                    yield kind, str(env["valueFrom"][key].get("name"))
        for env in one.get("envFrom") or ():
            for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if env.get(key):
                    yield kind, str(env[key].get("name"))
    for volume in spec.get("volumes") or ():
        parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for part in parts:
            if part.get("configMap"):
                yield "ConfigMap", str(part["configMap"].get("name"))
            if part.get("secret"):
                yield "Secret", str(part["secret"].get("secretName") or part["secret"].get("name"))
        if volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", str(volume["persistentVolumeClaim"].get("claimName"))
        if volume.get("ephemeral"):
            yield "PersistentVolumeClaim", f"{(pod.get('metadata') or {}).get('name')}-{volume.get('name')}"


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("containers", "initContainers", "ephemeralContainers"):
        for one in spec.get(name) or ():
            if isinstance(one, Mapping):
                yield one


def _hooks(one: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(one.get(name), Mapping):
            yield one[name]
    for hook in (one.get("lifecycle") or {}).values():
        if isinstance(hook, Mapping):
            yield hook


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")

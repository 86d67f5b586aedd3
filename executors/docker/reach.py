"""What a container can lay hands on: host paths, namespaces, sockets, devices, volumes, networks. Fails closed.

For one that is to be made, and for one in which a command is to run. What cannot be bounded is said in words; the call
is then refused unless the operator declared what it touches.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from uici.model import Touch
from uici.model.record import dataclass
from uici_executors.docker import resources

if TYPE_CHECKING:
    from uici_executors.docker.made import Attrs
    from uici_executors.docker.touches import View

#: Docker's own default set; anything beyond may reach out of the container.
CAPABILITIES = frozenset(
    """
    AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID
    SYS_CHROOT
    """.split()
)
#: Folders of the host through which everything on it can be reached: themselves, what is above and what is inside.
SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
    "/var/lib/containerd", "/var/lib/docker", "/var/run", "/var/spool/cron",
)  # fmt: skip
#: What people mount read-only without harm.
HARMLESS = (
    "/etc/ca-certificates", "/etc/hosts", "/etc/localtime", "/etc/pki/tls/certs", "/etc/resolv.conf", "/etc/ssl/certs",
    "/etc/timezone", "/usr/share/ca-certificates", "/usr/share/zoneinfo",
)  # fmt: skip


#: Docker's defaults, of those that every version has. What lays fewer of them out of reach lays the kernel open.
MASKED = frozenset({"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"})
READ_ONLY = frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})
#: Security options that confine at least as much as none.
CONFINING = ("no-new-privileges", "apparmor=docker-default", "seccomp=builtin")
#: The keys of a container's configuration that are looked at here. Docker reads them whatever their case.
KEYS = frozenset(
    """
    Aliases BindOptions Binds CapAdd CgroupParent Devices DeviceCgroupRules DeviceRequests Domainname DriverConfig
    EndpointsConfig HostConfig Hostname IpcMode Labels Links MaskedPaths Mounts Name NetworkMode NetworkingConfig PidMode
    Privileged ReadOnly ReadonlyPaths Runtime SecurityOpt Source Sysctls Target Type UsernsMode UTSMode VolumeDriver
    VolumeOptions VolumesFrom
    """.split()
)
_FOLDED = {key.casefold() for key in KEYS}
#: Below these the keys are people's own words.
_OWN_WORDS = frozenset({"Labels", "Sysctls", "Options", "Config", "StorageOpt", "Annotations", "Tmpfs", "Env"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """A container that is to be made. ``host``: Docker's HostConfig; ``networks``: name -> aliases.

    ``hosts``: what it calls itself, which Docker's DNS may tell too. ``misspelt``: keys that Docker takes for others.
    """

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    misspelt: tuple[str, ...] = ()


#: docker-py's words for HostConfig's.
_HOST = {
    "binds": "Binds",
    "cap_add": "CapAdd",
    "cgroup_parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "device_cgroup_rules": "DeviceCgroupRules",
    "device_requests": "DeviceRequests",
    "devices": "Devices",
    "ipc_mode": "IpcMode",
    "links": "Links",
    "mounts": "Mounts",
    "network_mode": "NetworkMode",
    "pid_mode": "PidMode",
    "privileged": "Privileged",
    "runtime": "Runtime",
    "security_opt": "SecurityOpt",
    "sysctls": "Sysctls",
    "userns_mode": "UsernsMode",
    "uts_mode": "UTSMode",
    "volume_driver": "VolumeDriver",
    "volumes": "Binds",
    "volumes_from": "VolumesFrom",
}


def wants_of(path: str, arguments: Mapping[str, Any]) -> Wants:
    """Of ``containers.create/run``, ``api.create_container`` and ``api.create_container_from_config``."""
    if path == "api.create_container_from_config":
        config = arguments.get("config") or {}
        misspelt = _misspelt(config)
        ends = (config.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        return Wants(
            name=str(arguments.get("name") or ""),
            labels=config.get("Labels") or {},
            host=config.get("HostConfig") or {},
            networks={name: (end or {}).get("Aliases") or () for name, end in ends.items()},
            hosts=_hosts(config.get("Hostname"), config.get("Domainname")),
            misspelt=misspelt,
        )
    if path == "api.create_container":
        host = dict(arguments.get("host_config") or {})
        ends = (arguments.get("networking_config") or {}).get("EndpointsConfig") or {}
        networks = {name: (end or {}).get("Aliases") or () for name, end in ends.items()}
    else:
        host = {_HOST[key]: value for key, value in arguments.items() if key in _HOST}
        network, given = arguments.get("network"), arguments.get("networking_config") or {}
        networks = {str(network): (), **{name: (end or {}).get("Aliases") or () for name, end in given.items()}}
        networks = networks if network else {}
    labels = arguments.get("labels") or {}
    return Wants(
        name=str(arguments.get("name") or ""),
        labels=labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ""),
        host=host,
        networks=networks,
        hosts=_hosts(arguments.get("hostname"), arguments.get("domainname")),
        misspelt=_misspelt([host, arguments.get("networking_config")]),
    )


def _hosts(name: Any, domain: Any) -> tuple[str, ...]:
    return tuple(one for one in (str(name or ""), f"{name}.{domain}" if name and domain else "") if one)


def _misspelt(data: Any) -> tuple[str, ...]:
    """Keys that are none of ``KEYS`` and that Docker, written in Go, takes for one of them all the same."""
    if isinstance(data, list | tuple):
        return tuple(word for one in data for word in _misspelt(one))
    if not isinstance(data, Mapping):
        return ()
    found = [str(key) for key in data if key not in KEYS and str(key).casefold() in _FOLDED]
    for key, value in data.items():
        if key == "EndpointsConfig" and isinstance(value, Mapping):  # its keys are names of networks
            found += _misspelt(list(value.values()))
        elif key not in _OWN_WORDS:
            found += _misspelt(value)
    return tuple(found)


class Reach:
    """Gathers ``touches``, and in ``unbounded`` why not all of them can be told."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.touches: list[Touch] = []
        self.unbounded: list[str] = []

    async def of(self, host: Mapping[str, Any]) -> None:
        """Of a HostConfig."""
        if host.get("Privileged"):
            self.everything("it is privileged")
        added = {str(one).upper().removeprefix("CAP_") for one in host.get("CapAdd") or ()} - CAPABILITIES
        if added:
            self.everything(f"it has the capabilities {', '.join(sorted(added))}")
        for key in ("CgroupParent", "Devices", "DeviceCgroupRules", "DeviceRequests", "Sysctls", "VolumeDriver"):
            if host.get(key):
                self.everything(f"it asks for {key}")
        if str(host.get("Runtime") or "runc") not in ("runc", "io.containerd.runc.v2", "crun", "runsc"):
            self.everything(f"it asks for the runtime {host['Runtime']}")
        for key, closed in (("MaskedPaths", MASKED), ("ReadonlyPaths", READ_ONLY)):
            if key in host and not closed <= set(host[key] or ()):
                self.everything(f"it lays the kernel's own files open ({key})")
        for one in host.get("SecurityOpt") or ():
            if not str(one).replace(":", "=", 1).startswith(CONFINING):
                self.everything(f"its confinement is its own ({str(one)[:60]})")
        for key in ("PidMode", "IpcMode", "NetworkMode", "UsernsMode", "UTSMode"):
            await self._space(key, str(host.get(key) or ""))
        for one in host.get("VolumesFrom") or ():
            await self._volumes_of(str(one).partition(":")[0])
        for one in host.get("Links") or ():
            self._container(str(one[0] if isinstance(one, list | tuple) else one).partition(":")[0].lstrip("/"))
        await self._binds(host.get("Binds"))
        for one in host.get("Mounts") or ():
            await self.mount(one)

    async def _space(self, key: str, mode: str) -> None:
        if mode == "host":
            self.everything(f"it shares the host's namespace ({key})")
        elif mode.startswith("container:"):
            self._container(mode.removeprefix("container:"))

    async def joins(self, wants: Wants) -> None:
        """The networks that a new container joins: who answers to its names there already."""
        networks = dict(wants.networks)
        if wants.misspelt:
            self.everything(f"Docker takes {', '.join(wants.misspelt)} for what is spelt otherwise")
        mode = str(wants.host.get("NetworkMode") or "")
        if mode and not mode.startswith("container:"):
            networks.setdefault(mode, ())
        for name, aliases in networks.items():
            if name == "host":  # docker-py makes the mode of what it calls the network
                self.everything("it joins the host's network")
            if name in ("default", "bridge", "none", "host"):
                continue  # where nobody has a name
            network = await self._view.reads.network(name)
            if network is None:
                self.unbounded.append(f"there is no network {name[:100]!r} of exactly this name or full id")
            else:
                await self.aliases(network, [*aliases, wants.name, *wants.hosts], but="")

    async def aliases(self, network: Attrs, names: Sequence[str], *, but: str) -> None:
        """Members of a network that one of these names reaches now; a second one would take their traffic.

        Docker's DNS knows no capital letters.
        """
        wanted = {name.lower() for name in names if name}
        for one in self._view.members_of(network):
            if not wanted or one["Id"] == but:
                continue
            inspected = await self._view.reads.container(one["Id"]) or {}
            ends = ((inspected.get("NetworkSettings") or {}).get("Networks") or {}).values()
            answers = set(resources.names_of(one))
            for end in ends:
                if end.get("NetworkID") == network["Id"]:
                    answers |= set(end.get("Aliases") or ()) | set(end.get("DNSNames") or ())
            if wanted & {name.lower() for name in answers}:
                self.touches.append(self._view.touch(one))

    async def mount(self, mount: Mapping[str, Any]) -> None:
        """A mount as asked for (``Mounts`` of a HostConfig) or as there is (``Mounts`` of an inspected container)."""
        kind, source = str(mount.get("Type") or "bind"), str(mount.get("Source") or "")
        options = mount.get("VolumeOptions") or {}
        if kind == "bind":
            await self._path(source, read_only=bool(mount.get("ReadOnly")) or mount.get("RW") is False)
        elif kind == "volume" and options.get("DriverConfig"):
            self.everything(f"the volume {source!r} brings a driver of its own")
        elif kind == "volume":
            await self._volume(str(mount.get("Name") or source))
        elif kind != "tmpfs":
            self.everything(f"it mounts a {kind}")

    async def _binds(self, binds: Any) -> None:
        """docker-py's forms: a list of ``source:target:mode``, or a mapping of source to bind and mode."""
        if isinstance(binds, Mapping):
            for source, how in binds.items():
                mode = how.get("mode", "rw") if isinstance(how, Mapping) else "rw"
                await self._bind(str(source), str(mode))
            return
        for one in binds or ():
            source, _, rest = str(one).partition(":")
            await self._bind(source if rest else "", rest.rpartition(":")[2])

    async def _bind(self, source: str, mode: str) -> None:
        if source.startswith(("/", ".", "~")):
            await self._path(source, read_only="ro" in mode.split(","))
        elif source:
            await self._volume(source)

    async def _volume(self, name: str) -> None:
        if not name:
            return  # an anonymous one is made anew
        attrs = await self._view.reads.volume(name) or {}
        self.touches.append(Touch(resource=resources.volume(self._view.engine, name, attrs)))
        device = str((attrs.get("Options") or {}).get("device") or "")
        if device.startswith("/"):
            await self._path(device, read_only=False)
        elif device or attrs.get("Driver", "local") != "local":
            self.unbounded.append(f"the volume {name!r} lies in a place that Docker does not tell")

    async def _path(self, name: str, *, read_only: bool) -> None:
        path = posixpath.normpath(name) if name.startswith("/") else ""
        if not path:
            self.everything(f"the path {name!r} is not absolute")
            return
        self.touches.append(Touch(resource=resources.path(self._view.engine, path)))
        if read_only and any(_within(path, one) for one in HARMLESS):
            return
        # Where the engine's host is this one, a link leads to where it leads; elsewhere it can only make this stricter.
        for place in dict.fromkeys((path, await _real(path))):
            for one in self._view.own:
                if one.kind == resources.PATH and (_within(place, one.id) or _within(one.id, place)):
                    self.touches.append(Touch(resource=one))
            engine = (self._view.reads.root_dir, *self._sockets())
            if any(_within(place, one) or _within(one, place) for one in (*SYSTEM, *engine)) or "docker.sock" in place:
                self.everything(f"the host's path {path} reaches all of it")

    def _sockets(self) -> list[str]:
        url = str(self._view.reads.settings.get("base_url", ""))
        path = url.removeprefix("unix://")
        return [path, os.path.realpath(path)] if url.startswith("unix:///") else []

    def _container(self, name: str) -> None:
        attrs = self._view.find(name) or self._by_prefix(name)
        if attrs is None:
            self.unbounded.append(f"there is no container {name[:100]!r}")
        else:
            self.touches.append(self._view.touch(attrs))

    def _by_prefix(self, name: str) -> Attrs | None:
        """Docker takes the beginning of an id here too."""
        found = [one for one in self._view.listed if name and one["Id"].startswith(name)]
        return found[0] if len(found) == 1 else None

    async def _volumes_of(self, name: str) -> None:
        self._container(name)
        attrs = self._view.find(name) or self._by_prefix(name)
        for mount in (attrs or {}).get("Mounts") or ():
            await self.mount(mount)

    def everything(self, why: str) -> None:
        """All that UICI is and needs lies within reach, and more."""
        self.unbounded.append(why)
        self.touches += [Touch(resource=one) for one in self._view.own]


async def _real(path: str) -> str:
    """Where links lead; a file system that does not answer keeps nobody but the one who asked."""
    return await asyncio.to_thread(os.path.realpath, path)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")

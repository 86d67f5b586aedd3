"""How much each call of docker-py may harm, as data. What is not listed is ``destroy``.

``api.*`` paths are judged by the same tables under their own names. Reads that hand out files, secrets or what runs
inside are ``destroy``: ``get_archive``, ``export``, ``save``, ``exec_run``, ``attach``, a swarm's unlock key, a config's
data. The values of a container's environment variables do not leave the executor (see ``answers``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from uici.model import Risk

OBSERVE = frozenset(
    """
    probe.check replacement.plan
    df events info ping version
    containers.get containers.list Container.diff Container.logs Container.reload Container.stats Container.top
    Container.wait
    images.get images.list images.search images.get_registry_data Image.history Image.reload RegistryData.has_platform
    networks.get networks.list Network.reload volumes.get volumes.list Volume.reload
    nodes.get nodes.list Node.reload plugins.get plugins.list Plugin.reload
    secrets.get secrets.list Secret.reload
    services.get services.list Service.logs Service.reload Service.tasks swarm.reload
    api.containers api.create_container_config api.create_endpoint_config api.create_host_config
    api.create_networking_config api.create_swarm_spec api.df api.diff api.events api.exec_inspect api.history
    api.images api.info api.inspect_container api.inspect_distribution api.inspect_image api.inspect_network
    api.inspect_node api.inspect_plugin api.inspect_secret api.inspect_service api.inspect_swarm api.inspect_task
    api.inspect_volume api.logs api.networks api.nodes api.ping api.plugin_privileges api.plugins api.port api.search
    api.secrets api.service_logs api.services api.stats api.tasks api.top api.version api.volumes api.wait
    """.split()
)

CHANGE = frozenset(
    """
    replacement.discard
    Container.commit Container.pause Container.rename Container.resize Container.restart Container.start Container.stop
    Container.unpause Container.update Container.kill
    containers.create containers.run
    images.load images.pull Image.tag RegistryData.pull
    networks.create Network.connect Network.disconnect volumes.create
    Service.force_update Service.scale Service.update
    api.commit api.pause api.rename api.resize api.restart api.start api.stop api.unpause api.update_container api.kill
    api.create_container api.create_container_from_config
    api.load_image api.pull api.tag api.import_image api.import_image_from_data api.import_image_from_image
    api.import_image_from_stream
    api.create_network api.connect_container_to_network api.disconnect_container_from_network api.create_volume
    """.split()
)

#: Signals that a process is meant to live on after.
_GENTLE = frozenset({"HUP", "USR1", "USR2", "WINCH", "CONT", "URG", "IO", "1", "10", "12", "28", "18", "23", "29"})
_ENDING = frozenset({"TERM", "INT", "QUIT", "15", "2", "3"})

#: Below these a process can hardly live: bytes of memory, microseconds of a period of 100 ms.
LEAST_MEMORY = 16 * 1024 * 1024
LEAST_CPU_SHARE = 0.05


def risk(path: str, arguments: Mapping[str, Any]) -> Risk:
    """Of a call with its real arguments. A missing argument means docker-py's default."""
    judge = _JUDGES.get(path.rpartition(".")[2])
    if path in OBSERVE:
        return judge(arguments) if judge else Risk.OBSERVE
    if path not in CHANGE:
        return Risk.DESTROY
    return judge(arguments) if judge else Risk.CHANGE


def _stop(arguments: Mapping[str, Any]) -> Risk:
    """Without grace it is SIGKILL by another name. (A restart brings it back, and is asked for with 0 on purpose.)"""
    given = arguments.get("timeout")
    return Risk.DESTROY if isinstance(given, int | float) and given == 0 else Risk.CHANGE


def _top(arguments: Mapping[str, Any]) -> Risk:
    """``ps`` shows the values of environment variables where its arguments ask for them."""
    return Risk.DESTROY if arguments.get("ps_args") else Risk.OBSERVE


def _kill(arguments: Mapping[str, Any]) -> Risk:
    """Without a signal it is SIGKILL: no grace, so what was not written is lost."""
    signal = str(arguments.get("signal") or "KILL").upper().removeprefix("SIG")
    return Risk.CHANGE if signal in _GENTLE | _ENDING else Risk.DESTROY


def _update(arguments: Mapping[str, Any]) -> Risk:
    """A limit that starves is a stop by another name."""
    # Docker refuses a swap limit below the memory limit, so that one counts only where it stands alone.
    limits = [arguments.get("mem_limit") or arguments.get("memswap_limit"), arguments.get("kernel_memory")]
    if any(limit not in (None, 0, -1) and size(limit) < LEAST_MEMORY for limit in limits):
        return Risk.DESTROY
    shares = arguments.get("cpu_shares")  # of 1024
    if shares and shares / 1024 < LEAST_CPU_SHARE:
        return Risk.DESTROY
    if arguments.get("cpu_period") and not arguments.get("cpu_quota"):
        return Risk.DESTROY  # of a quota that stays as it is, whatever share that becomes
    quota, period = arguments.get("cpu_quota"), arguments.get("cpu_period") or 100_000
    if quota and quota > 0 and quota / period < LEAST_CPU_SHARE:
        return Risk.DESTROY
    return Risk.CHANGE


def size(value: Any) -> float:
    """Bytes of ``128m``, as docker-py reads it; 0 for what it would refuse, which is the least."""
    text = str(value).strip().lower().removesuffix("b")
    unit = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}.get(text[-1:], 1)
    number = text[:-1] if unit > 1 else text
    try:
        return float(number) * unit
    except ValueError:
        return 0.0


_JUDGES: Mapping[str, Callable[[Mapping[str, Any]], Risk]] = {
    "kill": _kill,
    "stop": _stop,
    "top": _top,
    "update": _update,
    "update_container": _update,
}


#: Arguments of those calls that decide.
_JUDGED = frozenset({"cpu_period", "cpu_quota", "cpu_shares", "kernel_memory", "mem_limit", "memswap_limit", "timeout"})


def static(path: str, schemas: Mapping[str, Mapping[str, Any]]) -> Risk:
    """The highest risk that arguments of these schemas can have."""
    worst = risk(path, {name: schema["const"] for name, schema in schemas.items() if "const" in schema})
    if path.rpartition(".")[2] == "top" and "ps_args" in schemas:
        return Risk.DESTROY
    if path not in CHANGE or path.rpartition(".")[2] not in _JUDGES:
        return worst
    for name, schema in schemas.items():
        if name == "memswap_limit" and "mem_limit" in schemas:
            continue
        for value in _bounds(name, schema):
            worst = max(worst, risk(path, {"signal": "TERM", name: value}))
    if path.endswith(".kill") and "const" not in schemas.get("signal", {"const": None}):
        return max(
            (risk(path, {"signal": one}) for one in schemas["signal"].get("enum", ("KILL",))), default=Risk.DESTROY
        )
    return worst


def _bounds(name: str, schema: Mapping[str, Any]) -> list[Any]:
    """The values of a schema that harm most; a number without a minimum may be the least there is."""
    if name not in _JUDGED:
        return []
    if not schema:
        return []  # out of an answer of the engine: at its lowest, the real one counts
    if "anyOf" in schema:
        return [value for one in schema["anyOf"] for value in _bounds(name, one)]
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else [schema.get("minimum", 0 if name == "timeout" else 1)]

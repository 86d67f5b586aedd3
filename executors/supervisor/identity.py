"""What of a supervisord UICI is and needs: its own process, what answers at the addresses it needs, the supervisord.

It decides nothing: the engine's guard compares what a call touches with what is named here. Where it cannot be told, it
says so, and every change there is refused.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import socket
from collections.abc import Iterable

from uici.executor import Facts, Identity
from uici.model import Resource
from uici_executors.supervisor import processes
from uici_executors.supervisor.place import Snapshot


def identity(snapshot: Snapshot, facts: Facts, environment: str, said: str | None) -> Identity:
    """``said``: the operator's own word (``settings.uici``): a process's name, or ``elsewhere``."""
    mine: dict[str, Resource] = {}
    shows: list[str] = []

    def take(process_id: str, why: str) -> None:
        for process in snapshot.processes:
            if process["id"] == process_id and process_id not in mine:
                mine[process_id] = snapshot.resource(process)
                shows.append(f"{process_id}: {why}")

    by_pid = {int(process["pid"]): str(process["id"]) for process in snapshot.processes if process["pid"]}
    if snapshot.local:
        for pid in facts.pids:
            if pid in by_pid:
                take(by_pid[pid], f"UICI runs in it (pid {pid})")
        for process_id, why in _needed(by_pid, facts.needs):
            take(process_id, why)
    for process_id in _of_variables(snapshot, facts):
        take(process_id, "a supervisord started UICI by that name")
    for process in snapshot.processes:
        if said and said != "elsewhere" and said in (process["id"], process["name"]):
            take(process["id"], "the environment's settings say that UICI is it")
        for named in facts.names:
            place, name = named.get("environment") or environment, named.get("name") or named.get("id") or ""
            kind = named.get("kind") or "process"
            if place == environment and kind in ("process", "service") and name in (process["id"], process["name"]):
                take(process["id"], "platform.yml: depends_on")
    # Without the supervisord nothing here could be done or looked at any more, whoever it runs.
    resources = (*mine.values(), snapshot.itself())
    if not snapshot.local and not mine and said is None:
        # A unix socket is of this machine, so its supervisord is in another pid namespace; so may be one that a container
        # reaches by http.
        if snapshot.address.startswith("/") or facts.containers:
            return Identity(
                resources=resources,
                unknown=f"the supervisord at {snapshot.address} counts its processes in another pid namespace, so that none "
                "can be told to be UICI's; say `uici: elsewhere` or its process's name in the environment's settings",
            )
        shows.append(f"the supervisord is not of this machine ({snapshot.address}), and none started UICI")
    elif not mine:
        shows.append(
            f"none of its {len(snapshot.processes)} processes is UICI, holds an address that UICI needs, or is named"
        )
    return Identity(resources=resources, shows="; ".join([*shows, "supervisord: UICI acts through it"]))


def _of_variables(snapshot: Snapshot, facts: Facts) -> Iterable[str]:
    """What the supervisord above UICI has left in its environment variables; they outlive a double fork."""
    variables = facts.environment_variables
    name, group = variables.get("SUPERVISOR_PROCESS_NAME", ""), variables.get("SUPERVISOR_GROUP_NAME", "")
    url = variables.get("SUPERVISOR_SERVER_URL", "")
    if not name:
        return []
    comparable = url.startswith("unix://") and snapshot.local and snapshot.address.startswith("/")
    if comparable and os.path.realpath(url.removeprefix("unix://")) != snapshot.address:
        return []  # that is another supervisord
    return [f"{group or name}:{name}"]


def _needed(by_pid: dict[int, str], needs: Iterable[str]) -> list[tuple[str, str]]:
    """Processes that hold a listening socket which UICI needs, or may hold it."""
    wanted = {inode: (address, uid) for address in needs for inode, uid in _listening(address)}
    if not wanted or not by_pid:
        return []
    known, possible = processes.holders(
        {inode: uid for inode, (_, uid) in wanted.items()}, processes.descendants(by_pid)
    )
    found = [
        (by_pid[pid], f"UICI needs {wanted[inode][0]}, which it serves")
        for pid, held in known.items()
        for inode in held
    ]
    found += [
        (by_pid[pid], f"UICI needs {wanted[inode][0]}, and this user may not look whether it serves that")
        for pid, held in possible.items()
        for inode in held
    ]
    return found


def _listening(address: str) -> list[tuple[int, int | None]]:
    if address.startswith("/"):
        real = os.path.realpath(address)
        return [
            (one.inode, one.uid)
            for one in processes.listeners()
            if one.address.startswith("/")
            and (one.address in (address, real) or fnmatch.fnmatchcase(one.address, f"{real}.[0-9]*"))
        ]
    host, _, port = address.rpartition(":")
    hosts = _addresses(host.strip("[]"))
    return [
        (one.inode, one.uid)
        for one in processes.listeners()
        if not one.address.startswith("/")
        and one.address.rpartition(":")[2] == port
        and (one.address.rpartition(":")[0] in hosts or one.address.rpartition(":")[0] in ("0.0.0.0", "::"))  # noqa: S104 - compared
        and hosts
    ]


def _addresses(host: str) -> set[str]:
    """The addresses of this machine that a host name means; empty where it is another machine."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()
    return {one for one in found if _own(one)}


def _own(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True

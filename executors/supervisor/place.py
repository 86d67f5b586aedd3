"""Which supervisord is at an address, however it is addressed, and what it runs right now.

It also says whether a machine has one (``detect``). It must not change anything.
"""

from __future__ import annotations

import configparser
import os
import re
import socket
import stat
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uici.model import Resource, UnreachableError, rfc3339
from uici.model.record import dataclass
from uici_executors.supervisor import processes
from uici_executors.supervisor.transport import BrokenError, Line, NotSentError, Peer, RefusedError

#: Where distributions and the documentation's examples put the socket.
USUAL_SOCKETS = (
    "/run/supervisor.sock",
    "/var/run/supervisor.sock",
    "/run/supervisor/supervisor.sock",
    "/tmp/supervisor.sock",  # noqa: S108 - supervisord's own default, looked at and never made
)
_CALLS = ("supervisor.getIdentification", "supervisor.getPID", "supervisor.getAllProcessInfo")
_ORDER = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A supervisord at one moment. ``local``: its process ids are those of this process's own ``/proc``."""

    engine: str
    identification: str
    pid: int
    local: bool
    address: str
    processes: tuple[Mapping[str, Any], ...]

    def resource(self, process: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Resource:
        """Of one process; ``labels``: those of the inventory."""
        return Resource(
            engine=self.engine,
            kind="process",
            id=process["id"],
            name=process["name"],
            namespace=process["group"],
            names=(process["id"], process["name"]),
            labels={**(labels or {}), "group": process["group"]},
        )

    def itself(self) -> Resource:
        """The supervisord."""
        return Resource(
            engine=self.engine,
            kind="supervisord",
            id="supervisord",
            name="supervisord",
            names=("supervisord", self.identification, self.address),
            labels={},
        )


def look(line: Line, timeout: float) -> Snapshot:
    """Asks once. Raises UnreachableError where no supervisord answers, or does not let this login in."""
    try:
        answers, peer = line.call(
            "system.multicall", [{"methodName": name, "params": []} for name in _CALLS], timeout=timeout
        )
        for answer in answers:
            if isinstance(answer, dict) and "faultCode" in answer:
                raise UnreachableError(f"the supervisord at {line.where} does not answer: {answer.get('faultString')}")
        identification, pid, found = answers
    except (NotSentError, BrokenError, RefusedError) as error:
        raise UnreachableError(str(error)) from error
    except xmlrpc.client.Fault as fault:
        raise UnreachableError(f"the supervisord at {line.where} does not answer: {fault.faultString}") from fault
    local = _is_local(peer, pid)
    address = _address(line.url, peer, pid, local)
    return Snapshot(
        engine=f"supervisord:{identification}@{address}",
        identification=identification,
        pid=pid,
        local=local,
        address=address,
        processes=tuple(recorded(process, local) for process in found),
    )


def recorded(process: Mapping[str, Any], local: bool) -> dict[str, Any]:
    """A process as it is recorded: the supervisord's own fields, its ``id`` (``group:name``) and ``started_at``."""
    return {
        **process,
        "id": f"{process['group']}:{process['name']}",
        "started_at": _started_at(int(process["start"]), int(process["pid"]), local),
    }


def _started_at(start: int, pid: int, local: bool) -> str:
    """RFC 3339 of the second that the supervisord gives.

    What is behind the second is no clock: it orders starts within one second, by the kernel's count of ticks and the
    pid, and is the same each time for the same process. Without it a restart within a second would look as if it had not been.
    """
    order = processes.start_order(pid) if local and pid else None
    # Ticks are 10 ms, and a process starts in 3: of two starts within one, the later has the higher pid.
    fraction = (order % _ORDER) * 1000 + pid % 1000 if order is not None else 0
    return f"{rfc3339(start)[:19]}.{fraction:09d}Z"


def _is_local(peer: Peer, pid: int) -> bool:
    """Whether the supervisord's process ids mean the same here as there."""
    if peer.address is None:
        return peer.pid == pid or _listens(pid, peer.bound)
    return _is_own_address(peer.address[0]) and any(_is_supervisord_port(peer.address[1], pid))


def _listens(pid: int, bound: str | None) -> bool:
    """Whether that process holds the listener of that name. A supervisord listens before it goes into the background, so
    that the kernel names a parent which has long ended."""
    held = processes.socket_inodes(pid)
    if not bound or held is None:
        return False
    return any(one.address == bound and one.inode in held for one in processes.listeners())


def _is_own_address(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _is_supervisord_port(port: int, pid: int) -> list[bool]:
    """Whether that process holds a listener of that port, as far as this user may see."""
    held = processes.socket_inodes(pid)
    here = [one for one in processes.listeners() if one.address.endswith(f":{port}")]
    if held is None:  # another user's: its name has to do
        return [_command(pid).find("supervisord") >= 0]
    return [one.inode in held for one in here]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _address(url: str, peer: Peer, pid: int, local: bool) -> str:
    """One text for one supervisord: by which path or port it is asked makes no difference where that can be told."""
    if peer.address is None:
        if local and peer.bound and peer.bound.startswith("/"):
            return _without_pid(peer.bound)
        # Another pid namespace (a container's): its own path means nothing here.
        return os.path.realpath(url.removeprefix("unix://"))
    if local:
        held = processes.socket_inodes(pid) or set()
        paths = sorted(
            one.address for one in processes.listeners() if one.inode in held and one.address.startswith("/")
        )
        return _without_pid(paths[0]) if paths else f"{socket.gethostname()}:{peer.address[1]}"
    return f"{peer.address[0]}:{peer.address[1]}"


def _without_pid(bound: str) -> str:
    # supervisord binds FILE.PID and links FILE to it, so that a stale FILE is replaced at once. The id is of the process
    # that it was before it went into the background.
    return os.path.realpath(re.sub(r"\.[0-9]+$", "", bound))


def detect(environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> dict[str, Any] | None:
    """Settings for the supervisord of this machine or folder; None where there is none that accepts a connection.

    Asked in turn: the one above this process, ``./supervisord.conf``, the usual sockets.
    """
    candidates = [environ.get("SUPERVISOR_SERVER_URL", "")]
    candidates += _configured((folder or Path.cwd()) / "supervisord.conf")
    candidates += [f"unix://{path}" for path in USUAL_SOCKETS]
    for url in candidates:
        if url.startswith("unix://") and _accepts(url.removeprefix("unix://")):
            return {"url": url}
        if url.startswith("http://") and url == candidates[0]:
            return {"url": url}
    return None


def _configured(path: Path) -> list[str]:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",), strict=False)
    try:
        parser.read_string(path.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error):
        return []
    url = parser.get("supervisorctl", "serverurl", fallback="")
    file = parser.get("unix_http_server", "file", fallback="")
    found = [url, f"unix://{file}" if file else ""]
    return [re.sub(r"%\(here\)s", str(path.parent), one) for one in found if one]


def _accepts(path: str) -> bool:
    try:
        seen = Path(path).stat()
        # Anybody may leave a socket in /tmp; only root's and this user's own are taken without being named.
        if not stat.S_ISSOCK(seen.st_mode) or seen.st_uid not in (0, os.geteuid()):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(0.5)
            connection.connect(path)
    except OSError:
        return False
    return True

"""The contract's own look at an engine: few and cheap requests, and what cannot change is asked once. Blocking.

Used on the executor's threads only. Everything here reads; a missing object is None, an engine that does not answer an
UnreachableError.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from uici.executor import Settings, without_login
from uici.model import UnreachableError
from uici_executors.docker import resources
from uici_executors.docker.connection import Client, reading

#: Seconds that one look may take, and after which the engine's own id is asked again.
TIMEOUT = 10.0
ENGINE_AGE = 30.0

Attrs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ties:
    """What a container leans on, as it was written when it was made (ids, their beginnings, names): namespaces of others
    (``spaces``), their volumes and links (``others``)."""

    spaces: frozenset[str]
    others: frozenset[str]

    def among(self, listed: Sequence[Attrs]) -> Ties:
        """With the full ids of those who are meant now."""
        return Ties(frozenset(_ids(self.spaces, listed)), frozenset(_ids(self.others, listed)))


class Reads:
    """One engine. Safe on several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base_url = str(settings["base_url"])
        self._where = f"the Docker engine at {without_login(self.base_url)}"
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._engine: tuple[str, float] | None = None
        self._ties: dict[str, Ties] = {}
        #: Where the engine keeps everything, on its own host.
        self.root_dir = "/var/lib/docker"

    # The client

    def client(self) -> Client:
        """docker-py's; raises UnreachableError while the engine cannot be asked for its version."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    try:
                        with reading(TIMEOUT, self.base_url):
                            self._client = Client(self.settings, self.forget_engine)
                    except ValueError:  # urllib's, which repeats what may be a password
                        raise UnreachableError(
                            f"{self._where} cannot be asked: its base_url is no address; write unix:///path or "
                            "tcp://host:port"
                        ) from None
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def forget_engine(self) -> None:
        """A connection was lost: another engine may answer now."""
        self._engine = None

    def engine(self) -> str:
        """``info.ID``, asked again after a lost connection and at most every 30 s."""
        known = self._engine
        if known is None or time.monotonic() - known[1] > ENGINE_AGE:
            info = self.get("/info")
            if not info or not info.get("ID"):
                raise UnreachableError(f"{self._where} does not tell its id (GET /info); is it starting?")
            self.root_dir = str(info.get("DockerRootDir") or self.root_dir)
            known = self._engine = (str(info["ID"]), time.monotonic())
        return known[0]

    def get(self, path: str, **params: Any) -> Any:
        """One GET of the Engine API; None for what is not there, and for a name that Docker would give nothing."""
        client = self.client()
        with reading(TIMEOUT, self.base_url):
            status, body = client.read(path, params)
        if status in (301, 400, 404):
            return None
        if status >= 400:
            said = body[:500].decode("utf-8", "replace")
            raise UnreachableError(f"{self._where} refused GET {path}: {said}; see its log")
        try:
            return json.loads(body)
        except ValueError as error:
            raise UnreachableError(
                f"{self._where} is none: its answer to GET {path} cannot be read: {error}"
            ) from error

    # Objects

    def _object(self, kind: str, name: str, end: str = "") -> Attrs | None:
        """Inspected by name. No name may become another path (``..``) or the list of its kind (nothing)."""
        if any(part in ("", ".", "..") for part in name.split("/")):
            return None
        found: Attrs | None = self.get(f"/{kind}/{quote(name, safe='/:@' if kind == 'images' else '')}{end}")
        return found

    def container(self, name: str) -> Attrs | None:
        """Inspected, by exact name or full id: the engine itself would take a prefix."""
        found = self._object("containers", name, "/json")
        if found is None or name not in (found["Id"], found["Name"].lstrip("/")):
            return None
        attrs: Attrs = found
        return attrs

    def containers(self, **filters: Sequence[str]) -> list[Attrs]:
        """Listed, not inspected; the stopped ones too."""
        given = {"filters": _json(filters)} if filters else {}
        return list(self.get("/containers/json", all=1, **given) or ())

    def members(self, project: str | None, service: str) -> list[Attrs]:
        """The listed containers of a Compose service, without one-off ones and those that a deployment set aside."""
        wanted = [f"{resources.SERVICE}={service}", *([f"{resources.PROJECT}={project}"] if project else [])]
        return [one for one in self.containers(label=wanted) if resources.team_of(one)]

    def network(self, name: str) -> Attrs | None:
        found = self._object("networks", name)
        return found if found and name in (found["Id"], found["Name"]) else None

    def volume(self, name: str) -> Attrs | None:
        found = self._object("volumes", name)
        return found if found and found["Name"] == name else None

    def image(self, name: str) -> Attrs | None:
        return self._object("images", name, "/json")

    def environment(self, container: str) -> dict[str, str]:
        """A container's variables, by its full id; empty when it is gone."""
        attrs = self.container(container)
        pairs = (one.partition("=") for one in ((attrs or {}).get("Config") or {}).get("Env") or ())
        return {name: value for name, equals, value in pairs if equals}

    def ties(self, listed: Sequence[Attrs]) -> dict[str, Ties]:
        """What each of these containers leans on; each is inspected once in its life, but who bears a name may change."""
        known: dict[str, Ties] = {}
        for one in listed:
            key = one["Id"]
            if key not in self._ties:
                attrs = self.container(key)
                if attrs is None:
                    continue
                self._ties[key] = ties_of(attrs)
            known[key] = self._ties[key]
        for gone in self._ties.keys() - known.keys():
            self._ties.pop(gone, None)
        return {key: one.among(listed) if one.spaces or one.others else one for key, one in known.items()}


def ties_of(attrs: Attrs) -> Ties:
    host = attrs.get("HostConfig") or {}
    modes = (host.get("NetworkMode"), host.get("PidMode"), host.get("IpcMode"))
    spaces = {str(mode).removeprefix("container:") for mode in modes if str(mode).startswith("container:")}
    others = {one.partition(":")[0].lstrip("/") for name in ("VolumesFrom", "Links") for one in host.get(name) or ()}
    return Ties(frozenset(spaces), frozenset(others))


def _ids(names: frozenset[str], listed: Sequence[Attrs]) -> list[str]:
    """Full ids of what was named: by id, by its beginning, or by name."""
    return [
        one["Id"] for name in names for one in listed if one["Id"].startswith(name) or name in resources.names_of(one)
    ]


def _json(filters: Mapping[str, Sequence[str]]) -> str:
    return json.dumps({key: list(value) for key, value in filters.items()})

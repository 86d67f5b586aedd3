"""How containers were made: what was written then stays for their lives, so that it is looked at once.

By their full ids, which are never given again. Nothing here asks an engine. Safe on several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from uici.model.record import dataclass
from uici_executors.docker import resources

#: Containers that are remembered at most.
REMEMBERED = 20_000

Attrs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ties:
    """What a container leans on, as it was written when it was made (ids, their beginnings, names): namespaces of others
    (``spaces``), their volumes and links (``others``)."""

    spaces: frozenset[str]
    others: frozenset[str]

    def among(self, listed: Sequence[Attrs]) -> Ties:
        """With the full ids of those who are meant now: who bears a name may change."""
        if not (self.spaces or self.others):
            return self
        return Ties(frozenset(_ids(self.spaces, listed)), frozenset(_ids(self.others, listed)))


class Made:
    def __init__(self) -> None:
        self._ties: dict[str, Ties] = {}
        self._ttys: dict[str, bool] = {}

    def learn(self, attrs: Attrs) -> None:
        """Of an inspected container."""
        if len(self._ties) >= REMEMBERED:
            self._ties.clear()
            self._ttys.clear()
        self._ties[attrs["Id"]] = ties_of(attrs)
        self._ttys[attrs["Id"]] = bool((attrs.get("Config") or {}).get("Tty"))

    def ties(self, id: str) -> Ties | None:
        return self._ties.get(id)

    def tty(self, id: str) -> bool | None:
        """Whether it has a terminal; None: it was not inspected yet."""
        return self._ttys.get(id)

    def keep(self, ids: Iterable[str]) -> None:
        """Forgets all others: they are gone."""
        for gone in set(self._ties) - set(ids):
            self._ties.pop(gone, None)
            self._ttys.pop(gone, None)


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

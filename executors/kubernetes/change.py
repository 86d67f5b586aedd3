"""One changing call as ``resolve`` sees it: the object before and after, and which of its fields differ. Pure data, with
what is found out about it. It decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from uici.model import Touch
from uici_executors.kubernetes.fields import Object, Path, within
from uici_executors.kubernetes.resources import Kind
from uici_executors.kubernetes.view import View


@dataclass(slots=True, kw_only=True)
class Change:
    """``before``: None for what is created; ``after``: None for what is deleted. ``verb``: create, patch, update, delete.

    ``options``: of a deletion. ``touches`` and ``unbounded`` (why not all that it touches can be told) are filled in.
    """

    view: View
    kind: Kind
    verb: str
    namespace: str | None
    name: str
    before: Object | None
    after: Object | None
    subresource: str = ""
    paths: list[Path] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)
    unbounded: list[str] = field(default_factory=list)

    @property
    def sides(self) -> tuple[Object, ...]:
        """The object before and after, as far as there is one."""
        return tuple(one for one in (self.before, self.after) if one is not None)

    @property
    def deletes(self) -> bool:
        return self.after is None

    def writes(self, *prefix: str) -> bool:
        """Whether it changes anything at, above or below this field."""
        return within(self.paths, *prefix)

    def everything(self, why: str = "") -> None:
        """It reaches all that UICI is and needs; ``why``: and more, that nobody can tell."""
        self.touches += self.view.everything()
        if why:
            self.unbounded.append(why)


Handler = Callable[[Change], Awaitable[None]]

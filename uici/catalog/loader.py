"""UniversalConfigLoader: a configuration folder to a Catalog, or to every problem of it. It opens no engine.

What only the check needs (places, message types, validators of the files) dies with the call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from uici.catalog import folder
from uici.catalog.built import Catalog, build
from uici.catalog.problem import CatalogError, Problem
from uici.model import ConfigurationError

if TYPE_CHECKING:
    from uici.catalog.gather import Gathered


class UniversalConfigLoader:
    """Of one folder. ``check`` and ``load`` read it anew each time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.replaced: tuple[str, ...] = ()

    @classmethod
    def find(
        cls,
        explicit: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] = os.environ,
        cwd: str | os.PathLike[str] | None = None,
    ) -> UniversalConfigLoader:
        """``--config``, else UICI_CONFIG, else ./infrastructure/config, else /etc/uici; raises ConfigurationError."""
        found = folder.find(explicit, environ, cwd)
        if found is not None:
            return cls(found)
        raise ConfigurationError(
            f"no configuration: neither --config nor UICI_CONFIG is given, and there is no {folder.HERE} here and no {folder.SYSTEM}; "
            "write one with: uici init DIR"
        )

    def check(self, passed: Callable[[Gathered], None] | None = None) -> list[Problem]:
        """Every problem, in order of file and line; raises ConfigurationError only where there is no such folder.

        ``passed``: told what was read, where no error was found.
        """
        gathered, problems = self._checked(used_only=False)
        if passed is not None and not any(problem.severity == "error" for problem in problems):
            passed(gathered)
        return problems

    def load(self) -> Catalog:
        """The catalog; raises CatalogError with all problems, ConfigurationError where ``default: auto`` finds not one."""
        catalog = self.prove()
        _give_back()
        return catalog

    def prove(self) -> Catalog:
        """As ``load``, for a process that ends soon: it keeps the memory that the check needed."""
        gathered = self.proven()
        return build(self.path, gathered.definitions(), tuple(gathered.replaced))

    def proven(self, read: Callable[[Gathered], None] | None = None) -> Gathered:
        """What was read and holds; raises CatalogError with all problems. ``read``: told what was read before the check."""
        gathered, problems = self._checked(used_only=True, read=read)
        if any(problem.severity == "error" for problem in problems):
            raise CatalogError(problems)
        return gathered

    def _checked(
        self, *, used_only: bool, read: Callable[[Gathered], None] | None = None
    ) -> tuple[Gathered, list[Problem]]:
        from uici.catalog.gather import gather

        gathered = gather(self.path)
        self.replaced = tuple(gathered.replaced)
        if not gathered.unreadable:
            if read is not None:
                read(gathered)
            from uici.catalog.check import check

            check(gathered, used_only=used_only)
        return gathered, gathered.found()


def _give_back() -> None:
    """What the check needed goes back to the system: glibc would keep some ten megabytes for a daemon's whole life."""
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

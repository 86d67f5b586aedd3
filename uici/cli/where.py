"""Which daemon or journal a command works with. It reads as little of the catalog as it can: a catalog that is broken on
disk must not keep anybody from pausing the daemon that runs with the last good one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uici.model.errors import ConfigurationError

if TYPE_CHECKING:
    from uici.catalog import UniversalConfigLoader
    from uici.cli.client import Client


def loader(config: str | None) -> UniversalConfigLoader:
    """Raises ConfigurationError where no catalog is found."""
    from uici.catalog import UniversalConfigLoader

    return UniversalConfigLoader.find(config)


def client(config: str | None, server: str | None) -> Client | None:
    """The daemon to talk to: ``--server``, else the one beside this catalog's journal if it runs, else None."""
    from uici.cli.client import Client, answers

    if server:
        return Client(server, os.environ.get("UICI_TOKEN") or None)
    socket = local_socket(config)
    return Client(socket) if socket is not None and answers(socket) else None


def local_socket(config: str | None) -> Path | None:
    """Where the daemon's socket would be; None where that cannot be told (the full load will say why)."""
    from uici.journal.location import path_of

    try:
        journal = path_of(journal_url(Path(loader(config).path)))
    except ConfigurationError:
        return None
    return journal.with_name(journal.name + ".sock")


def journal_url(catalog: Path) -> str:
    """``journal.url`` of platform.yml (or of the folder ``platform``), read without checking anything else."""
    from uici.catalog.folder import files
    from uici.catalog.secret_references import secrets
    from uici.catalog.source import read

    for file in files(catalog, "platform"):
        data: Any = read(file).data
        journal = data.get("journal") if isinstance(data, dict) else None
        url = journal.get("url") if isinstance(journal, dict) else None
        if isinstance(url, str):
            return str(secrets(url))
    return ""

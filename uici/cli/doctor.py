"""``uici doctor``: what is wrong with this set-up, from the Python below to the engines behind. It changes nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uici.cli import options, told
from uici.model.errors import ConfigurationError, DaemonError, UICIError
from uici.model.record import dataclass

if TYPE_CHECKING:
    from uici.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Finding:
    """``verdict``: ok, warning or problem."""

    about: str
    verdict: str
    message: str


@told.command(short_help="Say what is wrong with this set-up.")
@options.environment("Ask this environment's engine too which rights UICI's login lacks there.")
@options.config
@options.server
@options.as_json
def doctor(environment: str | None, config: str | None, server: str | None, as_json: bool) -> int:
    """Say what is wrong with this set-up: Python, executors, catalog, secrets, journal, daemon, engines.

    Exit status: 0 nothing is wrong, 1 something is.
    """
    from uici.cli import show

    found = []
    for one in findings(config, server, environment):
        found.append(one)
        if not as_json:
            mark = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}[one.verdict]
            click.echo(f"{mark:<8} {one.about}: {one.message}")
    if as_json:
        show.as_json([{"about": one.about, "verdict": one.verdict, "message": one.message} for one in found])
    return 1 if any(one.verdict == "problem" for one in found) else 0


def findings(config: str | None, server: str | None, environment: str | None = None) -> Iterator[Finding]:
    from uici import __version__

    yield Finding("uici", "ok", f"{__version__} on Python {platform.python_version()}")
    yield from _executors()
    catalog = None
    if not server:
        for one in _catalog(config):
            if isinstance(one, Finding):
                yield one
            else:
                catalog = one
    yield from _daemon(config, server, catalog)
    if environment is not None:
        yield from _permissions(config, server, environment)


def _permissions(config: str | None, server: str | None, environment: str) -> Iterator[Finding]:
    from uici.cli.door import door

    about = f"permissions in {environment}"
    try:
        said = door(config, server).permissions(environment)
    except UICIError as error:
        yield Finding(about, "problem", str(error))
        return
    for name in said["missing"]:
        yield Finding(about, "problem", f"missing: {name}; `uici rbac -e {environment}` prints what is needed")
    if not said["missing"]:
        yield Finding(about, "ok", f"none of {len(said['needed'])} is missing")


def _executors() -> Iterator[Finding]:
    from uici.executor import load, names

    for name in names():
        try:
            load(name)
        except ConfigurationError as error:
            yield Finding(f"executor {name}", "warning", str(error))
        else:
            yield Finding(f"executor {name}", "ok", "installed with its SDK")
    if not names():
        yield Finding("executors", "problem", "none is installed; reinstall with: pip install --force-reinstall uici")


def _catalog(config: str | None) -> Iterator[Finding | Catalog]:
    from uici.catalog import secrets
    from uici.catalog.report import summary
    from uici.cli import where

    try:
        loader = where.loader(config)
        problems = loader.check()
    except ConfigurationError as error:
        yield Finding("catalog", "problem", str(error))
        return
    errors = [one for one in problems if one.severity == "error"]
    if errors:
        yield Finding("catalog", "problem", f"{loader.path}: {summary(problems)}; see: uici check {loader.path}")
        return
    yield Finding("catalog", "warning" if problems else "ok", f"{loader.path}: {summary(problems)}")
    try:
        catalog = loader.load()
    except ConfigurationError as error:
        yield Finding("catalog", "problem", str(error))
        return
    yield catalog
    for name, data in (
        ("server.tokens", [token.token for token in catalog.platform.tokens]),
        ("escalate_to", list(catalog.platform.escalate_to)),
        *((f"environment {one.name}", dict(one.settings)) for one in catalog.environments.values()),
    ):
        try:
            secrets(data)
        except ConfigurationError as error:
            yield Finding(f"secrets of {name}", "problem", str(error))
    if not catalog.platform.escalate_to:
        yield Finding(
            "escalate_to", "warning", "nobody is told when a person is needed; name an apprise URL in platform.yml"
        )
    if not catalog.platform.tokens:
        yield Finding("server.tokens", "warning", "none, so the daemon listens on loopback only")


def _daemon(config: str | None, server: str | None, catalog: Catalog | None) -> Iterator[Finding]:
    from uici.cli import where

    client = where.client(config, server)
    if client is None:
        yield Finding("daemon", "ok", "none runs for this catalog's journal; commands open the journal themselves")
        if catalog is not None:
            yield from _journal(catalog)
        return
    try:
        status = client.get("api/v1/status", having="catalog")
        listed = client.get("api/v1/environments", having="environments")["environments"]
    except DaemonError as error:
        yield Finding("daemon", "problem", str(error))
        return
    yield Finding("daemon", "ok", f"{status['version']}, process {status['pid']}, {', '.join(status['listens'])}")
    for name, message in status["not_ready"].items():
        yield Finding(f"daemon: {name}", "problem", message)
    for name, message in status["warnings"].items():
        yield Finding(f"daemon: {name}", "warning", message)
    yield from _unchangeable(listed)
    if catalog is not None and catalog.digest != status["catalog"]["digest"]:
        yield Finding(
            "daemon: catalog", "warning", "the daemon runs with another one than is on disk; reload it: SIGHUP"
        )


def _journal(catalog: Catalog) -> Iterator[Finding]:
    from uici.catalog import secrets
    from uici.cli.door import Own
    from uici.journal.location import path_of

    try:
        path = Path(path_of(str(secrets(catalog.platform.journal_url))))
    except UICIError as error:
        yield Finding("journal", "problem", f"journal.url in platform.yml: {error}")
        return
    place = path.parent
    while not place.exists():
        place = place.parent
    if not os.access(path if path.exists() else place, os.W_OK):
        yield Finding("journal", "problem", f"{path} cannot be written by this user; see journal.url in platform.yml")
        return
    try:
        listed = Own.of(catalog).environments()
    except UICIError as error:
        yield Finding("journal", "problem", str(error))
        return
    yield Finding("journal", "ok", str(path))
    for one in listed:
        yield Finding(
            f"environment {one['name']}", "ok" if one["health"]["ok"] else "problem", one["health"]["message"] or "ok"
        )
    yield from _unchangeable(listed)


def _unchangeable(listed: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """No problem by itself: whoever only looks at a place needs no more."""
    for one in listed:
        if one.get("unchangeable") is not None:
            yield Finding(
                f"environment {one['name']}",
                "warning",
                f"UICI cannot tell what of it is its own, so every change there is refused: {one['unchangeable']}",
            )

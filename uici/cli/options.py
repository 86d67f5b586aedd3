"""Options that many commands share. Declared once, so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def config(function: F) -> F:
    return click.option(
        "--config",
        metavar="DIR",
        help="The catalog's folder. Else UICI_CONFIG, ./infrastructure/config, /etc/uici.",
    )(function)


def server(function: F) -> F:
    return click.option(
        "--server",
        metavar="URL",
        envvar="UICI_SERVER",
        help="Talk to this daemon (with UICI_TOKEN) instead of the one on this machine. Else UICI_SERVER.",
    )(function)


def as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def environment(help: str) -> Callable[[F], F]:
    """``help``: says what holds without it, which is not the same everywhere."""
    return click.option("-e", "--environment", metavar="NAME", help=help)

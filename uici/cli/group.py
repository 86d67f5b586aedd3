"""The group ``uici``: its commands are imported when one is called, so that ``uici --help`` stays cheap.

Errors end here: a person's mistake is told in one line with its cure and never as a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

import click
from click.exceptions import Abort, Exit

from uici import __version__

#: name -> (module, one line for the list). The line is repeated by the command's own help; a test keeps them equal.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("uici.cli.run", "Ask for one operation and see how it ends."),
    "check": ("uici.cli.check", "Prove a catalog: every problem at once."),
    "plan": ("uici.cli.plan", "Say what an alert would lead to, without acting."),
    "serve": ("uici.cli.serve", "Run the daemon."),
    "logs": ("uici.cli.logs", "Show what a request logs."),
    "operations": ("uici.cli.look", "List what may be asked."),
    "environments": ("uici.cli.look", "List where operations run, and how each place does."),
    "incidents": ("uici.cli.look", "List incidents, or tell one: what happened and why."),
    "approvals": ("uici.cli.look", "List what waits for approval."),
    "approve": ("uici.cli.act", "Approve a request that waits."),
    "deny": ("uici.cli.act", "Deny a request that waits."),
    "cancel": ("uici.cli.act", "Stop a request."),
    "pause": ("uici.cli.act", "Stop all automation."),
    "resume": ("uici.cli.act", "Let automation go on."),
    "reopen": ("uici.cli.act", "Give an incident's target back to automation."),
    "init": ("uici.cli.init", "Start a catalog in a folder."),
    "schema": ("uici.cli.schema", "Print the JSON Schema of a file, for editors."),
    "rbac": ("uici.cli.rbac", "Print the rights that an environment needs."),
    "doctor": ("uici.cli.doctor", "Say what is wrong with this set-up."),
    "demo": ("uici.cli.show_demo", "Show a recovery on real services."),
    "completion": ("uici.cli.completion", "Print shell completion for bash, zsh or fish."),
}

SECTIONS: dict[str, tuple[str, ...]] = {
    "Operate": ("run", "plan", "serve", "cancel", "pause", "resume", "reopen"),
    "Look": ("logs", "operations", "environments", "incidents", "approvals", "approve", "deny"),
    "Set up": ("init", "check", "schema", "rbac", "doctor", "demo", "completion"),
}


class GoneError(Exception):
    """Whoever read what is said here (head, less) has gone. click would make a failure of a BrokenPipeError."""


@contextlib.contextmanager
def _read_or_not() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise GoneError from None


class Lazy(click.Group):
    """Lists commands from ``COMMANDS`` alone; ``load`` imports the real one, which alone pays for rich."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _read_or_not():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _read_or_not():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # For the list and for completion a name and its line are enough.
        return click.Command(name=cmd_name, short_help=COMMANDS[cmd_name][1], help=COMMANDS[cmd_name][1])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if command is not None and name in COMMANDS else command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name][1]) for name in names], col_max=16)


def load(name: str) -> click.Command:
    """The command itself, imported now."""
    module = importlib.import_module(COMMANDS[name][0])
    return cast("click.Command", getattr(module, name))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="uici")
def uici() -> None:
    """Safe hands for whoever decides: carries out what the catalog, its policies and its guards allow,
    written down before it acts, verified after, undone when it did not help."""


def run(args: list[str] | None = None) -> None:
    """Runs it and exits: 0 done, 1 failed, 2 wrong usage or an invalid request, 3 refused, 4 unverified, 5 needs
    approval, 6 in doubt, 130 interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    try:
        code: Any = uici.main(args=args, prog_name="uici", standalone_mode=False)
    except Exit as error:
        code = error.exit_code
    except Abort:
        click.echo("interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except _ours() as error:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        code = getattr(error, "exit_code", 2 if _configuration(error) else 1)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = 130
    except GoneError:
        code = 0  # that is its right
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        click.echo(f"error: what there was to say cannot be written: {error.strerror}", err=True)
        code = 1
    _unread()
    sys.exit(code if isinstance(code, int) else 0)


#: Of a file or a terminal that takes no more.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def _unread() -> None:
    """What nobody takes any more is thrown away: the interpreter would complain of it at its end, by another exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _ours() -> type[Exception]:
    """Looked up only when an error comes by: the words cost 30 ms that ``uici --help`` has no use for."""
    from uici.model.errors import UICIError

    return UICIError


def _configuration(error: Exception) -> bool:
    from uici.model.errors import ConfigurationError

    return isinstance(error, ConfigurationError)

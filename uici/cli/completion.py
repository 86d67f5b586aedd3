"""``uici completion``: what a shell needs to complete ``uici``. It writes no file of the shell's."""

from __future__ import annotations

import click

from uici.cli import told

_CURE = {
    "bash": 'eval "$(uici completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(uici completion zsh)"     # in ~/.zshrc',
    "fish": "uici completion fish | source    # in ~/.config/fish/config.fish",
}


@told.command(short_help="Print shell completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(sorted(_CURE)))
def completion(shell: str) -> int:
    """Print shell completion for bash, zsh or fish.

    For bash, in ~/.bashrc: eval "$(uici completion bash)"
    """
    from click.shell_completion import get_completion_class

    from uici.cli.group import uici

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"this click cannot complete {shell}")
    click.echo(made(uici, {}, "uici", "_UICI_COMPLETE").source())
    return 0

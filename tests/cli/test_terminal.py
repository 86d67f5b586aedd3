"""The command line for a person: completion, colours, a quick --help, and nothing that moves the cursor."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Uici

pytestmark = pytest.mark.engine("supervisord")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(uici: Uici, shell: str) -> None:
    said = uici("completion", shell)
    assert said.returncode == 0, said.stderr
    assert "_UICI_COMPLETE" in said.stdout
    words = {
        "COMP_WORDS": "uici inc",
        "COMP_CWORD": "inc" if shell == "fish" else "1",
        "_UICI_COMPLETE": f"{shell}_complete",
    }
    assert "incidents" in uici(environ=words).stdout


def _on_a_terminal(words: list[str], environ: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "uici", *words],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **environ},
        ) as started:
            assert started.wait(60) == 0
        return os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_colour_only_on_a_terminal_and_not_under_no_color(catalog: Path) -> None:
    words = ["run", "service_status", "service=web", "--config", str(catalog)]
    assert "\x1b[32mdone" in _on_a_terminal(words, {})
    assert "\x1b" not in _on_a_terminal(words, {"NO_COLOR": "1"})


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom uici.cli.group import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    for heavy in (
        "rich",
        "aiohttp",
        "docker",
        "supervisor",
        "asyncio",
        "yaml",
        "jsonschema",
        "apprise",
        "cel_expr_python",
    ):
        assert f"'{heavy}'" not in said.stderr


def test_what_strangers_say_cannot_move_the_cursor() -> None:
    from uici.cli.show import clean

    assert clean("a\x1b[2Jb\x07\r\nc\u202e") == "a\ufffd[2Jb\ufffd  c\ufffd"

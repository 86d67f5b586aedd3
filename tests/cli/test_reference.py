"""Every command and option says what it does, and the reference says the same."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from docs.generate_doors import api_page, cli_page
from uici.cli.group import COMMANDS, SECTIONS, load, uici

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_reference_is_current() -> None:
    assert (REFERENCE / "cli.md").read_text() == cli_page(), "run: make reference"
    assert (REFERENCE / "api.md").read_text() == api_page(), "run: make reference"


def test_every_command_is_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_told(name: str) -> None:
    command = load(name)
    assert command.short_help == COMMANDS[name][1]
    said = CliRunner(env={"COLUMNS": "200"}).invoke(uici, [name, "--help"])
    assert said.exit_code == 0, said.output
    assert command.help
    assert command.help.split(".")[0].split(":")[0].split(",")[0].split()[0] in said.output
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(one in said.output for one in parameter.opts), parameter.name


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve", "completion", "demo", "init", "check"}))
def test_what_shows_something_shows_json_too(name: str) -> None:
    assert "--json" in {option for one in load(name).params for option in one.opts}

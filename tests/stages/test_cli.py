"""The `decant` command as a whole."""

import ast
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stages import cli

NAMES = cli.main.list_commands(click.Context(cli.main))


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_a_command_says_of_itself(name: str) -> None:
    """Catches a list of commands that is read from the source and has gone its own way."""
    help_text = import_module(f"stages.{name}").main.help
    first = " ".join(help_text.split("\n\n")[0].split()).rstrip(".")
    shown = " ".join(CliRunner().invoke(cli.main, ["--help"]).output.split())
    assert first and first in shown


def test_every_module_that_has_a_command_is_listed() -> None:
    """Catches a stage or a tool that nobody can find."""
    folder = Path(cli.__file__).parent
    commands = {
        path.stem
        for path in folder.glob("*.py")
        if "main" in {getattr(node, "name", "") for node in ast.parse(path.read_text()).body}
    }
    assert commands - {"cli"} == set(NAMES) and len(NAMES) == len(set(NAMES))


def test_an_unknown_command_is_a_bad_option() -> None:
    """Catches a traceback in place of a line."""
    done = CliRunner().invoke(cli.main, ["distil"])
    assert done.exit_code == 2 and "No such command 'distil'" in done.output

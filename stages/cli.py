"""The `decant` command: every stage and tool by name."""

import re
from importlib import import_module
from pathlib import Path

import click

_STAGES = (
    "prepare",
    "augment",
    "finetune",
    "generate",
    "capture",
    "select",
    "distill",
    "evaluate",
    "export",
    "report",
)
_TOOLS = (
    "check",
    "new",
    "preset",
    "recipe",
    "seeds",
    "plan",
    "inspect",
    "show",
    "verify",
    "repair",
    "coverage",
    "fetch",
    "push",
)

_MAIN = re.compile(r'^def main\([^"]*"""(.+?)(?:"""|\n\n)', re.M | re.S)
"""A command's function, up to the first paragraph of its docstring."""


class _Stages(click.Group):
    """Subcommands that are imported when they are run, and not to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_STAGES, *_TOOLS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(f"stages.{cmd_name}").main
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, names in (("Stages", _STAGES), ("Tools", _TOOLS)):
            with formatter.section(heading):
                formatter.write_dl([(name, _first_sentence(name)) for name in names])


def _first_sentence(name: str) -> str:
    """Return what a command says of itself, read from its source, which costs no import."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    docstring = _MAIN.search(source)
    assert docstring is not None, f"{name}.main has no docstring"
    return " ".join(docstring[1].split()).rstrip(".")


@click.group(cls=_Stages)
def main() -> None:
    """Run one stage by hand, in the project's folder; 'dvc repro' runs what is due."""

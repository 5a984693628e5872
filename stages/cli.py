"""The `decant` command: every stage and tool by name, and a check of params.yaml."""

from importlib import import_module

import click

from stages.entry import load_params, stage

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


class _Stages(click.Group):
    """Subcommands that are imported when they are run, because torch takes seconds."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*_STAGES, *_TOOLS, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in (*_STAGES, *_TOOLS):
            return super().get_command(context, name)
        command = import_module(f"stages.{name}").main
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Stages)
def main() -> None:
    """Run one stage by hand, in the project's folder; 'dvc repro' runs what is due."""


@main.command()
@stage("check")
def check() -> None:
    """Check params.yaml as a whole."""
    load_params()
    click.echo("params.yaml: no faults")

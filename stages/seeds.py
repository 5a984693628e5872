"""A student again with other seeds; no stage of the pipeline."""

import click

from pipeline.core.atomic import write_file
from pipeline.core.settings import PARAMS_PATH, parse_params, read_params_text
from pipeline.project.check import check_params
from pipeline.project.recipes import add_seeds
from stages.entry import load_params, stage


@click.command()
@click.argument("name")
@click.argument("seeds", type=click.IntRange(min=0, max=2**32 - 1), nargs=-1, required=True)
@stage("seeds")
def main(name: str, seeds: tuple[int, ...]) -> None:
    """Add to params.yaml, for each of SEEDS, a student that differs from NAME in its seed alone."""
    load_params()
    text, added = add_seeds(read_params_text(), name, seeds)
    if not added:
        click.echo("params.yaml: these students are there already")
        return
    check_params(parse_params(text))
    write_file(PARAMS_PATH, text.encode())
    for student in added:
        click.echo(f"params.yaml: students.{student}: added")
    click.echo(
        "'dvc repro' trains them, and runs nothing else but their evaluation and the report."
    )


if __name__ == "__main__":
    main()

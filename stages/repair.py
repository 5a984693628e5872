"""A teacher store without what is damaged in it."""

import os
from pathlib import Path

import click

from pipeline.store_tools.repair import repair_store
from stages.entry import stage
from stages.paths import STORE


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@click.option(
    "--absent", is_flag=True, help="Drop what was not fetched, too: nobody has it any more."
)
@stage("repair")
def main(store: Path, absent: bool) -> None:
    """Drop what is damaged from a teacher store, so that a capture computes it again."""
    repair = repair_store(store, n_threads=os.cpu_count() or 1, drops_absent=absent)
    if not repair.is_changed and not repair.damages:
        click.echo(f"repair: {store} is whole; nothing was changed")
        return
    for damage in repair.damages:
        click.echo(str(damage))
    for name in repair.left:
        click.echo(f"{name} was left where it is; move it out of the store")
    click.echo(
        f"repair: {store}: {len(repair.damages):,} faults; dropped {repair.n_segments:,} segments, "
        f"{repair.n_arrays:,} further arrays and {repair.n_teacher_files:,} teacher files. Run "
        "'dvc repro capture' to make them again."
    )


if __name__ == "__main__":
    main()

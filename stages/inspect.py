"""What a teacher store holds, from its manifest; no stage of the pipeline."""

from pathlib import Path

import click

from pipeline.core.atomic import json_bytes
from pipeline.store_tools.summary import describe_store, summarise_store
from stages.entry import stage
from stages.paths import STORE


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document with stable keys.")
@stage("inspect")
def main(store: Path, as_json: bool) -> None:
    """Say what STORE holds (default: artifacts/teacher_store); nothing is hashed."""
    summary = summarise_store(store)
    click.echo(json_bytes(summary).decode().rstrip() if as_json else describe_store(summary))


if __name__ == "__main__":
    main()

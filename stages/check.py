"""A check of params.yaml as a whole; no stage of the pipeline."""

import click

from stages.entry import load_params, stage


@click.command()
@stage("check")
def main() -> None:
    """Check params.yaml as a whole."""
    load_params()
    click.echo("params.yaml: no faults")


if __name__ == "__main__":
    main()

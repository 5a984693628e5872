"""What one student reads of the store: `artifacts/views/NAME.json`."""

import click

from pipeline.store.view import write_view
from pipeline.train.student_view import student_view
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, STORE, TOKENS, view_path


@click.command()
@click.argument("name")
@stage("select")
def main(name: str) -> None:
    """Write the view of the student NAME."""
    view = student_view(name, load_params(), STORE, TOKENS, AUGMENTED).view
    write_view(view_path(name), view)
    arrays = {array for segment in view.manifest.segments for array in segment.arrays}
    names = ", ".join(sorted(arrays))
    click.echo(f"select: {name} reads {names} of {len(view.manifest.segments)} segments")


if __name__ == "__main__":
    main()

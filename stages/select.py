"""What one student reads of the store: `artifacts/views/NAME.json`.

And what it is compared with when it is finished, `artifacts/shown/NAME.json`: all [CLS] states
and attention maps there are. That file changes with every layer that is captured; a student is
then compared again, and not trained again.
"""

import click

from pipeline.store.manifest import read_manifest
from pipeline.store.spec import parse_array_name
from pipeline.store.view import make_view, write_view
from pipeline.text.tokens import open_tokens
from pipeline.train.student import resolve_student
from stages.entry import load_params, stage, training_tokens
from stages.paths import STORE, TOKENS, shown_path, view_path


@click.command()
@click.argument("name")
@stage("select")
def main(name: str) -> None:
    """Write the view of the student NAME."""
    student = resolve_student(load_params(), name)
    view = student.view(STORE, training_tokens(student.settings))
    write_view(view_path(name), view)
    manifest = read_manifest(STORE)
    captured = map(parse_array_name, manifest.array_names())
    compared = {array for array in captured if array.setting in ("logits", "cls", "attentions")}
    shown = make_view(STORE, manifest, open_tokens(TOKENS), compared)
    made_with = shown.manifest.model_copy(update={"versions": manifest.versions})
    write_view(shown_path(name), shown.model_copy(update={"manifest": made_with}))
    arrays = {array for segment in view.manifest.segments for array in segment.arrays}
    names = ", ".join(sorted(arrays))
    click.echo(f"select: {name} reads {names} of {len(view.manifest.segments)} segments")


if __name__ == "__main__":
    main()

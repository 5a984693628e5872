"""What one student reads of the store: `artifacts/views/NAME.json`.

And what it is compared with when it is finished, `artifacts/shown/NAME.json`: all [CLS] states
and attention maps there are. That file changes with every layer that is captured; a student is
then compared again, and not trained again.
"""

import click

from pipeline.settings import faults_at, parse_section
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import LOGITS, parse_array_name
from pipeline.store.view import make_view, write_view
from pipeline.student.model import digest_start, model_of, models_of
from pipeline.text.augmented import open_training_tokens
from pipeline.text.tokens import open_tokens
from pipeline.train.settings import StudentSettings
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, STORE, TOKENS, shown_path, view_path


@click.command()
@click.argument("name")
@stage("select")
def main(name: str) -> None:
    """Write the view of the student NAME."""
    params = load_params()
    place = f"students.{name}"
    settings = parse_section(StudentSettings, params["students"].get(name), place)
    manifest = read_manifest(STORE)
    model = model_of(settings.model, place)
    with faults_at(place):
        needs = settings.objectives.needs(models_of(model, manifest))
    # Logits are always read: every student is compared with its teacher.
    arrays = needs.teacher | {LOGITS}
    tokens = open_training_tokens(TOKENS, AUGMENTED, is_augmented=settings.augmented)
    view = make_view(STORE, manifest, tokens, arrays, needs.other_stores, digest_start(model))
    write_view(view_path(name), view)
    captured = map(parse_array_name, manifest.array_names())
    compared = {array for array in captured if array.signal in ("logits", "cls", "attentions")}
    shown = make_view(STORE, manifest, open_tokens(TOKENS), compared)
    made_with = shown.manifest.model_copy(update={"versions": manifest.versions})
    write_view(shown_path(name), shown.model_copy(update={"manifest": made_with}))
    names = ", ".join(sorted(array.name for array in arrays))
    click.echo(f"select: {name} reads {names} of {len(view.manifest.segments)} segments")


if __name__ == "__main__":
    main()

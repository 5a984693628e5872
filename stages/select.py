"""What one student reads of the store: `artifacts/views/NAME.json`."""

import click

from pipeline.settings import faults_at, parse_section
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import LOGITS
from pipeline.store.view import make_view, write_view
from pipeline.student.model import digest_start, model_of, models_of
from pipeline.text.augmented import open_training_tokens
from pipeline.train.settings import StudentSettings
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, STORE, TOKENS, view_path


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
    names = ", ".join(sorted(array.name for array in arrays))
    click.echo(f"select: {name} reads {names} of {len(view.manifest.segments)} segments")


if __name__ == "__main__":
    main()

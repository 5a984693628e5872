"""A part of a store, and of what it is joined with, from DVC's remote; no stage."""

from pathlib import Path

import click

from pipeline.share.dvc_remote import is_tracked, pull
from pipeline.share.wanted import ALWAYS, array_paths, named_arrays, teacher_paths
from pipeline.store.manifest import read_manifest
from pipeline.train.student import resolve_student
from stages.entry import load_params, stage, training_tokens
from stages.paths import AUGMENTED, GENERATED, STORE, TOKENS


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@click.option("--for", "student", metavar="NAME", help="What this student of params.yaml reads.")
@click.option("--signal", "signals", multiple=True, help="An array, such as attentions/06.")
@click.option("--weights", is_flag=True, help="The teacher's weights, to start students from.")
@click.option("--remote", help="Another of DVC's remotes than the default one.")
@stage("fetch")
def main(
    store: Path, student: str | None, signals: tuple[str, ...], weights: bool, remote: str | None
) -> None:
    """Bring of STORE (default: artifacts/teacher_store) what is asked for, and nothing else."""
    if not (student or signals or weights):
        raise click.UsageError("say what: --for STUDENT, --signal ARRAY or --weights")
    base = [store / name for name in ALWAYS]
    if student:
        base += [folder for folder in (TOKENS, AUGMENTED, GENERATED) if is_tracked(folder)]
    n_files = pull(base, remote)
    manifest = read_manifest(store)
    parts = []
    try:
        parts.append(named_arrays(manifest, signals))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if student:
        chosen = resolve_student(load_params(), student)
        parts.append(chosen.view(store, training_tokens(chosen.settings)).manifest)
        weights = weights or chosen.model.reads_teacher_weights
    paths = {*teacher_paths(manifest, with_weights=weights)}
    for part in parts:
        paths.update(array_paths(manifest, part))
    n_files += pull([store / path for path in sorted(paths)], remote)
    names = sorted({name for part in parts for segment in part.segments for name in segment.arrays})
    what = [*names, *(["the teacher's weights"] if weights else [])]
    click.echo(f"fetch: {n_files:,} files came; {store} has {', '.join(what)}")


if __name__ == "__main__":
    main()

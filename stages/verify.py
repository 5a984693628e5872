"""Is the teacher store whole? Every byte of it is read."""

import os
from pathlib import Path

import click

from pipeline.core.errors import StoreDamagedError
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.store.files import absent_files
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store_tools.verify import verify_store
from pipeline.tasks import TASKS
from pipeline.teacher.stored_teacher import has_weights
from pipeline.text.joined import open_captured_tokens
from stages.entry import stage
from stages.paths import AUGMENTED, GENERATED, STORE, TEACHER, TOKENS


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@click.option("--recompute", "n_rows", type=click.IntRange(min=1), help="Rows to compute again.")
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="The teacher to compute them with (default: the store's own, or artifacts/teacher).",
)
@stage("verify")
def main(store: Path, n_rows: int | None, teacher: Path | None) -> None:
    """Check every byte of a teacher store, and name what is damaged."""
    if teacher is not None and n_rows is None:
        raise click.UsageError("--teacher goes with --recompute")
    _verify_bytes(store)
    if n_rows is not None:
        _recompute(store, teacher, n_rows)


def _verify_bytes(store: Path) -> None:
    damages = verify_store(store, n_threads=os.cpu_count() or 1)
    manifest = read_manifest(store)
    absent = absent_files(store, manifest)
    sizes = [record.size_bytes for name, record in manifest.files() if name not in absent.files]
    what = f"{len(sizes):,} files of {sum(sizes):,} bytes in {len(manifest.segments):,} segments"
    if not damages and not absent.is_partial:
        click.echo(f"verify: {store} is whole: {what}")
        return
    if not damages:
        click.echo(
            f"verify: {store} is partial, and what is here is whole: {what}. Not fetched: "
            f"{', '.join(absent.lines(manifest))}; '{absent.command(store)}' brings it."
        )
        return
    for damage in damages:
        click.echo(str(damage))
    raise StoreDamagedError(
        f"{store} is damaged: {len(damages):,} faults in {what}. Restore the files with 'dvc "
        f"checkout', or run 'decant repair {store}' and capture again."
    )


def _recompute(store: Path, teacher: Path | None, n_rows: int) -> None:
    from pipeline.teacher.recompute import recompute

    opened = open_store(store)
    carries_weights = has_weights(store / TEACHER_FOLDER)
    teacher_dir = teacher or (store / TEACHER_FOLDER if carries_weights else TEACHER)
    tokens = open_captured_tokens(TOKENS, AUGMENTED, GENERATED)
    task = TASKS[opened.manifest.identity.task]
    device = pick_device(RuntimeSettings())
    found = recompute(opened, teacher_dir, tokens, task, n_rows, device)
    for part in found:
        click.echo(
            f"verify: {part.array} of {part.n_rows:,} rows differs by up to {part.largest:.3g}, "
            f"{part.worst:.0%} of what rounding explains"
        )
    wrong = [part for part in found if not part.worst <= 1]
    if wrong:
        part = wrong[0]
        raise StoreDamagedError(
            f"{store} is not what {teacher_dir} computes: {part.array} of row {part.worst_row:,} "
            f"differs {part.worst:,.3g} times as much as rounding explains. Do not use it; ask who "
            "captured it."
        )


if __name__ == "__main__":
    main()

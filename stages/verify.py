"""Is the teacher store whole? Every byte of it is read."""

import os
from pathlib import Path

import click

from pipeline.errors import StoreDamagedError
from pipeline.store.manifest import read_manifest
from pipeline.store.presence import absent_files
from pipeline.store.verify import verify_store
from stages.entry import stage
from stages.paths import STORE


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@stage("verify")
def main(store: Path) -> None:
    """Check every byte of a teacher store, and name what is damaged."""
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


if __name__ == "__main__":
    main()

"""What another team needs of this project, to DVC's remote; no stage of the pipeline."""

import click

from pipeline.share.dvc_remote import push
from pipeline.store.files import check_whole
from pipeline.store.manifest import read_manifest
from stages.entry import stage
from stages.paths import AUGMENTED, GENERATED, STORE, TOKENS


@click.command()
@click.option("--remote", help="Another of DVC's remotes than the default one.")
@stage("push")
def main(remote: str | None) -> None:
    """Send the store, its tokens and their variants to a remote; the teacher stays here."""
    check_whole(STORE, read_manifest(STORE))
    parts = sorted(path for path in STORE.iterdir() if not path.name.startswith("."))
    tables = [TOKENS, AUGMENTED, *([GENERATED] if GENERATED.is_dir() else [])]
    n_files = push([*tables, *parts], remote)
    click.echo(f"push: {n_files:,} files went; commit dvc.lock, by which others find them")


if __name__ == "__main__":
    main()

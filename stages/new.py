"""A project for a user's own data, which uses the installed package; no stage of the pipeline."""

import codecs
from pathlib import Path

import click

from pipeline.project.check import check_params
from pipeline.project.create import Project, create_project
from pipeline.project.data import Columns
from stages.entry import stage

_MOST_LABELS_SHOWN = 20
_UNKNOWN_SHARE = 0.03
_LARGE_STORE_BYTES = 2e9


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file (CSV, TSV, JSON lines, Parquet), or a folder with train, validation and test.",
)
@click.option("--text", required=True, metavar="COLUMN", help="The column with the texts.")
@click.option("--text-pair", metavar="COLUMN", help="The second texts, of a task on pairs.")
@click.option("--label", required=True, metavar="COLUMN", help="The column with the labels.")
@click.option(
    "--teacher",
    metavar="CHECKPOINT",
    help="A folder or Hub id, in the place of the packaged English checkpoint.",
)
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Of CSV, TSV and JSON lines, which are copied as UTF-8.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Training rows to use at most, at first.",
)
@stage("new")
def main(
    folder: Path,
    data: Path,
    text: str,
    text_pair: str | None,
    label: str,
    teacher: str | None,
    encoding: str,
    max_rows: int,
) -> None:
    """Make a project in DIR for your own data: then 'cd DIR' and 'dvc repro'."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise click.UsageError(f"--encoding {encoding}: Python knows no such encoding") from None
    project = create_project(
        folder,
        data,
        Columns(text, label, text_pair),
        encoding=encoding,
        teacher=teacher,
        max_rows=max_rows,
        check=check_params,
    )
    _describe(project, folder, teacher)


def _describe(project: Project, folder: Path, teacher: str | None) -> None:
    counts = project.data.label_counts
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:_MOST_LABELS_SHOWN]]
    more = len(counts) - len(shown)
    click.echo(f"labels: {', '.join(shown)}{f' and {more:,} more' if more else ''}")
    sizes = {split: len(table) for split, table in project.data.corpus.items()}
    click.echo(f"rows: {', '.join(f'{split} {size:,}' for split, size in sizes.items())}")
    if project.n_kept < sizes["train"]:
        click.echo(
            f"sample: {project.n_kept:,} of the training rows are used, for a first run; take "
            "data.max_rows out of params.yaml for all of them"
        )
    sample = project.sample
    if sample.unknown_share > _UNKNOWN_SHARE:
        click.echo(
            f"unknown: {sample.unknown_share:.0%} of the tokens in {sample.n_texts:,} texts are "
            f"unknown to {teacher or 'the packaged teacher, which is English'}; make the project "
            "again with a checkpoint of their language, such as --teacher "
            "google-bert/bert-base-multilingual-cased"
        )
    if project.attention_bytes > _LARGE_STORE_BYTES:
        click.echo(
            f"space: attention maps will take about {project.attention_bytes / 1e9:.0f} GB; "
            "without them, take pkd-attention-3 and capture.signals.attentions out of params.yaml"
        )
    if not project.is_committed:
        click.echo("git: commit the new files with 'git add .' and 'git commit'")
    click.echo(f"Run 'cd {folder}', then 'dvc repro'.")


if __name__ == "__main__":
    main()

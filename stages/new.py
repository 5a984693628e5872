"""A project for a user's own data, which uses the installed package; no stage of the pipeline."""

import codecs
from pathlib import Path

import click

from pipeline.core.errors import SettingsError
from pipeline.project.check import check_params
from pipeline.project.create import Project, create_project
from pipeline.project.data import as_options, make_request
from pipeline.project.presets import find_preset
from pipeline.tasks import TASKS
from stages.entry import stage

_OF_MANY_LANGUAGES = "google-bert/bert-base-multilingual-cased"
_THAT_WRITES_MANY = "google/mt5-small"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file (CSV, TSV, JSON lines, Parquet, text, CoNLL), or a folder with train, validation, "
    "test and unlabelled ones.",
)
@click.option("--task", type=click.Choice(list(TASKS)), help="What is to be predicted.")
@click.option("--preset", metavar="NAME", help="A well-known data set; 'decant preset' lists them.")
@click.option("--text", metavar="COLUMN", help="The texts; of token_classification, their words.")
@click.option("--text-pair", metavar="COLUMN", help="The second texts, of a task on pairs.")
@click.option(
    "--label",
    metavar="COLUMN",
    multiple=True,
    help="The labels, numbers or answers; of multi_label, one column or several of 0 and 1.",
)
@click.option("--question", metavar="COLUMN", help="The questions about the texts.")
@click.option(
    "--choices",
    metavar="COLUMN",
    multiple=True,
    help="Of multiple_choice: the lists of choices, or each column of choices.",
)
@click.option("--target", metavar="COLUMN", help="The texts that are to be written.")
@click.option(
    "--answer-start", metavar="COLUMN", help="Where answers begin, if --label has their texts."
)
@click.option("--labels", metavar="NAMES", help="The labels' names, as 'negative,positive'.")
@click.option(
    "--label-separator", metavar="TEXT", help="Between the labels in a text, if not a comma."
)
@click.option("--unlabelled", metavar="VALUE", help="A label that says that there is none.")
@click.option(
    "--teacher",
    metavar="CHECKPOINT",
    help="A folder or Hub id, in the place of the packaged English encoder.",
)
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Of files of text, which are copied as UTF-8.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Training rows, and unlabelled ones, to use at most, at first.",
)
@stage("new")
def main(
    folder: Path,
    data: Path | None,
    task: str | None,
    preset: str | None,
    text: str | None,
    text_pair: str | None,
    label: tuple[str, ...],
    question: str | None,
    choices: tuple[str, ...],
    target: str | None,
    answer_start: str | None,
    labels: str | None,
    label_separator: str | None,
    unlabelled: str | None,
    teacher: str | None,
    encoding: str,
    max_rows: int,
) -> None:
    """Make a project in DIR for your own data: then 'cd DIR' and 'dvc repro'.

    Without --task it is a classification of texts. Each kind of task has columns of its own;
    what is missing is said.
    """
    named = {
        "text": text,
        "text_pair": text_pair,
        "label": label,
        "question": question,
        "choices": choices,
        "target": target,
        "answer_start": answer_start,
        "label_separator": label_separator,
        "unlabelled": unlabelled,
    }
    columns = {name: _one_or_several(value) for name, value in named.items() if value}
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise click.UsageError(f"--encoding {encoding}: Python knows no such encoding") from None
    try:
        request = make_request(
            task,
            None if preset is None else find_preset(preset),
            columns,
            None if labels is None else tuple(name.strip() for name in labels.split(",")),
            data,
            encoding,
        )
    except SettingsError as error:
        raise click.UsageError("\n".join(error.faults)) from None
    if request.task.writes and teacher is None:
        raise click.UsageError(
            f"--task {request.kind} needs --teacher, a checkpoint with an encoder and a decoder "
            "(T5, mT5, BART, mBART, Marian); the packaged one is an encoder"
        )
    project = create_project(
        folder, request, teacher=teacher, max_rows=max_rows, check=check_params
    )
    _describe(project, folder)


def _one_or_several(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _describe(project: Project, folder: Path) -> None:
    sizes, sample, name = project.sizes, project.sample, project.teacher.name
    click.echo(f"labels: {project.data.labels}")
    if project.data.remark is not None:
        click.echo(f"labels: {project.data.remark}")
    rows = {split: len(table) for split, table in project.data.corpus.items()}
    of_them = f", {sizes.n_unlabelled:,} of train unlabelled" if sizes.n_unlabelled else ""
    click.echo(f"rows: {', '.join(f'{split} {size:,}' for split, size in rows.items())}{of_them}")
    kept, n_rows = sizes.n_kept + sizes.n_unlabelled_kept, sizes.n_train + sizes.n_unlabelled
    if kept < n_rows:
        click.echo(
            f"sample: {kept:,} of the training rows are used, for a first run; take "
            "data.max_rows out of params.yaml for all of them"
        )
    writes = project.teacher.architecture.n_decoder_layers is not None
    for unknown in sample.unknown:
        if unknown.are_many:
            other = _THAT_WRITES_MANY if writes else _OF_MANY_LANGUAGES
            click.echo(f"unknown: {as_options(str(unknown))}, such as {other}")
    if not project.has_attentions:
        click.echo(
            f"space: attention maps would take about {project.attention_bytes / 1e9:.0f} GB, so "
            "none are captured; those who want them add capture.signals.attentions to params.yaml"
        )
    if name is not None and name.startswith(".."):
        click.echo(
            f"teacher: params.yaml names it as {name}, outside of the project; a clone needs it at "
            "the same place beside it"
        )
    if not project.is_committed:
        click.echo("git: commit the new files with 'git add .' and 'git commit'")
    click.echo(f"Run 'cd {folder}', then 'dvc repro'.")


if __name__ == "__main__":
    main()

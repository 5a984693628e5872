"""Texts to the token table: `artifacts/tokens`."""

from pathlib import Path
from time import perf_counter
from typing import Any

import click

from pipeline.core.atomic import replacing_folder
from pipeline.core.checkpoint import digest_small_files, find_checkpoint, load_tokenizer
from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_json
from pipeline.core.settings import parse_section
from pipeline.core.stamp import code_of, stamp_in
from pipeline.tasks import TASKS
from pipeline.tasks.tag_scheme import check_tags, stray_beginnings, tag_fault
from pipeline.tasks.task import TaskSettings
from pipeline.tasks.token_table import copy_tokens, write_tokens
from pipeline.text.corpus import DataSettings, digest_source, read_corpus
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from pipeline.text.unknown_tokens import count_unknown
from stages.entry import force_option, load_params, stage
from stages.paths import TOKENS
from stages.seconds import record_seconds

_LOSSES = {
    "n_words_dropped": "words dropped with their labels: the tokenizer leaves nothing of them",
    "n_words_cut": "words with their labels lost at the ends of rows; raise tokenizer.max_length",
    "n_answers_lost": "answers lost: they are longer than what two windows of their text share; "
    "raise tokenizer.stride",
    "n_target_texts_cut": "texts to be written cut to tokenizer.max_length word pieces",
    "n_choices_cut": "choices cut: with their question they are longer than tokenizer.max_length",
}
"""What is lost, by its count in the summary."""


@click.command()
@force_option
@stage("prepare")
def main(*, force: bool) -> None:
    """Read the data source, number the labels and tokenise everything once."""
    params = load_params()
    started = perf_counter()
    data = parse_section(DataSettings, params.get("data"), "data")
    settings = parse_section(TokenizerSettings, params.get("tokenizer"), "tokenizer")
    chosen = parse_section(TaskSettings, params.get("task"), "task")
    task = TASKS[chosen.kind].judged_by(chosen.metrics)
    counts_entities = "entity_f1" in task.metrics
    checkpoint = find_checkpoint(settings.checkpoint)
    inputs = {
        "data": digest_json([data.model_dump(mode="json"), digest_source(data)]),
        "task": digest_json([chosen.model_dump(exclude={"metrics"}), counts_entities]),
        "tokenizer": digest_json([settings.model_dump(), digest_small_files(checkpoint)]),
        "code": code_of("prepare"),
    }
    if not force and stamp_in(TOKENS).holds(inputs):
        click.echo("prepare: the tokens were made from exactly these inputs; kept as they are")
        return
    tokenizer = load_tokenizer(checkpoint)
    how = task.tokenising(tokenizer, settings, chosen.masking, checkpoint)
    with replacing_folder(TOKENS) as folder:
        if data.source == "tokens":
            summary = copy_tokens(Path(data.path), task, how, folder)
        else:
            corpus = read_corpus(data, task.read)
            mapping = data.names_by_value
            names = task.label_names(corpus, mapping)
            if counts_entities:
                check_tags(corpus, names, mapping)
            summary = write_tokens(corpus, task, names, mapping, how, folder)
        tokens = open_tokens(folder)
        if counts_entities and (fault := tag_fault(tokens.labels)):
            raise DataError(f"{data.path}: {fault}.")
        remarks = {
            split: [str(one) for one in count_unknown(tokens, split, tokenizer) if one.are_many]
            + [stray_beginnings(rows, tokens.labels) if counts_entities else ""]
            for split, rows in tokens.splits.items()
        }
        stamp_in(folder).write(inputs)
    record_seconds("prepare", started, summary["digest"])
    for split, counts in summary["splits"].items():
        click.echo(
            f"prepare: {split}: {counts['n_rows']:,} rows, {counts['n_tokens']:,} tokens, "
            f"{_labelled(counts)}, {counts['n_truncated']:,} cut to {how.max_length} tokens"
        )
        for name, fate in _LOSSES.items():
            if counts.get(name):
                click.echo(f"prepare: {split}: {counts[name]:,} {fate}")
        for remark in filter(None, remarks[split]):
            click.echo(f"prepare: {split}: {remark}")


def _labelled(counts: dict[str, Any]) -> str:
    if "n_questions" in counts:
        return f"{counts['n_labelled']:,} of {counts['n_questions']:,} questions labelled"
    if "n_targets" in counts:
        return f"{counts['n_labelled']:,} asking for {counts['n_targets']:,} word pieces"
    return f"{counts['n_labelled']:,} labelled"


if __name__ == "__main__":
    main()

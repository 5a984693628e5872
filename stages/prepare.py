"""Texts to the token table: `artifacts/tokens`."""

from pathlib import Path
from time import perf_counter

import click

from pipeline.atomic import replacing_folder
from pipeline.checkpoint import find_checkpoint, load_tokenizer
from pipeline.settings import parse_section
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.given_tokens import copy_tokens
from pipeline.text.labels import label_names
from pipeline.text.tokenise import TokenizerSettings, write_tokens
from stages.entry import load_params, stage
from stages.paths import TOKENS
from stages.seconds import record_seconds


@click.command()
@stage("prepare")
def main() -> None:
    """Read the data source, number the labels and tokenise everything once."""
    params = load_params()
    started = perf_counter()
    data = parse_section(DataSettings, params.get("data"), "data")
    settings = parse_section(TokenizerSettings, params.get("tokenizer"), "tokenizer")
    tokenizer = load_tokenizer(find_checkpoint(settings.checkpoint))
    with replacing_folder(TOKENS) as folder:
        if data.source == "tokens":
            summary = copy_tokens(Path(data.path), tokenizer, settings.max_length, folder)
        else:
            corpus = read_corpus(data)
            names = label_names(corpus, data.labels)
            length = settings.max_length
            summary = write_tokens(corpus, "name", names, data.labels, tokenizer, length, folder)
    record_seconds("prepare", started, summary["digest"])
    for split, counts in summary["splits"].items():
        click.echo(
            f"prepare: {split}: {counts['n_rows']:,} rows, {counts['n_tokens']:,} tokens, "
            f"{counts['n_labelled']:,} labelled, {counts['n_truncated']:,} cut to "
            f"{settings.max_length} tokens"
        )


if __name__ == "__main__":
    main()

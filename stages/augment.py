"""Variants of the training texts, for the teacher to label: `artifacts/augmented`."""

from time import perf_counter

import click

from pipeline.core.atomic import replacing_folder
from pipeline.core.checkpoint import find_checkpoint, load_tokenizer
from pipeline.core.settings import parse_section
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, TOKENS
from stages.seconds import record_seconds


@click.command()
@stage("augment")
def main() -> None:
    """Draw variants of every training text and tokenise them."""
    params = load_params()
    started = perf_counter()
    settings = parse_section(AugmentationSettings, params.get("augmentation"), "augmentation")
    checkpoint = parse_section(TokenizerSettings, params.get("tokenizer"), "tokenizer").checkpoint
    tokens = open_tokens(TOKENS)
    tokenizer = load_tokenizer(find_checkpoint(checkpoint))
    with replacing_folder(AUGMENTED) as folder:
        summary = augment(tokens, tokenizer, settings, folder)
    record_seconds("augment", started, summary["digest"])
    if settings.n_copies:
        click.echo(
            f"augment: {summary['splits']['train']['n_rows']:,} variants of "
            f"{len(tokens.splits['train']):,} training rows"
        )
    else:
        click.echo("augment: off (augmentation.n_copies is 0)")


if __name__ == "__main__":
    main()

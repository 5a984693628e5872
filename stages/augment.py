"""Variants of the training texts, for the teacher to label: `artifacts/augmented`."""

import click

from pipeline.atomic import replacing_folder
from pipeline.checkpoint import find_checkpoint, load_tokenizer
from pipeline.settings import parse_section
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from stages.entry import load_params, stage
from stages.paths import AUGMENTED, TOKENS


@click.command()
@stage("augment")
def main() -> None:
    """Draw variants of every training text and tokenise them."""
    params = load_params()
    settings = parse_section(AugmentationSettings, params.get("augmentation"), "augmentation")
    checkpoint = parse_section(TokenizerSettings, params.get("tokenizer"), "tokenizer").checkpoint
    tokens = open_tokens(TOKENS)
    tokenizer = load_tokenizer(find_checkpoint(checkpoint))
    with replacing_folder(AUGMENTED) as folder:
        summary = augment(tokens, tokenizer, settings, folder)
    if settings.n_copies:
        click.echo(
            f"augment: {summary['splits']['train']['n_rows']:,} variants of "
            f"{len(tokens.splits['train']):,} training rows"
        )
    else:
        click.echo("augment: off (augmentation.n_copies is 0)")


if __name__ == "__main__":
    main()

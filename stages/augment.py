"""Variants of the training texts, for the teacher to label: `artifacts/augmented`."""

from time import perf_counter

import click

from pipeline.core.atomic import replacing_folder
from pipeline.core.checkpoint import find_checkpoint, load_tokenizer
from pipeline.core.fingerprint import digest_json
from pipeline.core.settings import parse_section
from pipeline.core.stamp import code_of, stamp_in
from pipeline.tasks import task_of
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.tokenise import TokenizerSettings, write_no_variants
from pipeline.text.tokens import open_tokens
from stages.entry import force_option, load_params, stage
from stages.paths import AUGMENTED, TOKENS
from stages.seconds import record_seconds


@click.command()
@force_option
@stage("augment")
def main(*, force: bool) -> None:
    """Draw variants of every training text and tokenise them."""
    params = load_params()
    started = perf_counter()
    settings = parse_section(AugmentationSettings, params.get("augmentation"), "augmentation")
    checkpoint = parse_section(TokenizerSettings, params.get("tokenizer"), "tokenizer").checkpoint
    tokens = open_tokens(TOKENS)
    is_on = settings.n_copies > 0
    inputs = {
        "tokens": tokens.digest,
        "settings": digest_json(settings.model_dump(mode="json")) if is_on else "",
        "code": code_of("augment"),
    }
    if force or not stamp_in(AUGMENTED).holds(inputs):
        with replacing_folder(AUGMENTED) as folder:
            if is_on:
                tokenizer = load_tokenizer(find_checkpoint(checkpoint))
                summary = augment(tokens, task_of(tokens), tokenizer, settings, folder)
            else:
                summary = write_no_variants(tokens, task_of(tokens), folder)
            stamp_in(folder).write(inputs)
        record_seconds("augment", started, summary["digest"])
        outcome = (
            f"{summary['splits']['train']['n_rows']:,} variants of "
            f"{len(tokens.splits['train']):,} training rows"
        )
    else:
        outcome = "the variants were made from exactly these inputs; kept as they are"
    click.echo(f"augment: {outcome if is_on else 'off (augmentation.n_copies is 0)'}")


if __name__ == "__main__":
    main()

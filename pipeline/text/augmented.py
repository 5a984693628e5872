"""A token table together with the variants of its training rows.

The variants are a token table of their own that names its source by digest, so that
a table is never joined with the variants of another.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.core.fingerprint import digest_json
from pipeline.text.generated import (
    TargetsOf,
    open_generated,
    with_generated,
    with_generated_last,
)
from pipeline.text.joined import check_source, join_splits
from pipeline.text.tokens import Tokens, TokenSplit, open_tokens

AUGMENTED = "augmented"
"""The split of the variants in what is captured."""


def open_training_tokens(
    tokens_dir: Path,
    augmented_dir: Path,
    generated_dir: Path,
    *,
    is_augmented: bool,
    targets: TargetsOf,
) -> Tokens:
    """Open a token table as a student is trained on it: with its variants or without.

    Of texts to be written, `targets` says whose are right.

    Raises:
        DataError: a folder is not a token table, or was made from another one.
    """
    tokens = open_tokens(tokens_dir)
    if targets != "data":
        return with_generated(tokens, open_generated(generated_dir), targets)
    if not is_augmented:
        return tokens
    return with_augmented(tokens, open_tokens(augmented_dir, made_by="augment"))


def open_captured_tokens(tokens_dir: Path, augmented_dir: Path, generated_dir: Path) -> Tokens:
    """Open a token table as it is captured.

    With its variants, and the texts that the teacher wrote, where there are folders of them.

    Raises:
        DataError: a folder is not a token table, or was made from another one.
    """
    tokens = open_tokens(tokens_dir)
    varied = written = tokens  # never both: texts that others are written for are not varied
    if augmented_dir.is_dir():
        varied = with_augmented_last(tokens, open_tokens(augmented_dir, made_by="augment"))
    if generated_dir.is_dir():
        written = with_generated_last(tokens, open_generated(generated_dir))
    return varied if written is tokens else written


def with_augmented(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants behind the rows of the training split, to train on.

    The digest is one of both. Without variants the result is `tokens` themselves. The
    training split is copied into memory.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    check_source(tokens, augmented, "augmented rows", made_by="augment")
    variants = augmented.splits["train"]
    if not len(variants):
        return tokens
    train = join_splits(tokens.splits["train"], variants)
    return _with_splits(tokens, augmented, {"train": train})


def with_augmented_last(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants as a split behind all others, to capture.

    So a store has them in its last segments, which a student that does not train on them
    never reads. The digest is as in `with_augmented`; nothing is copied.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    check_source(tokens, augmented, "augmented rows", made_by="augment")
    variants = augmented.splits["train"]
    if not len(variants):
        return tokens
    return _with_splits(tokens, augmented, {AUGMENTED: variants})


def _with_splits(tokens: Tokens, augmented: Tokens, changed: dict[str, TokenSplit]) -> Tokens:
    digest = digest_json({"tokens": tokens.digest, "augmented": augmented.digest})
    return replace(tokens, splits={**tokens.splits, **changed}, digest=digest)

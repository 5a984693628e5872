"""A token table together with the texts that the teacher wrote for its rows.

These are a token table of their own, with the same sources and other target texts, which names
the table that it was made from.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_json
from pipeline.text.joined import check_source, join_splits
from pipeline.text.tokens import Tokens, TokenSplit, open_tokens

GENERATED = "generated"
"""The split of the teacher's texts for training rows in what is captured."""

TargetsOf = Literal["data", "teacher", "both"]
"""Whose texts a student learns to write."""


def open_generated(folder: Path) -> Tokens:
    """Open the table of the teacher's texts.

    Raises:
        DataError: the folder is not a token table.
    """
    return open_tokens(folder, made_by="generate")


def with_generated(tokens: Tokens, generated: Tokens, targets: TargetsOf) -> Tokens:
    """Return `tokens` to train on, with the teacher's texts in place of the data's or behind them.

    Raises:
        DataError: `generated` was not made from these `tokens`, or has none for training rows.
    """
    check_source(tokens, generated, "teacher's texts", made_by="generate")
    if targets == "data":
        return tokens
    written = generated.splits.get("train")
    if written is None or not len(written):
        raise DataError(
            "the teacher has written no text for the training rows. Add train to "
            "generation.splits and run 'dvc repro generate'."
        )
    train = join_splits(tokens.splits["train"], written) if targets == "both" else written
    return _with_split(tokens, generated, "train", train, targets)


def with_generated_last(tokens: Tokens, generated: Tokens) -> Tokens:
    """Return `tokens` with the texts for training rows as a split behind all others, to capture.

    Raises:
        DataError: `generated` was not made from these `tokens`.
    """
    check_source(tokens, generated, "teacher's texts", made_by="generate")
    written = generated.splits.get("train")
    if written is None or not len(written):
        return tokens
    return _with_split(tokens, generated, GENERATED, written, "both")


def _with_split(
    tokens: Tokens, generated: Tokens, name: str, split: TokenSplit, targets: TargetsOf
) -> Tokens:
    digest = digest_json(
        {"tokens": tokens.digest, "generated": generated.digest, "targets": targets}
    )
    return replace(tokens, splits={**tokens.splits, name: split}, digest=digest)

"""A token table together with the variants of its training rows.

The variants are a token table of their own that names its source by digest, so that
a table is never joined with the variants of another.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.fingerprint import digest_json
from pipeline.text.tokens import Tokens, TokenSplit, open_tokens

AUGMENTED = "augmented"
"""The split of the variants in what is captured."""


def open_training_tokens(tokens_dir: Path, augmented_dir: Path, *, is_augmented: bool) -> Tokens:
    """Open a token table as a student is trained on it: with its variants or without.

    Raises:
        DataError: a folder is not a token table, or the variants are of another table.
    """
    tokens = open_tokens(tokens_dir)
    if not is_augmented:
        return tokens
    return with_augmented(tokens, open_tokens(augmented_dir, made_by="augment"))


def open_captured_tokens(tokens_dir: Path, augmented_dir: Path) -> Tokens:
    """Open a token table as it is captured, with its variants where there is a folder of them.

    Raises:
        DataError: a folder is not a token table, or the variants are of another table.
    """
    tokens = open_tokens(tokens_dir)
    if not augmented_dir.is_dir():
        return tokens
    return with_augmented_last(tokens, open_tokens(augmented_dir, made_by="augment"))


def with_augmented(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants behind the rows of the training split, to train on.

    The digest is one of both. Without variants the result is `tokens` themselves. The
    training split is copied into memory.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    check_augmented(tokens, augmented)
    variants = augmented.splits["train"]
    if not len(variants):
        return tokens
    train = _join(tokens.splits["train"], variants)
    return _with_splits(tokens, augmented, {"train": train})


def with_augmented_last(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants as a split behind all others, to capture.

    So a store has them in its last segments, which a student that does not train on them
    never reads. The digest is as in `with_augmented`; nothing is copied.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    check_augmented(tokens, augmented)
    variants = augmented.splits["train"]
    if not len(variants):
        return tokens
    return _with_splits(tokens, augmented, {AUGMENTED: variants})


def _with_splits(tokens: Tokens, augmented: Tokens, changed: dict[str, TokenSplit]) -> Tokens:
    digest = digest_json({"tokens": tokens.digest, "augmented": augmented.digest})
    return replace(tokens, splits={**tokens.splits, **changed}, digest=digest)


def check_augmented(tokens: Tokens, augmented: Tokens) -> None:
    """Check that a table holds variants of the rows of another.

    Raises:
        DataError: it does not; says in what they differ.
    """
    pairs = {
        "source": (augmented.source, tokens.digest),
        "tokenizer": (augmented.tokenizer, tokens.tokenizer),
        "labels": (augmented.labels, tokens.labels),
        "max_length": (augmented.max_length, tokens.max_length),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise DataError(
                f"the augmented rows are not of this token table: they have {name} "
                f"{_brief(found)}, the table has {_brief(expected)}. Run 'dvc repro augment'."
            )


def _brief(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)


def _join(first: TokenSplit, second: TokenSplit) -> TokenSplit:
    return TokenSplit(
        keys=np.concatenate([first.keys, second.keys]),
        offsets=_joined(first.offsets, second.offsets),
        input_ids=np.concatenate([first.input_ids, second.input_ids]),
        token_type_ids=np.concatenate([first.token_type_ids, second.token_type_ids]),
        labels=np.concatenate([first.labels, second.labels]),
        label_offsets=_joined(first.label_offsets, second.label_offsets),
        first_rows=_joined(first.first_rows, second.first_rows),
        table=pa.concat_tables([first.table, second.table]),
    )


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets of both, one behind the other."""
    return np.concatenate([first, first[-1] + second[1:]])

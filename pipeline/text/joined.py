"""A token table together with rows that were made from its own: variants, or the teacher's texts.

Both are token tables of their own that name their source by digest, so that a table is never
joined with rows of another. Variants (`augment`) are unlabelled; the teacher's texts (`generate`)
have the same sources and other target texts.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_json
from pipeline.text.tokens import Tokens, TokenSplit, open_tokens

AUGMENTED = "augmented"
"""The split of the variants in what is captured."""
GENERATED = "generated"
"""The split of the teacher's texts for training rows in what is captured."""

TargetsOf = Literal["data", "teacher", "both"]
"""Whose texts a student learns to write."""


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


def open_generated(folder: Path) -> Tokens:
    """Open the table of the teacher's texts.

    Raises:
        DataError: the folder is not a token table.
    """
    return open_tokens(folder, made_by="generate")


def with_augmented(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants behind the rows of the training split, to train on.

    The digest is one of both. Without variants the result is `tokens` themselves. The
    training split is copied into memory.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    variants = _variants(tokens, augmented)
    if variants is None:
        return tokens
    train = join_splits(tokens.splits["train"], variants)
    return _with_split(tokens, "train", train, {"augmented": augmented.digest})


def with_augmented_last(tokens: Tokens, augmented: Tokens) -> Tokens:
    """Return `tokens` with the variants as a split behind all others, to capture.

    So a store has them in its last segments, which a student that does not train on them
    never reads. The digest is as in `with_augmented`; nothing is copied.

    Raises:
        DataError: `augmented` was not made from these `tokens`.
    """
    variants = _variants(tokens, augmented)
    if variants is None:
        return tokens
    return _with_split(tokens, AUGMENTED, variants, {"augmented": augmented.digest})


def with_generated(tokens: Tokens, generated: Tokens, targets: TargetsOf) -> Tokens:
    """Return `tokens` to train on, with the teacher's texts in place of the data's or behind them.

    Raises:
        DataError: `generated` was not made from these `tokens`, or has none for training rows.
    """
    written = _written(tokens, generated)
    if targets == "data":
        return tokens
    if written is None:
        raise DataError(
            "the teacher has written no text for the training rows. Add train to "
            "generation.splits and run 'dvc repro generate'."
        )
    train = join_splits(tokens.splits["train"], written) if targets == "both" else written
    return _with_split(tokens, "train", train, {"generated": generated.digest, "targets": targets})


def with_generated_last(tokens: Tokens, generated: Tokens) -> Tokens:
    """Return `tokens` with the texts for training rows as a split behind all others, to capture.

    Raises:
        DataError: `generated` was not made from these `tokens`.
    """
    written = _written(tokens, generated)
    if written is None:
        return tokens
    return _with_split(
        tokens, GENERATED, written, {"generated": generated.digest, "targets": "both"}
    )


def _variants(tokens: Tokens, augmented: Tokens) -> TokenSplit | None:
    check_source(tokens, augmented, "augmented rows", made_by="augment")
    variants = augmented.splits["train"]
    return variants if len(variants) else None


def _written(tokens: Tokens, generated: Tokens) -> TokenSplit | None:
    check_source(tokens, generated, "teacher's texts", made_by="generate")
    written = generated.splits.get("train")
    return written if written is not None and len(written) else None


def _with_split(
    tokens: Tokens, name: str, split: TokenSplit, made_from: Mapping[str, str]
) -> Tokens:
    digest = digest_json({"tokens": tokens.digest, **made_from})
    return replace(tokens, splits={**tokens.splits, name: split}, digest=digest)


def check_source(tokens: Tokens, made: Tokens, called: str, *, made_by: str) -> None:
    """Check that the rows of a table were made from those of another.

    `called` is what messages call them, `made_by` the stage that makes them.

    Raises:
        DataError: they were not; says in what they differ.
    """
    pairs = {
        "source": (made.source, tokens.digest),
        "tokenizer": (made.tokenizer, tokens.tokenizer),
        "labels": (made.labels, tokens.labels),
        "max_length": (made.max_length, tokens.max_length),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise DataError(
                f"the {called} are not of this token table: they have {name} "
                f"{_brief(found)}, the table has {_brief(expected)}. Run 'dvc repro {made_by}'."
            )


def _brief(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)


def join_splits(first: TokenSplit, second: TokenSplit) -> TokenSplit:
    """Return the rows of both, one behind the other, copied into memory."""
    return TokenSplit(
        keys=np.concatenate([first.keys, second.keys]),
        offsets=_joined(first.offsets, second.offsets),
        input_ids=np.concatenate([first.input_ids, second.input_ids]),
        token_type_ids=np.concatenate([first.token_type_ids, second.token_type_ids]),
        labels=np.concatenate([first.labels, second.labels]),
        label_offsets=_joined(first.label_offsets, second.label_offsets),
        first_rows=_joined(first.first_rows, second.first_rows),
        table=pa.concat_tables([first.table, second.table]),
        masked=_of_both(first.masked, second.masked),
        decoder_ids=_of_both(first.decoder_ids, second.decoder_ids),
    )


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets of both, one behind the other."""
    return np.concatenate([first, first[-1] + second[1:]])


def _of_both(
    first: NDArray[np.int32] | None, second: NDArray[np.int32] | None
) -> NDArray[np.int32] | None:
    return None if first is None or second is None else np.concatenate([first, second])

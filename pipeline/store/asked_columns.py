"""Which word pieces a tokenised example asks for, from the columns that Transformers trains on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.text.token_row import PiecesAsked
from pipeline.text.tokens import IGNORED


def asked_columns(task: str) -> tuple[str, ...]:
    """Return the columns that say so; none for a task that predicts no token ids."""
    if TASKS[task].writes:
        return ("labels", "decoder_input_ids")
    return ("labels",) if TASKS[task].masks else ()


def asked_of(
    example: Mapping[str, Any],
    number: int,
    task: str,
    is_real: NDArray[np.bool_],
    decoder_start: int | None,
) -> PiecesAsked | None:
    """Return the word pieces that an example asks for; None of a task that asks for none.

    `number` is the example's, for messages. `is_real` says which of its `input_ids` are no
    padding. `labels` are -100 where nothing is asked for: of a masked language model one for
    each of the `input_ids`, of a sequence to sequence the pieces to be written. What the decoder
    is given then is in `decoder_input_ids`; without these, it is `decoder_start` and then the
    labels, each one place later.

    Raises:
        DataError: the columns that say so are missing, or are not as long as each other.
    """
    if not asked_columns(task):
        return None
    if example.get("labels") is None:
        raise DataError(
            f"example {number:,} has no 'labels', and a store of {task} is looked up by the "
            "pieces that are asked for, too. Add the labels that Transformers trains with, -100 "
            "where nothing is asked for."
        )
    labels = np.asarray(example["labels"], dtype=np.int64)
    if TASKS[task].masks:
        _check_length(number, "labels", labels, "input_ids", len(is_real))
        labels = labels[is_real]
        masked = np.flatnonzero(labels != IGNORED)
        return PiecesAsked(labels[masked].astype(np.int32), masked=masked.astype(np.int32))
    is_asked = labels != IGNORED
    pieces = labels[is_asked].astype(np.int32)
    if example.get("decoder_input_ids") is not None:
        given = np.asarray(example["decoder_input_ids"], dtype=np.int32)
        _check_length(number, "decoder_input_ids", given, "labels", len(labels))
        return PiecesAsked(pieces, decoder_ids=given[is_asked])
    if decoder_start is None:
        raise DataError(
            f"example {number:,} has no 'decoder_input_ids'. Add them, or say with which token "
            "the decoder begins (decoder_start)."
        )
    given = np.array([decoder_start, *pieces], dtype=np.int32)[: len(pieces)]
    return PiecesAsked(pieces, decoder_ids=given)


def _check_length(
    number: int, name: str, values: NDArray[np.integer], beside: str, n_wanted: int
) -> None:
    if len(values) != n_wanted:
        raise DataError(
            f"example {number:,} has {len(values):,} {name} for {n_wanted:,} {beside}. Give "
            "one for each of them."
        )

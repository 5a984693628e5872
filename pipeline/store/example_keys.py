"""The keys by which a store's rows are found, from examples that anyone has tokenised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.tasks import TASKS
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.token_row import PiecesAsked, TokenRow
from pipeline.text.tokens import IGNORED

Examples: TypeAlias = Dataset | Sequence[Mapping[str, Any]]
"""A Hugging Face dataset, or anything that gives one tokenised example for each number."""

_COLUMNS = ("input_ids", "token_type_ids", "attention_mask")
_ROWS_PER_READ = 1000


def asked_columns(task: str) -> tuple[str, ...]:
    """Return the columns that say which token ids a row asks for; none for most tasks."""
    if TASKS[task].writes:
        return ("labels", "decoder_input_ids")
    return ("labels",) if TASKS[task].masks else ()


def keys_of(
    examples: Examples, task: str = CLASSIFICATION.kind, *, decoder_start: int | None = None
) -> NDArray[np.void]:
    """Return the key of every example, 16 raw bytes each.

    An example has `input_ids` with special tokens, cut to the store's length limit, and
    `token_type_ids` where the tokenizer gives them (zeros otherwise). Where it has an
    `attention_mask`, tokens of mask 0 are padding and do not count.

    `task` is the store's (`manifest.identity.task`). Where it predicts word pieces, those that
    are asked for count, too: `labels`, -100 where there is none, and of a sequence to sequence
    `decoder_input_ids` or, where there are none, the token that the decoder begins with.

    Raises:
        DataError: an example does not say which word pieces are asked for.
    """
    columns = _COLUMNS + asked_columns(task)
    keys = [
        _row(example, number, task, decoder_start).key()
        for number, example in enumerate(_columns_read(examples, columns))
    ]
    return np.array(keys, dtype=f"V{KEY_BYTES}")


def _row(example: Mapping[str, Any], number: int, task: str, decoder_start: int | None) -> TokenRow:
    input_ids = np.asarray(example["input_ids"], dtype=np.int32)
    type_ids = np.asarray(example.get("token_type_ids", np.zeros_like(input_ids)), dtype=np.int32)
    is_real = np.asarray(example.get("attention_mask", np.ones_like(input_ids))) != 0
    asked = _asked_of(example, number, task, is_real, decoder_start)
    return TokenRow(input_ids[is_real], type_ids[is_real], asked)


def _columns_read(examples: Examples, columns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield at least these columns, where there are any; a dataset's others are not read."""
    if not isinstance(examples, Dataset):
        for index in range(len(examples)):
            yield examples[index]
        return
    names = [name for name in columns if name in examples.column_names]
    chosen = examples.select_columns(names).with_format("arrow")
    for table in chosen.iter(batch_size=_ROWS_PER_READ):
        yield from table.to_pylist()


def _asked_of(
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

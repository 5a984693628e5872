"""The keys by which a store's rows are found, from examples that anyone has tokenised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pipeline.core.fingerprint import KEY_BYTES
from pipeline.store.asked_columns import asked_columns, asked_of
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.token_row import TokenRow

Examples: TypeAlias = Dataset | Sequence[Mapping[str, Any]]
"""A Hugging Face dataset, or anything that gives one tokenised example for each number."""

_COLUMNS = ("input_ids", "token_type_ids", "attention_mask")
_ROWS_PER_READ = 1000


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
    asked = asked_of(example, number, task, is_real, decoder_start)
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

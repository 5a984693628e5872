"""The keys by which a store's rows are found, from examples that anyone has tokenised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pipeline.fingerprint import KEY_BYTES, row_key

Examples: TypeAlias = Dataset | Sequence[Mapping[str, Any]]
"""A Hugging Face dataset, or anything that gives one tokenised example for each number."""

_COLUMNS = ("input_ids", "token_type_ids", "attention_mask")
_ROWS_PER_READ = 1000


def keys_of(examples: Examples) -> NDArray[np.void]:
    """Return the key of every example, 16 raw bytes each.

    An example has `input_ids` with special tokens, cut to the store's length limit, and
    `token_type_ids` where the tokenizer gives them (zeros otherwise). Where it has an
    `attention_mask`, tokens of mask 0 are padding and do not count.
    """
    keys = [_key(example) for example in _token_columns(examples)]
    return np.array(keys, dtype=f"V{KEY_BYTES}")


def _key(example: Mapping[str, Any]) -> bytes:
    input_ids = np.asarray(example["input_ids"])
    type_ids = np.asarray(example.get("token_type_ids", np.zeros_like(input_ids)))
    if "attention_mask" in example:
        is_real = np.asarray(example["attention_mask"]) != 0
        input_ids, type_ids = input_ids[is_real], type_ids[is_real]
    return row_key(input_ids, type_ids)


def _token_columns(examples: Examples) -> Iterator[Mapping[str, Any]]:
    """Yield at least the columns that count; a dataset's others are not read."""
    if not isinstance(examples, Dataset):
        for index in range(len(examples)):
            yield examples[index]
        return
    names = [name for name in _COLUMNS if name in examples.column_names]
    columns = examples.select_columns(names).with_format("arrow")
    for table in columns.iter(batch_size=_ROWS_PER_READ):
        yield from table.to_pylist()

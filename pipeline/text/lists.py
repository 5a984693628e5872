"""Columns of lists: their values changed while their lengths stay."""

import numpy as np
import pyarrow as pa


def as_lists(column: pa.ChunkedArray) -> pa.ListArray:
    """Return a column of lists of any kind as one array of plain lists."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type):
        return array
    return array.cast(pa.list_(array.type.value_type))


def lists_of(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Return lists as long as `lists`, of other values; null where they are null.

    `values` are in the place of `lists.flatten()`.
    """
    lengths = np.asarray(lists.value_lengths().fill_null(0), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=lists.is_null())

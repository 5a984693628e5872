"""Arrow columns as arrays in one piece, and as NumPy's.

pyarrow imports pandas, where it is installed, whenever it makes an array of Python objects or turns
one into NumPy's: half a second for each process. What is here does without.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def as_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return numbers without nulls as an array, read-only and without a copy where they are plain.

    Raises:
        pa.ArrowException: there are nulls, or other things than numbers and truth values.
    """
    if isinstance(column, pa.ChunkedArray):
        column = in_one(column)
    if column.null_count:  # NumPy would ask again in an older way, which warns
        raise pa.ArrowInvalid(f"{column.null_count} of {len(column)} values are null")
    if pa.types.is_boolean(column.type):
        return np.from_dlpack(column.cast(pa.uint8())).astype(np.bool_)
    return np.from_dlpack(column)


def in_one(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, copied where it is in several."""
    return column.combine_chunks() if column.num_chunks else pa.nulls(0, column.type)


def empty_table(schema: pa.Schema) -> pa.Table:
    """Return a table without rows."""
    return pa.Table.from_batches([], schema)

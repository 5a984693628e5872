"""Arrow columns as NumPy arrays."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def as_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return numbers without nulls as an array, read-only and without a copy where they are plain.

    Arrow's own conversion, which `np.asarray` calls, imports pandas where it is installed, at half
    a second for each process.

    Raises:
        pa.ArrowException: there are nulls, or other things than numbers and truth values.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_boolean(column.type):
        return np.from_dlpack(column.cast(pa.uint8())).astype(np.bool_)
    return np.from_dlpack(column)

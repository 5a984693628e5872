"""Labels that are numbers to be predicted."""

import math

import pyarrow as pa

from pipeline.core.errors import DataError


def number_labels(labels: pa.ChunkedArray, split: str) -> pa.Array:
    """Return labels as floats, not a number where there is none.

    Raises:
        DataError: a label that is no number, or is infinite.
    """
    return pa.array(
        [_number(value, row, split) for row, value in enumerate(labels.to_pylist(), start=1)],
        pa.float64(),
    )


def _number(value: float | str | None, row: int, split: str) -> float:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise DataError(
            f"{split}: the label of row {row} is '{value}'; a regression needs finite numbers. "
            "Correct it, or set data.columns.label to another column."
        )
    return number

"""Labels that are numbers to be predicted."""

import math
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

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


def check_marks(labels: Mapping[str, pa.Array]) -> None:
    """Refuse a split that holds nothing but -1 where training labels are never negative.

    Data sets write it where labels are kept secret.

    Raises:
        DataError: names the split, and how to say that its rows have no label.
    """
    known = {split: column.filter(pc.invert(pc.is_nan(column))) for split, column in labels.items()}
    if not len(known["train"]) or pc.min(known["train"]).as_py() < 0:
        return
    for split, numbers in known.items():
        if len(numbers) and pc.all(pc.equal(numbers, -1)).as_py():
            raise DataError(
                f"{split}: each of the {len(numbers):,} labels is -1, but no training label is "
                'negative. Set data.columns.unlabelled to "-1" if these rows have no label.'
            )


def _number(value: float | str | None, row: int, split: str) -> float:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise DataError(
            f"{split}: the label of row {row} is '{value}'; a regression needs finite numbers. "
            "Correct it, set data.columns.unlabelled to what says that there is none, or "
            "data.columns.label to another column; names are read by task.kind: classification."
        )
    return number

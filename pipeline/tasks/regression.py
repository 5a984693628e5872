"""A number for each text or pair of texts, such as how alike the two are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy, in_one
from pipeline.core.errors import DataError
from pipeline.tasks.columns import Columns
from pipeline.tasks.task import Task
from pipeline.text.columns import ColumnSettings, as_float, without_blanks, without_mark
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source


@final
@dataclass(frozen=True)
class Regression(Task):
    """A number for each text or pair of texts.

    In the source a number, or a string that is to be one; in the table a float, not a number
    where there is none.
    """

    metrics: tuple[str, ...] = ("pearson", "spearman", "mean_squared_error")

    kind = "regression"
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "regression"
    predicts = "row"
    predicts_numbers = True
    columns = Columns(("text", "label"), ("text_pair", "unlabelled"))
    label_kind = "number"
    label_type = pa.float64()

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return floats, or strings that are to be numbers."""
        (theirs,) = self.label_columns(columns)
        column = source.column("label", theirs)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            return without_mark(column.cast(pa.float64(), safe=False), columns.unlabelled)
        strings = without_blanks(source.strings("label", theirs))
        mark = as_float(columns.unlabelled)
        if mark is None:
            return without_mark(strings, columns.unlabelled)
        # A mark is one however it is written: -1 or -1.0.
        read = strings.to_pylist()
        return pa.array([None if as_float(text) == mark else text for text in read], pa.string())

    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return the name of the one output."""
        return ["score"]

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return floats, not a number where there is no label.

        Raises:
            DataError: a label that is no number, or is infinite; or a split that holds nothing but
                -1 where training labels are never negative.
        """
        encoded = {
            split: pa.array(
                [_number(value, row, split) for row, value in enumerate(labels, start=1)],
                pa.float64(),
            )
            for split, labels in (
                (split, table["label"].to_pylist()) for split, table in corpus.items()
            )
        }
        _check_marks(encoded)
        return encoded

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each row whether it has a number."""
        return np.asarray(~np.isnan(as_numpy(encoded)))

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return the range of the numbers."""
        numbers = as_numpy(encoded)
        numbers = numbers[~np.isnan(numbers)]
        low, mean, high = numbers.min(), numbers.mean(), numbers.max()
        return (
            f"numbers from {low:g} to {high:g}, {mean:.3g} on average, of {len(numbers):,} of "
            f"{len(train):,} rows"
        )

    def describe_labels(self, table: pa.Table, names: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return how many rows are labelled, and the range of their labels."""
        numbers = as_numpy(in_one(table["label"]))
        numbers = numbers[~np.isnan(numbers)]
        found = {"min": numbers.min, "mean": numbers.mean, "max": numbers.max}
        return len(numbers), {
            "label_range": {
                name: float(value()) if len(numbers) else None for name, value in found.items()
            }
        }


def _check_marks(labels: Mapping[str, pa.Array]) -> None:
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

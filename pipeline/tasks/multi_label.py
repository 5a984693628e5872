"""Any number of labels for each text or pair of texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import as_numpy
from pipeline.core.errors import DataError
from pipeline.tasks.class_labels import ClassLabels, class_numbers
from pipeline.tasks.columns import Columns
from pipeline.tasks.label_faults import KEEP_LISTS, is_joined_list
from pipeline.text.columns import ColumnSettings, without_blanks, without_mark
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source, as_lists, is_list, is_named
from pipeline.text.tokens import UNLABELLED, Labels

if TYPE_CHECKING:
    from torch import Tensor

_ZERO_OR_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@final
@dataclass(frozen=True)
class MultiLabel(ClassLabels):
    """Any number of labels for each text or pair of texts.

    In the source a list of names, a string with a separator between names, or a column of 0 and 1
    for each label; in the table a list of 0 or 1 for each label.
    """

    metrics: tuple[str, ...] = ("micro_f1", "macro_f1", "exact_match")

    kind = "multi_label"
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "multi_label_classification"
    predicts = "label"
    columns = Columns(
        ("text", "label"),
        ("text_pair", "labels", "label_separator", "unlabelled"),
        several=("label",),
    )
    label_lists = "allowed"
    source_type = pa.list_(pa.string())
    label_kind = "names"
    label_type = pa.list_(pa.int64())

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return lists of names; null where a row is not labelled."""
        first, *others = self.label_columns(columns)
        if others:
            return _of_zeros_and_ones(source, (first, *others), columns.unlabelled)
        if is_list(source.column("label", first).type):
            return _of_lists(source, first, columns.unlabelled)
        strings = without_mark(source.strings("label", first), columns.unlabelled)
        return _separated(strings, columns.label_separator, f"{source.place}, column '{first}'")

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return 1 for the labels of each row and 0 for the others, as lists."""
        encoded = {}
        for split, table in corpus.items():
            lists = as_lists(table["label"])
            rows = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0))
            values = lists.flatten().to_pylist()
            labels = np.array(class_numbers(values, rows.tolist(), names, mapping, split), np.int64)
            held = np.zeros((len(lists), len(names)), dtype=np.int64)
            held[rows[labels != UNLABELLED], labels[labels != UNLABELLED]] = 1
            held[np.asarray(lists.is_null())] = UNLABELLED
            offsets = np.arange(len(held) + 1, dtype=np.int32) * len(names)
            encoded[split] = pa.ListArray.from_arrays(
                pa.array(offsets.astype(np.int32)), pa.array(held.ravel())
            )
        return encoded

    def count_labels(self, labels: pa.Array, n_names: int) -> Counter[int]:
        """Return how many rows have each label."""
        held = as_numpy(labels.flatten()).reshape(-1, n_names)
        return Counter(dict(enumerate((held == 1).sum(0).tolist())))

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return 0 or 1 for each label of each row."""
        return super().trainer_labels(examples, mask).view(len(examples), -1).float()


def _of_lists(source: Source, column: str, unlabelled: str | None) -> pa.ListArray:
    """Return lists of names; null too where each label of a list says that there is none.

    Raises:
        DataError: some labels of a list say so and others do not, or a number is in it twice,
            as where lists hold 0 or 1 for each label.
    """
    lists = source.lists("label", column, "labels")
    place = f"{source.place}, column '{column}'"
    values = without_mark(lists.flatten(), unlabelled)
    rows = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0))
    if not _holds_names(source.column("label", column).type):
        seen = pa.table({"row": rows, "label": values.cast(pa.string())})
        counts = seen.group_by(["row", "label"]).aggregate([([], "count_all")])
        is_twice = pc.and_(pc.greater(counts["count_all"], 1), pc.is_valid(counts["label"]))
        twice = counts.filter(is_twice).sort_by("row")
        if len(twice):
            raise DataError(
                f"{place}: row {twice['row'][0].as_py() + 1} holds the label "
                f"{twice['label'][0].as_py()} more than once, but a list holds the names or "
                "numbers of those labels that a row has, each once. Write lists of 0 and 1 for "
                "each label as a column for each, named by data.columns.label."
            )
    values = values if is_named(values.type) else without_blanks(values)
    is_none = np.asarray(values.is_null())
    n_none = np.bincount(rows[is_none], minlength=len(lists))
    n_labels = np.bincount(rows, minlength=len(lists))
    is_partial = (n_none > 0) & (n_none < n_labels)
    if is_partial.any():
        raise DataError(
            f"{place}: row {int(is_partial.argmax()) + 1} has nothing in the place of one of its "
            "labels. Take that out of the list, or the row's other labels too if nobody knows all "
            "of them."
        )
    kept = np.where(n_none > 0, 0, n_labels)
    offsets = pa.array(np.concatenate([[0], np.cumsum(kept)]).astype(np.int32))
    is_null = pc.or_(lists.is_null(), pa.array(n_none > 0))
    return pa.ListArray.from_arrays(offsets, values.filter(pa.array(~is_none)), mask=is_null)


def _holds_names(lists: pa.DataType) -> bool:
    """Say whether lists are of names, not of numbers or of true and false."""
    held = lists.value_type
    return not (
        pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_boolean(held)
    )


def _separated(strings: pa.ChunkedArray, separator: str, place: str) -> pa.Array:
    """Return what stands between the separators, without blanks around it, as lists.

    Null where there is nothing but white space.

    Raises:
        DataError: a text is a list that was written as text.
    """
    for row, text in enumerate(strings.to_pylist(), start=1):
        if text is not None and is_joined_list(text, separator):
            raise DataError(
                f"{place}: row {row} has {text!r}, a list that became text. {KEEP_LISTS}, or write "
                f"the names alone with data.columns.label_separator between them: a{separator}b."
            )
    parts = [
        None
        if text is None or not (text.strip() or separator in text)
        else [part.strip() for part in text.split(separator) if part.strip()]
        for text in strings.to_pylist()
    ]
    return pa.array(parts, pa.list_(pa.string()))


def _of_zeros_and_ones(
    source: Source, columns: tuple[str, ...], unlabelled: str | None
) -> pa.ListArray:
    """Return the names of the columns that hold 1 in each row, as lists of named classes."""
    is_one = np.zeros((len(source.table), len(columns)), dtype=np.int8)
    for number, column in enumerate(columns):
        for row, value in enumerate(source.strings("label", column).to_pylist()):
            is_blank = value is None or value in ("", unlabelled)
            found = -1 if is_blank else _ZERO_OR_ONE.get(value.lower())
            if found is None:
                raise DataError(
                    f"{source.place}: row {row + 1} has '{value}' in column '{column}', which "
                    "needs 0 or 1. Correct it, or set data.columns.unlabelled to what means that "
                    "a row has no labels."
                )
            is_one[row, number] = found
    is_null = (is_one == -1).all(1)
    is_partial = (is_one == -1).any(1) & ~is_null
    if is_partial.any():
        row = int(is_partial.argmax())
        raise DataError(
            f"{source.place}: row {row + 1} is labelled in some of the columns of "
            "data.columns.label and not in others. Fill in all or none."
        )
    rows, numbers = np.nonzero(is_one == 1)
    offsets = np.searchsorted(rows, np.arange(len(is_one) + 1)).astype(np.int32)
    names = pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), pa.array(columns))
    return pa.ListArray.from_arrays(pa.array(offsets), names, mask=pa.array(is_null))

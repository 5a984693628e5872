"""Labels that are classes which the data names: their names, and the numbers in their places."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy, in_one
from pipeline.core.errors import DataError
from pipeline.tasks.label_faults import (
    as_number,
    check_alike,
    check_marked,
    check_values,
    unknown_labels,
)
from pipeline.tasks.task import Task
from pipeline.text.corpus import Corpus
from pipeline.text.source import is_named
from pipeline.text.tokens import UNLABELLED

_MOST_SHOWN = 20


class ClassLabels(Task):
    """A task whose labels are classes that the data names, the same for all examples."""

    has_label_names: ClassVar[bool] = True

    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return the names of classes in order of their numbers.

        They are those of `mapping` (name by value in the source), or else the classes that
        the source itself names, or else the distinct values of the training split, numbers
        in numeric and words in alphabetic order.

        Raises:
            DataError: fewer than two labels; values of the training split that would be other
                classes than their user means, unless `mapping` names them.
        """
        if mapping is not None:
            return _at_least_two(list(dict.fromkeys(mapping.values())))
        values = _values(corpus)
        if is_named(values.type):
            names = values.dictionary.to_pylist()
        else:
            names = sorted(pc.unique(values).drop_null().to_pylist(), key=_natural_order)
            check_values(names, lambda name: _places(corpus, name))
            _check_marked(corpus, names)
        check_alike(names, lambda name: _places(corpus, name))
        return _at_least_two(names)

    def is_alphabetic(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> bool:
        """Say whether `label_names` sorted words alphabetically, because no order was given."""
        if mapping is not None or is_named(_values(corpus).type):
            return False
        names = pc.unique(_values(corpus)).drop_null().to_pylist()
        return any(as_number(name) is None for name in names)

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each row whether it, or a word of it, has a label."""
        if not pa.types.is_list(encoded.type):
            return np.asarray(as_numpy(encoded) >= 0)
        rows = np.repeat(np.arange(len(encoded)), as_numpy(encoded.value_lengths()))
        n_known = np.bincount(rows[as_numpy(encoded.flatten()) >= 0], minlength=len(encoded))
        return np.asarray(n_known > 0)

    @abstractmethod
    def count_labels(self, labels: pa.Array, n_names: int) -> Counter[int]:
        """Return how many rows, or words, have each label, by its number."""

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return the labels' names with the rows, or the words, that have each."""
        counts = self.count_labels(encoded, len(names))
        shown = [f"{name} ({counts[i]:,})" for i, name in enumerate(names)]
        more = len(shown) - _MOST_SHOWN
        return ", ".join(shown[:_MOST_SHOWN]) + (f" and {more:,} more" if more > 0 else "")

    def describe_labels(
        self, table: pa.Table, names: Sequence[str]
    ) -> tuple[int, dict[str, dict[str, int]]]:
        """Return how many rows are labelled, and how many rows, or words, have each label."""
        column = in_one(table["label"])
        counts = self.count_labels(column, len(names))
        n_labelled = int(self.is_labelled(column).sum())
        return n_labelled, {"label_counts": {name: counts[i] for i, name in enumerate(names)}}


def _values(corpus: Corpus, split: str = "train") -> pa.Array:
    """Return all labels of a split, those of lists one by one."""
    values = corpus[split]["label"].combine_chunks()
    return values.flatten() if pa.types.is_list(values.type) else values


def _places(corpus: Corpus, name: str) -> str:
    """Say in how many training rows a label is, and in which."""
    rows = [
        row
        for row, held in enumerate(corpus["train"]["label"].to_pylist(), start=1)
        if held == name or (isinstance(held, list) and name in held)
    ]
    return f"{len(rows):,} rows, the first is row {rows[0]}" if rows else "no rows"


def _check_marked(corpus: Corpus, names: Sequence[str]) -> None:
    counts = Counter(_values(corpus).drop_null().to_pylist())
    others = [
        {*pc.unique(_values(corpus, split)).drop_null().to_pylist()}
        for split in corpus
        if split != "train"
    ]
    check_marked(names, counts, others)


def _at_least_two(names: list[str]) -> list[str]:
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "none"
        raise DataError(
            f"a classification needs two labels or more, the training split has {found}. "
            "Check data.columns.label, or name the labels under data.labels."
        )
    return names


def class_numbers(
    values: Sequence[str | None],
    rows: Sequence[int],
    names: Sequence[str],
    mapping: Mapping[str, str] | None,
    split: str,
) -> list[int]:
    """Return the number of each value's class, `UNLABELLED` where there is none.

    `rows` says where a value stands, for messages.

    Raises:
        DataError: a value that is not among the known ones.
    """
    number = {name: index for index, name in enumerate(names)}
    known = number
    if mapping is not None:
        known = {value: number[name] for value, name in mapping.items()}
    if any(value is not None and value not in known for value in values):
        raise unknown_labels(values, rows, names, mapping, split)
    return [UNLABELLED if value is None else known[value] for value in values]


def _natural_order(value: str) -> tuple[bool, Decimal, str]:
    number = as_number(value)
    return (number is None, number or Decimal(0), value)

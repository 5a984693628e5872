"""The label column of a source, or its columns of 0 and 1, as a task needs its labels."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.tasks.task import LabelKind
from pipeline.text.answers import ANSWERS, read_answers
from pipeline.text.column_settings import ColumnSettings
from pipeline.text.lists import lists_of
from pipeline.text.source import Source, is_named

_OF_OTHER_COLUMNS: frozenset[LabelKind] = frozenset(("masked", "target_text"))
"""Kinds of labels that are not in the column `label`: of a text itself, or another text."""


def select_label(
    source: Source, columns: ColumnSettings, label_kind: LabelKind, *, may_lack: bool
) -> pa.ChunkedArray | pa.Array:
    """Return the labels of all rows, as `text.columns` says for their kind.

    Where the column `may_lack` and does, no row is labelled.

    Raises:
        DataError: a column is missing or holds something else than it should.
    """
    n_rows, theirs = len(source.table), columns.label
    if label_kind in _OF_OTHER_COLUMNS:
        theirs = columns.target if label_kind == "target_text" else None
    first = theirs[0] if isinstance(theirs, tuple) else theirs
    if first is None or (may_lack and not source.has(first)):
        if label_kind == "answers":
            return pa.nulls(n_rows, ANSWERS)
        has_lists = label_kind in ("names", "word_names")
        return pa.nulls(n_rows, pa.list_(pa.string()) if has_lists else pa.string())
    if isinstance(theirs, tuple):
        return _of_zeros_and_ones(source, theirs, columns.unlabelled)
    if label_kind == "answers":
        return read_answers(source, columns, source.strings("text", columns.text).to_pylist())
    ours = "target" if label_kind == "target_text" else "label"
    column = source.column(ours, first)
    if label_kind == "word_names" or (label_kind == "names" and pa.types.is_list(column.type)):
        lists = source.lists("label", first, "labels")
        if label_kind == "names":
            return lists
        return lists_of(lists, _without(_without(lists.flatten(), columns.unlabelled), ""))
    if label_kind == "number" and (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    ):
        return _without(column.cast(pa.float64()), columns.unlabelled)
    if label_kind == "name" and is_named(column.type):
        return _without(column, columns.unlabelled)
    strings = _without(source.strings(ours, first), columns.unlabelled)
    read = pc.utf8_trim_whitespace(strings) if label_kind == "target_text" else strings
    strings = pc.if_else(pc.equal(read, ""), None, strings)
    return _separated(strings, columns.label_separator) if label_kind == "names" else strings


def _without(values: Any, unlabelled: str | None) -> Any:
    """Return values with null in the place of the one that says that there is no label."""
    if unlabelled is None or pa.types.is_null(values.type):
        return values
    mark: Any = unlabelled
    if pa.types.is_floating(values.type):
        try:
            mark = float(unlabelled)
        except ValueError:
            return values
    compared = values.cast(pa.string()) if is_named(values.type) else values
    return pc.if_else(pc.equal(compared, mark), None, values)


def _separated(strings: pa.ChunkedArray, separator: str) -> pa.Array:
    """Return what stands between the separators, without blanks around it, as lists."""
    parts = [
        None if text is None else [part.strip() for part in text.split(separator) if part.strip()]
        for text in strings.to_pylist()
    ]
    return pa.array(parts, pa.list_(pa.string()))


_ZERO_OR_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


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

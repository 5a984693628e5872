"""The label column of a source, or its columns of 0 and 1, as a task needs its labels."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.tasks.task import LabelKind
from pipeline.text.answers import ANSWERS, read_answers
from pipeline.text.choices import named_choices
from pipeline.text.column_settings import ColumnSettings
from pipeline.text.list_texts import KEEP_LISTS, is_joined_list
from pipeline.text.lists import lists_of
from pipeline.text.source import Source, is_list, is_named

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
    names = theirs if isinstance(theirs, tuple) else () if theirs is None else (theirs,)
    if not names or (may_lack and not any(map(source.has, names))):
        if label_kind == "answers":
            return pa.nulls(n_rows, ANSWERS)
        has_lists = label_kind in ("names", "word_names")
        return pa.nulls(n_rows, pa.list_(pa.string()) if has_lists else pa.string())
    if isinstance(theirs, tuple):
        return _of_zeros_and_ones(source, theirs, columns.unlabelled)
    (first,) = names
    if label_kind == "answers":
        return read_answers(source, columns, source.strings("text", columns.text).to_pylist())
    ours = "target" if label_kind == "target_text" else "label"
    column = source.column(ours, first)
    if label_kind == "word_names":
        lists = source.lists("label", first, "labels")
        values = _without(lists.flatten(), columns.unlabelled)
        return lists_of(lists, values if is_named(values.type) else _without_blanks(values))
    if label_kind == "names" and is_list(column.type):
        return _of_lists(source, first, columns.unlabelled)
    if label_kind == "number" and (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    ):
        return _without(column.cast(pa.float64(), safe=False), columns.unlabelled)
    if label_kind == "name" and is_named(column.type):
        return _without(column, columns.unlabelled)
    strings = source.strings(ours, first)
    if label_kind == "number":
        return _without_number(_without_blanks(strings), columns.unlabelled)
    strings = _without(strings, columns.unlabelled)
    if label_kind == "names":
        return _separated(strings, columns.label_separator, f"{source.place}, column '{first}'")
    labels = _without_blanks(strings)
    if label_kind == "choice" and isinstance(columns.choices, str):
        return named_choices(source, columns.choices, labels)
    return labels


def _without_blanks(strings: Any) -> Any:
    """Return strings with null in the place of those that hold nothing but white space."""
    is_blank = pc.equal(pc.utf8_trim_whitespace(strings), "")
    return pc.if_else(is_blank, None, strings)


def _without_number(strings: pa.ChunkedArray, unlabelled: str | None) -> pa.ChunkedArray | pa.Array:
    """Return strings with null in the place of a number, however it is written: -1 or -1.0."""
    mark = _as_number(unlabelled)
    if mark is None:
        return _without(strings, unlabelled)
    read = strings.to_pylist()
    return pa.array([None if _as_number(text) == mark else text for text in read], pa.string())


def _as_number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _without(values: Any, unlabelled: str | None) -> Any:
    """Return values with null in the place of the one that says that there is no label."""
    if unlabelled is None or pa.types.is_null(values.type):
        return values
    mark: Any = unlabelled
    if pa.types.is_floating(values.type):
        mark = _as_number(unlabelled)
        if mark is None:
            return values
    compared = values.cast(pa.string()) if is_named(values.type) else values
    return pc.if_else(pc.equal(compared, mark), None, values)


def _of_lists(source: Source, column: str, unlabelled: str | None) -> pa.ListArray:
    """Return lists of names; null too where each label of a list says that there is none.

    Raises:
        DataError: some labels of a list say so and others do not, or a number is in it twice,
            as where lists hold 0 or 1 for each label.
    """
    lists = source.lists("label", column, "labels")
    place = f"{source.place}, column '{column}'"
    values = _without(lists.flatten(), unlabelled)
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
    values = values if is_named(values.type) else _without_blanks(values)
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

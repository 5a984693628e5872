"""The columns of a source under our own names, as the labels of a task need them.

`text` and `text_pair` are strings, the second null where there is none. `label` stays as it
is written in the source; what it is depends on the kind of labels:

- `name`: strings, dictionary-encoded where the source names its classes;
- `names`: lists of such strings; null where a row is not labelled;
- `number`: floats, or strings that are to be numbers;
- `word_names`: lists of such strings, as long as the lists in a further column `words`;
- `choice`: strings that say which of the strings in a further column `choices` is right; a
  further column `question` is null where there is none.
"""

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field

from pipeline.errors import DataError
from pipeline.settings import Section
from pipeline.tasks.task import LabelKind
from pipeline.text.lists import as_lists, lists_of


def _name(column: Any) -> Any:
    """Return the name of a column that is given by its number, as those of .conll files are."""
    is_number = isinstance(column, int) and not isinstance(column, bool)
    return str(column) if is_number else column


_Column = Annotated[str, BeforeValidator(_name)]
_Columns = Annotated[tuple[_Column, ...], Field(min_length=2)]


class ColumnSettings(Section):
    """Which columns of the source hold what. In .conll files they are numbers, from 0."""

    text: _Column = "text"
    """Of a token classification, the lists of words; of a multiple choice, what the questions
    are about."""
    text_pair: _Column | None = None
    """The second text of a pair, or null for single texts."""
    question: _Column | None = None
    """Of a multiple choice, the questions, if they are not all there is to the choices."""
    choices: _Column | _Columns | None = None
    """Of a multiple choice, the column with the lists of choices, or a column for each."""
    label: _Column | _Columns | None = "label"
    """null for a source without labels. Several columns hold 0 or 1 each, for a multi-label
    classification."""
    label_separator: str = Field(default=",", min_length=1)
    """Between the names in a string, where that is how several labels are written."""
    unlabelled: str | None = None
    """A value of the label column that says that there is no label, such as `"-1"`. Nothing,
    and an empty text, always say so."""


def select_columns(
    table: pa.Table, columns: ColumnSettings, label_kind: LabelKind, place: str, split: str
) -> pa.Table:
    """Return the columns of one split, as the module describes them.

    Only a test split may lack the label column: its rows are unlabelled then. `place` is what
    messages call the source.

    Raises:
        DataError: a column is missing or holds something else than it should.
    """
    source = _Source(table, f"{place} ({split})")
    selected: dict[str, pa.ChunkedArray | pa.Array] = {}
    nothing = pa.nulls(len(table), pa.string())
    if label_kind == "word_names":
        words = _lists(source, "text", columns.text, "words")
        selected["words"] = words
        selected["text"] = pc.binary_join(words, " ")
    else:
        selected["text"] = source.strings("text", columns.text)
    pair = columns.text_pair
    selected["text_pair"] = nothing if pair is None else source.strings("text_pair", pair)
    if label_kind == "choice":
        question = columns.question
        selected["question"] = nothing if question is None else source.strings("question", question)
        selected["choices"] = _choices(source, columns)
    selected["label"] = _label(source, columns, label_kind, may_lack=split == "test")
    if label_kind == "word_names":
        _check_lengths(selected["words"], selected["label"], source.place)
    return pa.table(selected)


class _Source:
    """A table whose columns are asked for by our own names."""

    def __init__(self, table: pa.Table, place: str) -> None:
        self.table = table
        self.place = place

    def column(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column; `ours` is the setting that names it."""
        names = self.table.column_names
        if theirs not in names:
            raise DataError(
                f"{self.place} has no column '{theirs}'; it has {', '.join(names)}. "
                f"Set data.columns.{ours}."
            )
        if names.count(theirs) > 1:
            raise DataError(f"{self.place} has several columns '{theirs}'; rename all but one")
        return self.table[theirs]

    def strings(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column of texts or numbers as texts."""
        column = self.column(ours, theirs)
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            raise DataError(
                f"{self.place}, column '{theirs}' holds {column.type}, not text or numbers"
            ) from None


def is_named(kind: pa.DataType) -> bool:
    """Say whether values of a type name their classes, in the order of their numbers."""
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _lists(source: _Source, ours: str, theirs: str, what: str) -> pa.ListArray:
    """Return a column of lists, of strings unless its values are named classes."""
    column = source.column(ours, theirs)
    place = f"{source.place}, column '{theirs}'"
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.list_(pa.string()))
    if not _is_list(column.type):
        raise DataError(
            f"{place} holds {column.type}, but each row needs a list of {what}. Use Parquet, JSON "
            "lines or .conll files."
        )
    lists = as_lists(column)
    values = lists.flatten()
    if is_named(values.type) and ours == "label":
        return lists
    try:
        values = values.cast(pa.string())
    except pa.ArrowException:
        raise DataError(f"{place} holds lists of {values.type}, not of {what}") from None
    lists = lists_of(lists, values)
    if ours != "label" and values.null_count:
        row = next(index for index, row in enumerate(lists.to_pylist()) if row and None in row)
        raise DataError(f"{place}: row {row + 1} has nothing in the place of one of its {what}")
    return lists


def _label(
    source: _Source, columns: ColumnSettings, label_kind: LabelKind, *, may_lack: bool
) -> pa.ChunkedArray | pa.Array:
    n_rows, theirs = len(source.table), columns.label
    first = theirs[0] if isinstance(theirs, tuple) else theirs
    if first is None or (may_lack and first not in source.table.column_names):
        is_list = label_kind in ("names", "word_names")
        return pa.nulls(n_rows, pa.list_(pa.string()) if is_list else pa.string())
    if isinstance(theirs, tuple):
        return _of_zeros_and_ones(source, theirs, columns.unlabelled)
    column = source.column("label", first)
    if label_kind == "word_names" or (label_kind == "names" and _is_list(column.type)):
        lists = _lists(source, "label", first, "labels")
        values = _without(lists.flatten(), columns.unlabelled)
        return lists_of(lists, values) if label_kind == "word_names" else lists
    if label_kind == "number" and (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    ):
        return _without(column.cast(pa.float64()), columns.unlabelled)
    if label_kind == "name" and is_named(column.type):
        return _without(column, columns.unlabelled)
    strings = _without(source.strings("label", first), columns.unlabelled)
    strings = pc.if_else(pc.equal(strings, ""), None, strings)
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
    source: _Source, columns: tuple[str, ...], unlabelled: str | None
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


def _choices(source: _Source, columns: ColumnSettings) -> pa.Array:
    """Return the choices of each question; columns may end before the choices of others do."""
    theirs = columns.choices
    assert theirs is not None
    if isinstance(theirs, str):
        rows = _lists(source, "choices", theirs, "choices").to_pylist()
    else:
        held = [source.strings("choices", column).to_pylist() for column in theirs]
        rows = [_without_end(list(row)) for row in zip(*held, strict=True)]
    for number, row in enumerate(rows, start=1):
        if not row:
            raise DataError(f"{source.place}: the question of row {number} has no choices")
        for choice, text in enumerate(row):
            if text is None or not text.strip():
                raise DataError(
                    f"{source.place}: choice {choice} (from 0) of the question of row {number} "
                    "is empty. Correct it, or remove the row."
                )
    return pa.array(rows, pa.list_(pa.string()))


def _without_end(row: list[str | None]) -> list[str | None]:
    while row and not (row[-1] or "").strip():
        row.pop()
    return row


def _check_lengths(words: pa.ListArray, labels: pa.ListArray, place: str) -> None:
    """Refuse a labelled row whose labels are not as many as its words."""
    differs = pc.not_equal(words.value_lengths(), labels.value_lengths()).fill_null(False)
    row = differs.index(True).as_py()
    if row >= 0:
        n_words, n_labels = len(words[row]), len(labels[row])
        raise DataError(
            f"{place}: row {row + 1} has {n_words} words and {n_labels} labels; each word needs "
            "one. Correct it, or remove the row."
        )

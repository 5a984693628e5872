"""A table of the source, and its columns by the names that settings give them.

A column that cannot be used has a fault, which matters only where the column is read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError

_FAULTS = b"decant.faults"
_N_NAMES_SHOWN = 20


def with_faults(table: pa.Table, faults: Mapping[str, str]) -> pa.Table:
    """Return the table with a message for each column, or part of one, that cannot be used.

    A part is named with dots, as in `data.columns`.
    """
    if not faults:
        return table
    metadata = dict(table.schema.metadata or {})
    return table.replace_schema_metadata({**metadata, _FAULTS: json.dumps(dict(faults)).encode()})


def fault_of(table: pa.Table, column: str) -> str | None:
    """Return why a column, what it is a part of, or a part of it cannot be used, or None."""
    faults: dict[str, str] = json.loads((table.schema.metadata or {}).get(_FAULTS, b"{}"))
    for name, message in faults.items():
        if f"{column}.".startswith(f"{name}.") or name.startswith(f"{column}."):
            return message
    return None


@dataclass(frozen=True)
class Source:
    """One split of a source as it was read."""

    table: pa.Table
    place: str
    """What messages call it."""

    def has(self, theirs: str) -> bool:
        """Say whether there is a column of that name, or a part of one, usable or not."""
        found: pa.Schema | pa.DataType = self.table.schema
        if theirs in found.names or fault_of(self.table, theirs):
            return True
        for name in theirs.split("."):
            if name not in _names_in(found):
                return False
            found = found.field(name).type
        return True

    def column(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column; `ours` is the setting that names it."""
        names = self.table.column_names
        fault = fault_of(self.table, theirs)
        if fault is not None:
            raise DataError(f"{fault} data.columns.{ours} is '{theirs}'.")
        if names.count(theirs) > 1:
            raise DataError(f"{self.place} has several columns '{theirs}'; rename all but one")
        if theirs in names:
            return self.table[theirs]
        first, *parts = theirs.split(".")
        if not parts or first not in names:
            raise DataError(
                f"{self.place} has no column '{theirs}'; it has {quote_names(names)}. "
                f"Set data.columns.{ours}."
            )
        column = self.table[first]
        for position, part in enumerate(parts):
            if pa.types.is_null(column.type):
                break  # nothing has any parts
            found = _names_in(column.type)
            if part not in found:
                whole = ".".join([first, *parts[:position]])
                held = f"has the parts {quote_names(found)}" if found else f"holds {column.type}"
                raise DataError(
                    f"{self.place} has no column '{theirs}': '{whole}' {held}. "
                    f"Set data.columns.{ours}."
                )
            column = pc.struct_field(column, part)
        return column

    def strings(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column of texts or numbers as texts; null where one is not a number."""
        column = without_nan(self.column(ours, theirs))
        strings = _as_strings(column)
        if strings is None:
            raise DataError(
                f"{self.place}, column '{theirs}' holds {column.type}, not text or numbers. "
                "Write what it should say as text, or name another column under "
                f"data.columns.{ours}."
            )
        return strings

    def lists(self, ours: str, theirs: str, what: str) -> pa.ListArray:
        """Return a column of lists, of strings unless its values are named classes."""
        column = self.column(ours, theirs)
        place = f"{self.place}, column '{theirs}'"
        if pa.types.is_null(column.type):
            return pa.nulls(len(column), pa.list_(pa.string()))
        if not is_list(column.type):
            raise DataError(
                f"{place} holds {column.type}, but each row needs a list of {what}. Use Parquet, "
                "JSON lines or .conll files."
            )
        found = as_lists(column)
        values = without_nan(found.flatten())
        if is_named(values.type) and ours == "label":
            return found
        strings = _as_strings(values)
        if strings is None:
            raise DataError(
                f"{place} holds lists of {values.type}, not of {what}. Write them as text."
            )
        found = lists_of(found, strings)
        if ours != "label" and strings.null_count:
            row = next(index for index, row in enumerate(found.to_pylist()) if row and None in row)
            raise DataError(f"{place}: row {row + 1} has nothing in the place of one of its {what}")
        return found


def _names_in(kind: pa.Schema | pa.DataType) -> list[str]:
    """Return the names of columns, or of the parts of one, which may have none."""
    is_whole = isinstance(kind, pa.Schema) or pa.types.is_struct(kind)
    return [field.name for field in kind] if is_whole else []


def quote_names(names: Sequence[str]) -> str:
    """Return the names of columns in quotes, which show blanks, for a message."""
    shown = ", ".join(f"'{name}'" for name in names[:_N_NAMES_SHOWN])
    shown = shown.replace("\r", "\\r").replace("\n", "\\n")  # a message is one line
    more = len(names) - _N_NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown or "no columns"


def _as_strings(values: Any) -> Any:
    """Return texts or numbers as strings, or None if values of this type are neither.

    Times are neither: their texts would depend on how a program had stored them.
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_temporal(kind):
        return None
    try:
        return values.cast(pa.string())
    except pa.ArrowException:
        return None


def without_nan(values: Any) -> Any:
    """Return values with null in the place of what is not a number: a gap, in many tables."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), None, values)


def is_named(kind: pa.DataType) -> bool:
    """Say whether values of a type name their classes, in the order of their numbers."""
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def is_list(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists of any kind."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def as_lists(column: pa.ChunkedArray) -> pa.ListArray:
    """Return a column of lists of any kind as one array of plain lists."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type):
        return array
    return array.cast(pa.list_(array.type.value_type))


def lists_of(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Return lists as long as `lists`, of other values; null where they are null.

    `values` are in the place of `lists.flatten()`.
    """
    lengths = np.asarray(lists.value_lengths().fill_null(0), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=lists.is_null())

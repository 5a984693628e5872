"""A table of the source, whose columns are asked for by the settings that name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.text.lists import as_lists, lists_of


@dataclass(frozen=True)
class Source:
    """One split of a source as it was read."""

    table: pa.Table
    place: str
    """What messages call it."""

    def has(self, theirs: str) -> bool:
        """Say whether there is a column of that name, or a part of one."""
        found: pa.Schema | pa.DataType = self.table.schema
        if theirs in found.names:
            return True
        for name in theirs.split("."):
            if name not in _names_in(found):
                return False
            found = found.field(name).type
        return True

    def column(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column; `ours` is the setting that names it."""
        names = self.table.column_names
        first, *parts = [theirs] if theirs in names else theirs.split(".")
        if parts and first in names:
            return _part(self.table[first], parts, f"{self.place}, column '{theirs}'")
        if theirs not in names:
            raise DataError(
                f"{self.place} has no column '{theirs}'; it has {', '.join(names)}. "
                f"Set data.columns.{ours}."
            )
        if names.count(theirs) > 1:
            raise DataError(f"{self.place} has several columns '{theirs}'; rename all but one")
        return self.table[theirs]

    def strings(self, ours: str, theirs: str) -> pa.ChunkedArray:
        """Return a column of texts or numbers as texts; null where one is not a number."""
        column = _without_nan(self.column(ours, theirs))
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            raise DataError(
                f"{self.place}, column '{theirs}' holds {column.type}, not text or numbers"
            ) from None

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
        values = _without_nan(found.flatten())
        if is_named(values.type) and ours == "label":
            return found
        try:
            values = values.cast(pa.string())
        except pa.ArrowException:
            raise DataError(f"{place} holds lists of {values.type}, not of {what}") from None
        found = lists_of(found, values)
        if ours != "label" and values.null_count:
            row = next(index for index, row in enumerate(found.to_pylist()) if row and None in row)
            raise DataError(f"{place}: row {row + 1} has nothing in the place of one of its {what}")
        return found


def _names_in(kind: pa.Schema | pa.DataType) -> list[str]:
    """Return the names of columns, or of the parts of one, which may have none."""
    is_whole = isinstance(kind, pa.Schema) or pa.types.is_struct(kind)
    return [field.name for field in kind] if is_whole else []


def _part(column: pa.ChunkedArray, parts: Sequence[str], place: str) -> pa.ChunkedArray:
    """Return a part of a column, of a part of it, and so on; null where the whole is null."""
    for part in parts:
        found = _names_in(column.type)
        if part not in found:
            raise DataError(
                f"{place}: there is no part '{part}' of what holds {column.type}; it has "
                f"{', '.join(found) or 'no parts'}. Correct data.columns."
            )
        column = pc.struct_field(column, part)
    return column


def _without_nan(values: Any) -> Any:
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

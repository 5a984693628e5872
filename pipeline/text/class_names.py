"""Class numbers of the Hub's data sets as the names that their features give them.

Features come as `datasets` writes them: a `_type` with its settings, or names with the features of
the parts. Only what they say of class numbers is read, so that features of types that are not known
here do no harm.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.source import (
    as_lists,
    is_list,
    lists_of,
    quote_names,
    with_faults,
    without_nan,
)

_METADATA = b"huggingface"
_UNREADABLE = {"_type": "unreadable"}


def name_stored_classes(table: pa.Table, place: str) -> pa.Table:
    """Return the table with classes named by the features in its own metadata, if it has some.

    `place` is what messages call the table.
    """
    stored = (table.schema.metadata or {}).get(_METADATA)
    if stored is None:
        return table
    try:
        features = json.loads(stored).get("info", {}).get("features") or {}
        given = {**features}
    except (ValueError, AttributeError, TypeError):
        given = dict.fromkeys(table.column_names, _UNREADABLE)
    return name_classes(table, given, place)


def name_classes(table: pa.Table, features: Mapping[str, Any], place: str) -> pa.Table:
    """Return the table with class numbers, alone, in lists or in parts, as named classes.

    Named classes are dictionary-encoded strings in the order of their numbers. A negative
    number becomes null: it is the Hub's mark for what nobody labelled. Numbers that may be of
    classes, but whose features do not name them, are faults of their column.
    """
    faults: dict[str, str] = {}
    for name, feature in features.items():
        if table.column_names.count(name) != 1:
            continue
        column = table[name]
        is_plain = isinstance(feature, Mapping) and feature.get("_type") == "Value"
        if is_plain or not _holds(column.type, _is_number):
            continue
        naming = _Naming(place, name, faults)
        named = naming.of(column.combine_chunks(), feature, np.arange(len(column)))
        table = table.set_column(table.schema.get_field_index(name), name, named)
    return with_faults(table, faults)


class _Naming:
    """Names the classes of one column, or notes why that cannot be done."""

    def __init__(self, place: str, column: str, faults: dict[str, str]) -> None:
        self._place = place
        self._column = column
        self._faults = faults

    def of(self, values: pa.Array, feature: Any, rows: np.ndarray) -> pa.Array:
        """Return values with names in the place of class numbers; `rows` are their rows."""
        if isinstance(feature, list):  # what older versions write for lists
            feature = {"_type": "List", "feature": feature[0] if feature else None}
        kind = feature.get("_type") if isinstance(feature, Mapping) else None
        if kind == "ClassLabel":
            return self._named(values, feature.get("names"), rows)
        if kind in ("List", "LargeList", "Sequence") and is_list(values.type):
            lists = as_lists(pa.chunked_array([values]))
            rows = np.repeat(rows, np.asarray(lists.value_lengths().fill_null(0)))
            return lists_of(lists, self.of(lists.flatten(), feature.get("feature"), rows))
        if kind == "Sequence" and isinstance(feature.get("feature"), Mapping):
            feature = {name: [part] for name, part in feature["feature"].items()}
            kind = None
        if not isinstance(kind, str) and isinstance(feature, Mapping) and _is_struct(values):
            names = [field.name for field in values.type]
            parts = [
                self.of(part, feature[name], rows) if name in feature else part
                for name, part in zip(names, values.flatten(), strict=True)
            ]
            return pa.StructArray.from_arrays(parts, names, mask=values.is_null())
        if kind != "Value" and _holds(values.type, pa.types.is_integer):
            said = "cannot be read" if feature is _UNREADABLE else f"is of the type '{kind}'"
            self._refuse(
                f"holds whole numbers, and what the metadata '{_METADATA.decode()}' says of it "
                f"{said}, so that they may be numbers of classes. Write the table without this "
                "metadata, and labels as names."
            )
        return values

    def _named(self, values: pa.Array, names: Any, rows: np.ndarray) -> pa.Array:
        if not _is_number(values.type):
            return values  # they are named already
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._refuse("holds numbers of classes without their names. Write labels as names.")
            return values
        numbers = without_nan(values).cast(pa.float64(), safe=False)
        numbers = pc.if_else(pc.less(numbers, 0), None, numbers)
        wrong = pc.or_(
            pc.greater_equal(numbers, len(names)), pc.not_equal(pc.floor(numbers), numbers)
        )
        first = wrong.index(True).as_py()
        if first >= 0:
            self._refuse(
                f"has the class number {values[first]} in row {rows[first] + 1}, but names "
                f"{len(names)} classes, from 0: {quote_names(names)}. Correct it where the table "
                "is made."
            )
            return values
        return pa.DictionaryArray.from_arrays(
            numbers.cast(pa.int32()), pa.array(names, pa.string())
        )

    def _refuse(self, reason: str) -> None:
        self._faults[self._column] = f"{self._place}: column '{self._column}' {reason}"


def _is_struct(values: pa.Array) -> bool:
    return bool(pa.types.is_struct(values.type))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _holds(kind: pa.DataType, is_held: Callable[[pa.DataType], bool]) -> bool:
    """Say whether a type, or a part of it, is of a kind."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    parts = (kind.field(number).type for number in range(kind.num_fields))
    return is_held(kind) or any(_holds(part, is_held) for part in parts)

"""Class numbers of the Hub's data sets as the names that their features give them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.lists import as_lists, lists_of

if TYPE_CHECKING:
    from datasets import ClassLabel


def name_classes(table: pa.Table, features: Mapping[str, Any]) -> pa.Table:
    """Return the table with class numbers, and lists of them, as named classes.

    Named classes are dictionary-encoded strings in the order of their numbers. A negative
    number becomes null: it is the Hub's mark for what nobody labelled.
    """
    from datasets import ClassLabel, LargeList, List

    for name, feature in features.items():
        if name not in table.column_names:
            continue
        column = table[name]
        if isinstance(feature, ClassLabel):
            named = _named(column.combine_chunks(), feature)
        elif isinstance(feature, List | LargeList) and isinstance(feature.feature, ClassLabel):
            lists = as_lists(column)
            named = lists_of(lists, _named(lists.flatten(), feature.feature))
        else:
            continue
        table = table.set_column(table.schema.get_field_index(name), name, named)
    return table


def _named(numbers: pa.Array, feature: "ClassLabel") -> pa.Array:
    numbers = numbers.cast(pa.int32())
    numbers = pc.if_else(pc.less(numbers, 0), None, numbers)
    return pa.DictionaryArray.from_arrays(numbers, pa.array(feature.names))

"""Label names and numbers: the one place where a label of the source becomes an id."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError
from pipeline.text.corpus import Corpus
from pipeline.text.tokens import UNLABELLED


def label_names(corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
    """Return the label names in order of their numbers.

    They are those of `mapping` (name by value in the source), or else the classes that
    the source itself names, or else the distinct values of the training split, numbers
    in numeric and words in alphabetic order.

    Raises:
        DataError: fewer than two labels.
    """
    if mapping is not None:
        names = list(dict.fromkeys(mapping.values()))
    elif pa.types.is_dictionary(corpus["train"]["label"].type):
        names = corpus["train"]["label"].combine_chunks().dictionary.to_pylist()
    else:
        values = pc.unique(corpus["train"]["label"]).drop_null().to_pylist()
        names = sorted(values, key=_natural_order)
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "none"
        raise DataError(
            f"a classification needs two labels or more, the training split has {found}. "
            "Check data.columns.label, or name the labels under data.labels."
        )
    return names


def label_ids(
    labels: pa.ChunkedArray, names: Sequence[str], mapping: Mapping[str, str] | None, split: str
) -> pa.Array:
    """Return the label numbers of a split, `UNLABELLED` where the source has none.

    Raises:
        DataError: a label that is not among the known ones.
    """
    number = {name: index for index, name in enumerate(names)}
    known = number
    if mapping is not None:
        known = {value: number[name] for value, name in mapping.items()}
    values = labels.to_pylist()
    unknown = sorted({value for value in values if value is not None and value not in known})
    if unknown:
        row = values.index(unknown[0]) + 1
        shown = ", ".join(repr(value) for value in unknown[:5])
        raise DataError(
            f"{split}: unknown label {shown} (first in row {row}); known labels: "
            f"{', '.join(known)}. Correct the data, or name every label under data.labels."
        )
    ids = [UNLABELLED if value is None else known[value] for value in values]
    return pa.array(ids, pa.int64())


def _natural_order(value: str) -> tuple[bool, int, str]:
    is_number = value.removeprefix("-").isdecimal()
    return (not is_number, int(value) if is_number else 0, value)

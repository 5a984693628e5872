"""Label names and numbers: the one place where labels of the source become those of a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.tasks.task import LabelKind
from pipeline.text.choices import right_choices
from pipeline.text.corpus import Corpus
from pipeline.text.label_faults import (
    as_number,
    check_alike,
    check_marked,
    check_values,
    unknown_labels,
)
from pipeline.text.lists import as_lists, lists_of
from pipeline.text.numbers import check_marks, number_labels
from pipeline.text.source import is_named
from pipeline.text.tokens import UNLABELLED

_PREDICTED: dict[LabelKind, tuple[str, ...]] = {
    "number": ("score",),
    "choice": ("choice",),
    "answers": ("start", "end"),
    "masked": (),
    "target_text": (),
}


def label_names(
    corpus: Corpus, mapping: Mapping[str, str] | None, label_kind: LabelKind = "name"
) -> list[str]:
    """Return the label names in order of their numbers.

    They are those of `mapping` (name by value in the source), or else the classes that
    the source itself names, or else the distinct values of the training split, numbers
    in numeric and words in alphabetic order. Labels that are numbers, choices or answers have
    names that say what is predicted: `score`, `choice`, `start` and `end`. Where word pieces are
    predicted, there are none.

    Raises:
        DataError: fewer than two labels; values of the training split that would be other classes
            than their user means, unless `mapping` names them.
    """
    if label_kind in _PREDICTED:
        return list(_PREDICTED[label_kind])
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


def is_alphabetic(
    corpus: Corpus, mapping: Mapping[str, str] | None, label_kind: LabelKind = "name"
) -> bool:
    """Say whether `label_names` found words whose order nobody has said."""
    if label_kind in _PREDICTED or mapping is not None or is_named(_values(corpus).type):
        return False
    names = pc.unique(_values(corpus)).drop_null().to_pylist()
    return any(as_number(name) is None for name in names)


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


def encode_labels(
    corpus: Corpus, label_kind: LabelKind, names: Sequence[str], mapping: Mapping[str, str] | None
) -> dict[str, pa.Array]:
    """Return the labels of each split as numbers, one value for each row of the corpus.

    `name`: label numbers; `names`: lists of 0 or 1 for each label; `number`: floats;
    `word_names`: lists of label numbers, one for each word; `choice`: the right choice's
    position; `answers` and `target_text`: as they are; `masked`: nulls. Where there is no label:
    `UNLABELLED`, in each place of a list, or NaN.

    Raises:
        DataError: a label that is not among the known ones, or is no number or choice.
    """
    if label_kind == "choice":
        return right_choices(corpus)
    if label_kind in ("answers", "masked", "target_text"):  # they become labels with the tokens
        return {split: table["label"].combine_chunks() for split, table in corpus.items()}
    if label_kind == "number":
        numbers = {split: number_labels(table["label"], split) for split, table in corpus.items()}
        check_marks(numbers)
        return numbers
    if label_kind == "name":
        return {
            split: label_ids(table["label"], names, mapping, split)
            for split, table in corpus.items()
        }
    encoded = {}
    for split, table in corpus.items():
        lists = as_lists(table["label"])
        rows = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0))
        ids = _numbers(lists.flatten().to_pylist(), rows.tolist(), names, mapping, split)
        if label_kind == "names":
            encoded[split] = _zeros_and_ones(lists, rows, ids, len(names))
        else:
            words = as_lists(table["words"])
            labelled = lists_of(lists, pa.array(ids, pa.int64()))
            none = lists_of(words, pa.array([UNLABELLED] * len(words.flatten()), pa.int64()))
            encoded[split] = pc.if_else(lists.is_null(), none, labelled)
    return encoded


def _zeros_and_ones(
    lists: pa.ListArray, rows: np.ndarray, ids: Sequence[int], n_labels: int
) -> pa.Array:
    """Return 1 for the labels of each row and 0 for the others."""
    held = np.zeros((len(lists), n_labels), dtype=np.int64)
    labelled = np.asarray(ids, dtype=np.int64)
    held[rows[labelled != UNLABELLED], labelled[labelled != UNLABELLED]] = 1
    held[np.asarray(lists.is_null())] = UNLABELLED
    offsets = np.arange(len(held) + 1, dtype=np.int32) * n_labels
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(held.ravel()))


def unlabelled(n_rows: int, label_kind: LabelKind, n_labels: int) -> pa.Array:
    """Return the labels of rows of texts that have none."""
    if label_kind == "number":
        return pa.array([float("nan")] * n_rows, pa.float64())
    if label_kind == "names":
        return pa.array([[UNLABELLED] * n_labels] * n_rows, pa.list_(pa.int64()))
    return pa.array([UNLABELLED] * n_rows, pa.int64())


def label_ids(
    labels: pa.ChunkedArray, names: Sequence[str], mapping: Mapping[str, str] | None, split: str
) -> pa.Array:
    """Return the label numbers of a split, `UNLABELLED` where the source has none.

    Raises:
        DataError: a label that is not among the known ones.
    """
    values = labels.to_pylist()
    return pa.array(_numbers(values, range(len(values)), names, mapping, split), pa.int64())


def _numbers(
    values: Sequence[str | None],
    rows: Sequence[int],
    names: Sequence[str],
    mapping: Mapping[str, str] | None,
    split: str,
) -> list[int]:
    """Return the label number of each value; `rows` says where a value stands."""
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

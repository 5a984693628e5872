"""Texts, or pairs of texts, as rows of a token table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.tasks.task import LabelKind
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import schema_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = Sequence[Sequence[int]]
"""Token ids or type ids of each row."""


@dataclass(frozen=True)
class TokenisedTexts:
    """Some rows of a token table."""

    rows: pa.Table
    """With the columns of `tokens.schema_of` their kind of labels."""
    is_cut: NDArray[np.bool_]
    """(row,), where a text was longer than the limit."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further numbers that describe these rows, by name; those of all rows are their sums."""


def tokenise(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: pa.Array,
    label_kind: LabelKind,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> TokenisedTexts:
    """Tokenise one or more texts; `pairs` are the second texts, if the rows have them."""
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    is_cut = [bool(encoding.overflowing) for encoding in encoded.encodings or ()]
    rows = make_rows(
        encoded["input_ids"], encoded["token_type_ids"], labels, texts, pairs, label_kind
    )
    return TokenisedTexts(rows, np.array(is_cut, dtype=bool))


def make_rows(
    input_ids: Ids,
    token_type_ids: Ids,
    labels: pa.Array,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    label_kind: LabelKind,
    more: Sequence[Sequence[Any]] = (),
) -> pa.Table:
    """Return rows with the columns of a token table; `more` are those of this kind of labels."""
    ids = [np.array(row, dtype=np.int32) for row in input_ids]
    type_ids = [np.array(row, dtype=np.int32) for row in token_type_ids]
    rows = [TokenRow(*row) for row in zip(ids, type_ids, strict=True)]
    return _table(rows, labels, texts, pairs, label_kind, more)


def make_asking_rows(
    rows: Sequence[TokenRow],
    texts: Sequence[str],
    pairs: Sequence[str | None] | None,
    label_kind: LabelKind,
) -> pa.Table:
    """Return rows that ask for word pieces, each of them, with the columns of a token table."""
    asked = [row.asked for row in rows if row.asked is not None]
    assert len(asked) == len(rows)
    labels = pa.array([one.pieces for one in asked], pa.list_(pa.int32()))
    places = [[one.places for one in asked]]
    return _table(rows, labels.cast(pa.list_(pa.int64())), texts, pairs, label_kind, places)


def _table(
    rows: Sequence[TokenRow],
    labels: pa.Array,
    texts: Sequence[str],
    pairs: Sequence[str | None] | None,
    label_kind: LabelKind,
    more: Sequence[Sequence[Any]],
) -> pa.Table:
    schema = schema_of(label_kind)
    columns = [
        pa.array([row.key() for row in rows], schema.field("key").type),
        pa.array([row.ids for row in rows], schema.field("input_ids").type),
        pa.array([row.types for row in rows], schema.field("token_type_ids").type),
        labels,
        pa.array(texts, pa.string()),
        pa.nulls(len(texts), pa.string()) if pairs is None else pa.array(pairs, pa.string()),
    ]
    for values, described in zip(more, list(schema)[len(columns) :], strict=True):
        columns.append(pa.array(values, described.type))
    return pa.Table.from_arrays(columns, schema=schema)

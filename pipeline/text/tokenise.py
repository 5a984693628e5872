"""Rows of a token table from texts, and the table's files with their summary, `tokens.json`.

Which labels rows have, and how texts with such labels become rows, is the task's.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.core.arrow import as_numpy, empty_table, in_one
from pipeline.core.fingerprint import digest_file, digest_json
from pipeline.core.settings import Section
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import (
    DEFAULT_LABELS,
    FORMAT,
    FORMAT_VERSION,
    SUMMARY_NAME,
    LabelFormat,
    Tokens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

STRIDE = 64

_HISTOGRAM_STEP = 16

Ids = Sequence[Sequence[int]]
"""Token ids or type ids of each row."""


class TokenizerSettings(Section):
    """The `tokenizer` section."""

    checkpoint: str
    """The checkpoint whose tokenizer is used; it must be the teacher's."""
    max_length: int = Field(default=128, ge=4, le=8192)
    """Longest row in tokens, special tokens included; longer texts are cut."""
    stride: int = Field(default=STRIDE, ge=0)
    """Doc stride, question answering only: the tokens that two neighbouring windows of a longer
    text share, at most half of those that the question leaves room for."""


@dataclass(frozen=True)
class TokenisedTexts:
    """Some rows of a token table."""

    rows: pa.Table
    """With the columns of the table."""
    is_cut: NDArray[np.bool_]
    """(row,), where a text was longer than the limit."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further numbers that describe these rows, by name; those of all rows are their sums."""


def tokenise(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: pa.Array,
    schema: pa.Schema,
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
    rows = make_rows(encoded["input_ids"], encoded["token_type_ids"], labels, texts, pairs, schema)
    return TokenisedTexts(rows, np.array(is_cut, dtype=bool))


def make_rows(
    input_ids: Ids,
    token_type_ids: Ids,
    labels: pa.Array,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    schema: pa.Schema,
    more: Sequence[Sequence[Any]] = (),
) -> pa.Table:
    """Return rows with the columns of a table; `more` are those that only such labels have."""
    ids = [np.array(row, dtype=np.int32) for row in input_ids]
    type_ids = [np.array(row, dtype=np.int32) for row in token_type_ids]
    rows = [TokenRow(*row) for row in zip(ids, type_ids, strict=True)]
    return _table(rows, labels, texts, pairs, schema, more)


def make_asking_rows(
    rows: Sequence[TokenRow],
    texts: Sequence[str],
    pairs: Sequence[str | None] | None,
    schema: pa.Schema,
) -> pa.Table:
    """Return rows with LM labels, each of them, with the columns of a table."""
    asked = [row.asked for row in rows if row.asked is not None]
    assert len(asked) == len(rows)
    labels = pa.array([one.pieces for one in asked], pa.list_(pa.int32()))
    places = [[one.places for one in asked]]
    return _table(rows, labels.cast(pa.list_(pa.int64())), texts, pairs, schema, places)


def _table(
    rows: Sequence[TokenRow],
    labels: pa.Array,
    texts: Sequence[str],
    pairs: Sequence[str | None] | None,
    schema: pa.Schema,
    more: Sequence[Sequence[Any]],
) -> pa.Table:
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


def write_table(
    splits: Mapping[str, Iterable[TokenisedTexts]],
    form: LabelFormat,
    labels: Sequence[str],
    tokenizer: str,
    max_length: int,
    folder: Path,
    *,
    source: str | None = None,
    made_with: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write tokenised splits as a token table into an empty folder; return its summary.

    `form` is how labels stand in the rows, `labels` are their names. `tokenizer` is the tokenizer's
    digest, `source` that of the table that the rows are variants of, if they are; `made_with` is
    what else the summary says of how the rows were made.
    """
    summary: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **({} if form.label_kind == DEFAULT_LABELS else {"label_kind": form.label_kind}),
        "labels": list(labels),
        "max_length": max_length,
        **made_with,
        "tokenizer": tokenizer,
        "splits": {
            split: _write_split(folder / f"{split}.arrow", parts, form, labels)
            for split, parts in splits.items()
        },
    }
    if source is not None:
        summary["source"] = source
    summary["digest"] = digest_json(summary)
    (folder / SUMMARY_NAME).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def write_variants(
    tokens: Tokens,
    form: LabelFormat,
    splits: Mapping[str, Iterable[TokenisedTexts]],
    folder: Path,
) -> dict[str, Any]:
    """Write rows that were made from those of `tokens` into an empty folder, as `write_table`."""
    return write_table(
        splits,
        form,
        tokens.labels,
        tokens.tokenizer,
        tokens.max_length,
        folder,
        source=tokens.digest,
    )


def write_no_variants(tokens: Tokens, form: LabelFormat, folder: Path) -> dict[str, Any]:
    """Write the table of a stage that is turned off: one split, `train`, without rows."""
    return write_variants(tokens, form, {"train": ()}, folder)


def _write_split(
    path: Path, parts: Iterable[TokenisedTexts], form: LabelFormat, labels: Sequence[str]
) -> dict[str, Any]:
    """Write one split's file and return the numbers that describe it."""
    tables, n_truncated, counts = [empty_table(form.schema)], 0, Counter[str]()
    for part in parts:
        tables.append(part.rows)
        n_truncated += int(part.is_cut.sum())
        counts.update(part.counts)
    tokens = pa.concat_tables(tables).combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, form.schema) as writer:
        writer.write_table(tokens)
    summary = _summarise(tokens, form, labels, n_truncated, counts)
    return summary | {"sha256": digest_file(path)}


def _summarise(
    tokens: pa.Table,
    form: LabelFormat,
    labels: Sequence[str],
    n_truncated: int,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return what `tokens.json` says of a split, but for the digest of its file.

    `n_labelled` counts rows that have a label, or questions where rows are choices or windows.
    `counts` are the task's own of what was cut, and `form` tells the rest of its labels.
    """
    lengths = as_numpy(in_one(tokens["input_ids"]).value_lengths())
    bins = Counter((lengths // _HISTOGRAM_STEP).tolist())
    n_labelled, described = form.describe_labels(tokens, labels)
    return {
        "n_rows": len(tokens),
        "n_distinct": len(set(tokens["key"].to_pylist())),
        "n_labelled": n_labelled,
        "n_truncated": n_truncated,
        **counts,
        "n_tokens": int(lengths.sum()),
        **described,
        "length_histogram": {
            f"{bin * _HISTOGRAM_STEP}-{(bin + 1) * _HISTOGRAM_STEP - 1}": bins[bin]
            for bin in sorted(bins)
        },
    }

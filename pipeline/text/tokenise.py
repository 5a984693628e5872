"""A corpus to a token table, with the numbers that describe it in `tokens.json`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.fingerprint import digest_file, digest_json, digest_tokenizer, row_key
from pipeline.settings import Section
from pipeline.tasks.task import LabelKind
from pipeline.text.corpus import Corpus
from pipeline.text.labels import label_ids
from pipeline.text.tokens import FORMAT, FORMAT_VERSION, SUMMARY_NAME, UNLABELLED, schema_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TEXTS_PER_CALL = 1000
_HISTOGRAM_STEP = 16


class TokenizerSettings(Section):
    """The `tokenizer` section."""

    checkpoint: str
    """The checkpoint whose tokenizer is used; it must be the teacher's."""
    max_length: int = Field(default=128, ge=4, le=8192)
    """Longest row in tokens, special tokens included; longer texts are cut."""


@dataclass(frozen=True)
class TokenisedTexts:
    """Some rows of a token table."""

    rows: pa.Table
    """With the columns of `tokens.schema_of` their kind of labels."""
    is_cut: NDArray[np.bool_]
    """(row,), where a text was longer than the limit."""


def write_tokens(
    corpus: Corpus,
    label_kind: LabelKind,
    labels: Sequence[str],
    mapping: Mapping[str, str] | None,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    folder: Path,
) -> dict[str, Any]:
    """Tokenise a corpus into an empty folder and return its summary, `tokens.json`.

    `mapping` is the label name by the source's value where the user gave one.

    Raises:
        DataError: a label that is not among `labels`.
    """
    numbers = {
        split: label_ids(table["label"], labels, mapping, split) for split, table in corpus.items()
    }
    splits = {
        split: _tokenise_split(table, numbers[split], tokenizer, max_length, split)
        for split, table in corpus.items()
    }
    return write_table(splits, label_kind, labels, tokenizer, max_length, folder)


def write_table(
    splits: Mapping[str, Iterable[TokenisedTexts]],
    label_kind: LabelKind,
    labels: Sequence[str],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    folder: Path,
    *,
    source: str | None = None,
) -> dict[str, Any]:
    """Write tokenised splits as a token table into an empty folder; return its summary.

    `source` is the digest of the table that the rows are variants of, if they are.
    """
    summary: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **({} if label_kind == "name" else {"label_kind": label_kind}),
        "labels": list(labels),
        "max_length": max_length,
        "tokenizer": digest_tokenizer(tokenizer),
        "splits": {
            split: _write_split(folder / f"{split}.arrow", parts, schema_of(label_kind), labels)
            for split, parts in splits.items()
        },
    }
    if source is not None:
        summary["source"] = source
    summary["digest"] = digest_json(summary)
    (folder / SUMMARY_NAME).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _write_split(
    path: Path, parts: Iterable[TokenisedTexts], schema: pa.Schema, labels: Sequence[str]
) -> dict[str, Any]:
    """Write one split's file and return the numbers that describe it."""
    tables, n_truncated = [schema.empty_table()], 0
    for part in parts:
        tables.append(part.rows)
        n_truncated += int(part.is_cut.sum())
    tokens = pa.concat_tables(tables).combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(tokens)
    return _summarise(tokens, labels, n_truncated) | {"sha256": digest_file(path)}


def _tokenise_split(
    table: pa.Table,
    labels: pa.Array,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    split: str,
) -> Iterator[TokenisedTexts]:
    for start in tqdm(range(0, len(table), _TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
        some = table.slice(start, _TEXTS_PER_CALL)
        yield tokenise(
            some["text"].to_pylist(),
            some["text_pair"].to_pylist() if _has_pairs(table) else None,
            labels.slice(start, _TEXTS_PER_CALL),
            tokenizer,
            max_length,
        )


def tokenise(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: pa.Array,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> TokenisedTexts:
    """Tokenise one or more texts; `pairs` are the second texts, if the rows have them."""
    schema = schema_of("name")
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    input_ids = [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]
    type_ids = [np.array(ids, dtype=np.int32) for ids in encoded["token_type_ids"]]
    keys = [row_key(*row) for row in zip(input_ids, type_ids, strict=True)]
    columns = [
        pa.array(keys, schema.field("key").type),
        pa.array(input_ids, schema.field("input_ids").type),
        pa.array(type_ids, schema.field("token_type_ids").type),
        labels,
        pa.array(texts, pa.string()),
        pa.nulls(len(texts), pa.string()) if pairs is None else pa.array(pairs, pa.string()),
    ]
    is_cut = [bool(encoding.overflowing) for encoding in encoded.encodings or ()]
    return TokenisedTexts(
        pa.Table.from_arrays(columns, schema=schema), np.array(is_cut, dtype=bool)
    )


def _has_pairs(table: pa.Table) -> bool:
    return bool(table["text_pair"].null_count < len(table))


def _summarise(tokens: pa.Table, labels: Sequence[str], n_truncated: int) -> dict[str, Any]:
    lengths = np.asarray(tokens["input_ids"].combine_chunks().value_lengths())
    counts = Counter(tokens["label"].to_pylist())
    bins = Counter((lengths // _HISTOGRAM_STEP).tolist())
    return {
        "n_rows": len(tokens),
        "n_distinct": len(set(tokens["key"].to_pylist())),
        "n_labelled": len(tokens) - counts[UNLABELLED],
        "n_truncated": n_truncated,
        "n_tokens": int(lengths.sum()),
        "label_counts": {name: counts[index] for index, name in enumerate(labels)},
        "length_histogram": {
            f"{bin * _HISTOGRAM_STEP}-{(bin + 1) * _HISTOGRAM_STEP - 1}": bins[bin]
            for bin in sorted(bins)
        },
    }

"""A corpus to a token table, with the numbers that describe it in `tokens.json`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.fingerprint import digest_file, digest_json, digest_tokenizer, row_key
from pipeline.settings import Section
from pipeline.text.corpus import Corpus
from pipeline.text.labels import label_ids
from pipeline.text.tokens import FORMAT_VERSION, SCHEMA, SUMMARY_NAME, UNLABELLED

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


def write_tokens(
    corpus: Corpus,
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
    splits = {}
    for split, table in corpus.items():
        tokens, n_truncated = _tokenise(table, numbers[split], tokenizer, max_length, split)
        with (
            pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file,
            pa.ipc.new_file(file, SCHEMA) as writer,
        ):
            writer.write_table(tokens.combine_chunks())
        splits[split] = _summarise(tokens, labels, n_truncated)
        splits[split]["sha256"] = digest_file(folder / f"{split}.arrow")
    summary: dict[str, Any] = {
        "format": "decant-tokens",
        "format_version": FORMAT_VERSION,
        "labels": list(labels),
        "max_length": max_length,
        "tokenizer": digest_tokenizer(tokenizer),
        "splits": splits,
    }
    summary["digest"] = digest_json(summary)
    (folder / SUMMARY_NAME).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _tokenise(
    table: pa.Table,
    labels: pa.Array,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    split: str,
) -> tuple[pa.Table, int]:
    texts: list[str] = table["text"].to_pylist()
    pairs: list[str] | None = table["text_pair"].to_pylist() if _has_pairs(table) else None
    input_ids: list[NDArray[np.int32]] = []
    type_ids: list[NDArray[np.int32]] = []
    n_truncated = 0
    for start in tqdm(range(0, len(texts), _TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
        stop = start + _TEXTS_PER_CALL
        encoded = tokenizer(
            texts[start:stop],
            pairs[start:stop] if pairs else None,
            truncation=True,
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        input_ids += [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]
        type_ids += [np.array(ids, dtype=np.int32) for ids in encoded["token_type_ids"]]
        n_truncated += sum(bool(encoding.overflowing) for encoding in encoded.encodings or ())
    keys = [row_key(*row) for row in zip(input_ids, type_ids, strict=True)]
    columns = [
        pa.array(keys, SCHEMA.field("key").type),
        pa.array(input_ids, SCHEMA.field("input_ids").type),
        pa.array(type_ids, SCHEMA.field("token_type_ids").type),
        labels,
        table["text"].cast(pa.string()),
        table["text_pair"].cast(pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA), n_truncated


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

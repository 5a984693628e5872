"""A corpus to a token table, with the numbers that describe it in `tokens.json`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field
from tqdm import tqdm

from pipeline.core.arrow import empty_table
from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_file, digest_json, digest_tokenizer
from pipeline.core.settings import Section
from pipeline.tasks.task import LabelKind
from pipeline.text.asking import Asking
from pipeline.text.corpus import Corpus
from pipeline.text.labels import encode_labels, is_alphabetic
from pipeline.text.masks import masker_of
from pipeline.text.questions import tokenise_questions
from pipeline.text.rows import TokenisedTexts, tokenise
from pipeline.text.summary import summarise
from pipeline.text.target_texts import tokenise_targets
from pipeline.text.text_windows import tokenise_text_windows
from pipeline.text.tokens import (
    ALPHABETIC,
    FORMAT,
    FORMAT_VERSION,
    SUMMARY_NAME,
    Tokens,
    schema_of,
)
from pipeline.text.windows import tokenise_windows
from pipeline.text.words import tokenise_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

STRIDE = 64

_TEXTS_PER_CALL = 1000
_NOTHING = Asking()


class TokenizerSettings(Section):
    """The `tokenizer` section."""

    checkpoint: str
    """The checkpoint whose tokenizer is used; it must be the teacher's."""
    max_length: int = Field(default=128, ge=4, le=8192)
    """Longest row in tokens, special tokens included; longer texts are cut."""
    stride: int = Field(default=STRIDE, ge=0)
    """Of a question answering, where longer texts are read in several windows: the tokens that
    two neighbours share, at most half of those that the question leaves room for."""


def write_tokens(
    corpus: Corpus,
    label_kind: LabelKind,
    labels: Sequence[str],
    mapping: Mapping[str, str] | None,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    folder: Path,
    *,
    stride: int = STRIDE,
    asking: Asking = _NOTHING,
) -> dict[str, Any]:
    """Tokenise a corpus into an empty folder and return its summary, `tokens.json`.

    `mapping` is the label name by the source's value where the user gave one; `asking` is how
    word pieces are asked for, where labels are such.

    Raises:
        DataError: a label that is not among `labels`, or is no number or choice; a question
            that leaves no room for its text; texts of which no piece is left to be hidden.
        SettingsError: the tokenizer has no mask token, or none that ends a text, and needs it.
    """
    numbers = encode_labels(corpus, label_kind, labels, mapping)
    splits = {
        split: _tokenise_split(
            table, numbers[split], label_kind, tokenizer, max_length, stride, asking, split
        )
        for split, table in corpus.items()
    }
    made_with = asking.described()
    if is_alphabetic(corpus, mapping, label_kind):
        made_with["label_order"] = ALPHABETIC
    return write_table(
        splits,
        label_kind,
        labels,
        digest_tokenizer(tokenizer),
        max_length,
        folder,
        made_with=made_with,
    )


def write_table(
    splits: Mapping[str, Iterable[TokenisedTexts]],
    label_kind: LabelKind,
    labels: Sequence[str],
    tokenizer: str,
    max_length: int,
    folder: Path,
    *,
    source: str | None = None,
    made_with: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write tokenised splits as a token table into an empty folder; return its summary.

    `tokenizer` is the tokenizer's digest, `source` that of the table that the rows are variants
    of, if they are; `made_with` is what else the summary says of how the rows were made.
    """
    summary: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **({} if label_kind == "name" else {"label_kind": label_kind}),
        "labels": list(labels),
        "max_length": max_length,
        **made_with,
        "tokenizer": tokenizer,
        "splits": {
            split: _write_split(folder / f"{split}.arrow", parts, label_kind, labels)
            for split, parts in splits.items()
        },
    }
    if source is not None:
        summary["source"] = source
    summary["digest"] = digest_json(summary)
    (folder / SUMMARY_NAME).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def write_variants(
    tokens: Tokens, splits: Mapping[str, Iterable[TokenisedTexts]], folder: Path
) -> dict[str, Any]:
    """Write rows that were made from those of `tokens` into an empty folder, as `write_table`."""
    return write_table(
        splits,
        tokens.label_kind,
        tokens.labels,
        tokens.tokenizer,
        tokens.max_length,
        folder,
        source=tokens.digest,
    )


def write_no_variants(tokens: Tokens, folder: Path) -> dict[str, Any]:
    """Write the table of a stage that is turned off: one split, `train`, without rows."""
    return write_variants(tokens, {"train": ()}, folder)


def _write_split(
    path: Path, parts: Iterable[TokenisedTexts], label_kind: LabelKind, labels: Sequence[str]
) -> dict[str, Any]:
    """Write one split's file and return the numbers that describe it."""
    schema = schema_of(label_kind)
    tables, n_truncated, counts = [empty_table(schema)], 0, Counter[str]()
    for part in parts:
        tables.append(part.rows)
        n_truncated += int(part.is_cut.sum())
        counts.update(part.counts)
    tokens = pa.concat_tables(tables).combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(tokens)
    summary = summarise(tokens, label_kind, labels, n_truncated, counts)
    return summary | {"sha256": digest_file(path)}


def _tokenise_split(
    table: pa.Table,
    labels: pa.Array,
    label_kind: LabelKind,
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    stride: int,
    asking: Asking,
    split: str,
) -> Iterator[TokenisedTexts]:
    if label_kind == "masked":
        assert asking.masking is not None
        masker = masker_of(tokenizer, asking.masking, split)
        n_rows = 0
        chunks = _text_chunks(table, split)
        for part in tokenise_text_windows(chunks, tokenizer, masker, max_length):
            n_rows += len(part.rows)
            yield part
        if not n_rows:
            raise DataError(
                f"{split}: the tokenizer leaves no word piece of any text, so there is nothing to "
                "hide. Set data.columns.text to a column of written language."
            )
        return
    has_pairs = _has_pairs(table)
    for start in tqdm(range(0, len(table), _TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
        some = table.slice(start, _TEXTS_PER_CALL)
        some_labels = labels.slice(start, _TEXTS_PER_CALL)
        if label_kind == "word_names":
            words = some["words"].to_pylist()
            yield tokenise_words(words, some_labels.to_pylist(), tokenizer, max_length)
        elif label_kind == "choice":
            yield tokenise_questions(
                some["text"].to_pylist(),
                some["question"].to_pylist(),
                some["choices"].to_pylist(),
                some_labels.to_pylist(),
                tokenizer,
                max_length,
            )
        elif label_kind == "answers":
            yield tokenise_windows(
                some["question"].to_pylist(),
                some["text"].to_pylist(),
                some_labels.to_pylist(),
                tokenizer,
                max_length,
                stride,
                split,
                start + 1,
            )
        elif label_kind == "target_text":
            assert asking.decoder_start is not None
            yield tokenise_targets(
                some["text"].to_pylist(),
                some_labels.to_pylist(),
                tokenizer,
                max_length,
                asking.decoder_start,
            )
        else:
            texts = some["text"].to_pylist()
            pairs = some["text_pair"].to_pylist() if has_pairs else None
            yield tokenise(texts, pairs, some_labels, label_kind, tokenizer, max_length)


def _text_chunks(table: pa.Table, split: str) -> Iterator[list[str]]:
    for start in tqdm(range(0, len(table), _TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
        yield table["text"].slice(start, _TEXTS_PER_CALL).to_pylist()


def _has_pairs(table: pa.Table) -> bool:
    return bool(table["text_pair"].null_count < len(table))

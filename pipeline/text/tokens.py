"""The token table: every text tokenised once, in Arrow IPC, keyed by content.

A folder holds one `SPLIT.arrow` per split and `tokens.json`. Each row has the
16-byte `key` that stores and students find it by, `input_ids`, `token_type_ids`,
`label`, and the texts themselves. Readers memory-map the files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.fingerprint import KEY_BYTES

FORMAT = "decant-tokens"
FORMAT_VERSION = 1
SUMMARY_NAME = "tokens.json"

SPLITS = ("train", "validation", "test")
UNLABELLED = -1
"""The label number of a row that has no label."""

SCHEMA = pa.schema(
    {
        "key": pa.binary(KEY_BYTES),
        "input_ids": pa.list_(pa.int32()),
        "token_type_ids": pa.list_(pa.int32()),
        "label": pa.int64(),
        "text": pa.string(),
        "text_pair": pa.string(),
    }
)


@dataclass(frozen=True)
class TokenSplit:
    """One split's rows, as arrays over the memory-mapped file."""

    keys: NDArray[np.void]
    """(row,), 16 raw bytes each."""
    offsets: NDArray[np.int64]
    """(row + 1,): row i owns positions offsets[i] to offsets[i + 1] of the token arrays."""
    input_ids: NDArray[np.int32]
    """(token,), all rows joined."""
    token_type_ids: NDArray[np.int32]
    """(token,), all rows joined."""
    labels: NDArray[np.int64]
    """(row,), -1 where a row is unlabelled."""
    table: pa.Table
    """The whole file, for the texts."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the token ids and type ids of one row."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return self.input_ids[span], self.token_type_ids[span]


@dataclass(frozen=True)
class Tokens:
    """A token table that is open for reading."""

    splits: Mapping[str, TokenSplit]
    labels: tuple[str, ...]
    """Label names in order of their numbers."""
    tokenizer: str
    """Digest of the tokenizer (`fingerprint.digest_tokenizer`)."""
    max_length: int
    digest: str
    """Digest of all rows, labels and the tokenizer."""
    source: str | None = None
    """Digest of the table that all rows are variants of; None for the texts of the data."""


def open_tokens(folder: Path, *, made_by: str = "prepare") -> Tokens:
    """Open a token table for reading; nothing but the summary is read yet.

    `made_by` is the stage that messages send the user to.

    Raises:
        DataError: the folder is not a token table of this format.
    """
    try:
        summary = dict(json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8")))
        if summary["format"] != FORMAT:
            raise ValueError
        counts = {split: summary["splits"][split] for split in SPLITS if split in summary["splits"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder} is not a token table (no readable {SUMMARY_NAME}). "
            f"Run 'dvc repro {made_by}', or 'dvc pull' where another team made it."
        ) from None
    if summary.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{folder} has token table format {summary.get('format_version')}, this version "
            f"reads {FORMAT_VERSION}. Run 'dvc repro {made_by}'."
        )
    return Tokens(
        splits={
            split: _open_split(
                folder / f"{split}.arrow", count["n_rows"], count["n_tokens"], made_by
            )
            for split, count in counts.items()
        },
        labels=tuple(summary["labels"]),
        tokenizer=summary["tokenizer"],
        max_length=summary["max_length"],
        digest=summary["digest"],
        source=summary.get("source"),
    )


def _open_split(path: Path, n_rows: int, n_tokens: int, made_by: str) -> TokenSplit:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (FileNotFoundError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is missing or damaged: {error}. Run 'dvc repro {made_by}'."
        ) from error
    if not table.schema.equals(SCHEMA):
        raise DataError(f"{path} has other columns than a token table. Run 'dvc repro {made_by}'.")
    ids = table["input_ids"].combine_chunks()
    types = table["token_type_ids"].combine_chunks()
    keys = table["key"].combine_chunks()
    if (len(keys), len(ids.values)) != (n_rows, n_tokens):
        raise DataError(
            f"{path} holds {len(keys):,} rows of {len(ids.values):,} tokens, {SUMMARY_NAME} says "
            f"{n_rows:,} of {n_tokens:,}. Run 'dvc repro {made_by}'."
        )
    return TokenSplit(
        keys=np.frombuffer(keys.buffers()[1], dtype=f"V{KEY_BYTES}", count=len(keys)),
        offsets=np.asarray(ids.offsets).astype(np.int64),
        input_ids=np.asarray(ids.values),
        token_type_ids=np.asarray(types.values),
        labels=np.asarray(table["label"].combine_chunks()),
        table=table,
    )

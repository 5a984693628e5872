"""The token table: every text tokenised once, in Arrow IPC, keyed by content.

A folder holds one `SPLIT.arrow` per split and `tokens.json`. Each row has the
16-byte `key` that stores and students find it by, `input_ids`, `token_type_ids`,
`label`, and the texts themselves. Readers memory-map the files.

A label is a number, or a list of them; what it means, and which further columns there are, is
the task's (`LabelFormat`). The reader knows three of these: rows that `choice` numbers from 0 are
one example; `masked` and `decoder_input_ids` have a number beside each label, the masked
positions of LM labels or the decoder's inputs for them.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy, in_one
from pipeline.core.errors import DataError
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.text.token_row import PiecesAsked, TokenRow

FORMAT = "decant-tokens"
FORMAT_VERSION = 1
SUMMARY_NAME = "tokens.json"

ALPHABETIC = "alphabetic"
"""The `label_order` of a summary whose labels are words in an order that nobody has said."""

DEFAULT_LABELS = "name"
"""The format of labels that `tokens.json` does not name: one class for each row."""

SPLITS = ("train", "validation", "test")
Labels = NDArray[np.int64] | NDArray[np.float64]
"""Numbers of labels, or numbers that are to be predicted."""
UNLABELLED = -1
"""The label number where there is no label. A number to be predicted is not a number then."""
IGNORED = -100
"""The label number of a token that nothing is predicted of, such as a word's second piece."""
_FIRST_FIELDS = {
    "key": pa.binary(KEY_BYTES),
    "input_ids": pa.list_(pa.int32()),
    "token_type_ids": pa.list_(pa.int32()),
}
_TEXT_FIELDS = {"text": pa.string(), "text_pair": pa.string()}


class LabelFormat(ABC):
    """How labels stand in a token table: what a task tells the table, which knows no task."""

    label_kind: ClassVar[str]
    """The name of the format in `tokens.json`; `name`, the default there, is left out."""
    label_type: ClassVar[pa.DataType]
    """Integers or floats, or lists of integers."""
    more_fields: ClassVar[Mapping[str, pa.DataType]] = MappingProxyType({})
    """Columns that only tables of this format have, behind all others."""
    not_varied: ClassVar[str] = ""
    """Why augmentation draws no variants of the rows, where it does not."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of a token table with such labels."""
        fields = {**_FIRST_FIELDS, "label": self.label_type, **_TEXT_FIELDS}
        return pa.schema({**fields, **self.more_fields})

    @abstractmethod
    def describe_labels(self, table: pa.Table, names: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return how many examples of a split are labelled, and what its summary says of labels.

        `names` are those of the labels, in order of their numbers.
        """


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
    labels: Labels
    """(label,), all rows joined; -1, or not a number, where there is none."""
    label_offsets: NDArray[np.int64]
    """(row + 1,): row i owns labels label_offsets[i] to label_offsets[i + 1]."""
    first_rows: NDArray[np.int64]
    """(example + 1,): example i is the rows first_rows[i] to first_rows[i + 1]; more than one
    where they are the choices of a question."""
    table: pa.Table
    """The whole file, for the texts."""
    masked: NDArray[np.int32] | None = None
    """(label,), where in its row each mask is; None where masks hide nothing."""
    decoder_ids: NDArray[np.int32] | None = None
    """(label,), what the decoder is given when it is to write each label; None without one."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def n_examples(self) -> int:
        """Rows, or questions where rows are choices."""
        return len(self.first_rows) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per row."""
        return np.diff(self.offsets)

    @cached_property
    def has_label(self) -> NDArray[np.bool_]:
        """(example,), which examples have a label, or one for any of their words."""
        is_known = is_labelled(self.labels) & (self.labels != IGNORED)
        n_known = np.concatenate([[0], np.cumsum(is_known)])
        return np.diff(n_known[self.label_offsets[self.first_rows]]) > 0

    def rows_of(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of these examples, one example after the other."""
        if self.n_examples == len(self):
            return examples
        return _positions(self.first_rows, examples)

    def labels_of(self, rows: NDArray[np.int64]) -> Labels:
        """Return the labels of these rows, joined."""
        return self.labels[self.label_places(rows)]

    def label_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the labels of these rows are among all, joined."""
        if len(self.labels) == len(self) and not self.asks_for_pieces:
            return rows
        return _positions(self.label_offsets, rows)

    @property
    def asks_for_pieces(self) -> bool:
        """Whether word pieces are to be predicted: masked ones, or those of a decoder."""
        return self.masked is not None or self.decoder_ids is not None

    @property
    def n_targets(self) -> NDArray[np.int64]:
        """(row,), how many word pieces each row asks for; 0 for all other tasks."""
        if not self.asks_for_pieces:
            return np.zeros(len(self), np.int64)
        return np.diff(self.label_offsets)

    def row(self, index: int) -> TokenRow:
        """Return what a model reads of one row."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return TokenRow(self.input_ids[span], self.token_type_ids[span], self._asked(index))

    def _asked(self, index: int) -> PiecesAsked | None:
        if not self.asks_for_pieces:
            return None
        span = slice(self.label_offsets[index], self.label_offsets[index + 1])
        return PiecesAsked(
            self.labels[span].astype(np.int32),
            None if self.masked is None else self.masked[span],
            None if self.decoder_ids is None else self.decoder_ids[span],
        )


@dataclass(frozen=True)
class Tokens:
    """A token table that is open for reading."""

    splits: Mapping[str, TokenSplit]
    label_kind: str
    """The name of the labels' format (`LabelFormat.label_kind`)."""
    labels: tuple[str, ...]
    """Label names in order of their numbers."""
    tokenizer: str
    """Digest of the tokenizer (`fingerprint.digest_tokenizer`)."""
    max_length: int
    digest: str
    """Digest of all rows, labels and the tokenizer."""
    decoder_start: int | None = None
    """What a decoder is given for the first piece, where texts are to be written."""
    is_alphabetic: bool = False
    """Whether the labels are words in an order that nobody has said."""
    source: str | None = None
    """Digest of the table that all rows are variants of; None for the texts of the data."""


def _positions(offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions from offsets[i] to offsets[i + 1] of each i, joined."""
    counts = offsets[chosen + 1] - offsets[chosen]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    positions: NDArray[np.int64] = np.repeat(offsets[chosen], counts) + within
    return positions


def is_labelled(labels: Labels) -> NDArray[np.bool_]:
    """Say which of some labels, none of them of an ignored token, are known."""
    if np.issubdtype(labels.dtype, np.floating):
        return np.asarray(~np.isnan(labels))
    return np.asarray(labels != UNLABELLED)


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
        label_kind = str(summary.get("label_kind", DEFAULT_LABELS))
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
        label_kind=label_kind,
        labels=tuple(summary["labels"]),
        tokenizer=summary["tokenizer"],
        max_length=summary["max_length"],
        digest=summary["digest"],
        decoder_start=summary.get("decoder_start"),
        is_alphabetic=summary.get("label_order") == ALPHABETIC,
        source=summary.get("source"),
    )


def _open_split(path: Path, n_rows: int, n_tokens: int, made_by: str) -> TokenSplit:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (FileNotFoundError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is missing or damaged: {error}. Run 'dvc repro {made_by}'."
        ) from error
    if not _is_token_table(table.schema):
        raise DataError(f"{path} has other columns than a token table. Run 'dvc repro {made_by}'.")
    ids = in_one(table["input_ids"])
    types = in_one(table["token_type_ids"])
    keys = in_one(table["key"])
    if (len(keys), len(ids.values)) != (n_rows, n_tokens):
        raise DataError(
            f"{path} holds {len(keys):,} rows of {len(ids.values):,} tokens, {SUMMARY_NAME} says "
            f"{n_rows:,} of {n_tokens:,}. Run 'dvc repro {made_by}'."
        )
    labels, label_offsets = _labels(in_one(table["label"]))
    return TokenSplit(
        keys=np.frombuffer(keys.buffers()[1], dtype=f"V{KEY_BYTES}", count=len(keys)),
        offsets=as_numpy(ids.offsets).astype(np.int64),
        input_ids=as_numpy(ids.values),
        token_type_ids=as_numpy(types.values),
        labels=labels,
        label_offsets=label_offsets,
        first_rows=_first_rows(table),
        table=table,
        masked=_of_labels(table, "masked"),
        decoder_ids=_of_labels(table, "decoder_input_ids"),
    )


def _is_token_table(schema: pa.Schema) -> bool:
    """Say whether all columns are there that every token table has; a task's own stand behind."""
    first = pa.schema({**_FIRST_FIELDS, "label": pa.null(), **_TEXT_FIELDS})
    if schema.names[: len(first)] != first.names or len({*schema.names}) < len(schema):
        return False
    kind = schema.field("label").type
    number = kind.value_type if pa.types.is_list(kind) else kind
    return number in (pa.int64(), pa.float64()) and all(
        field.name == "label" or field.type == schema.field(field.name).type for field in first
    )


def _labels(column: pa.Array) -> tuple[Labels, NDArray[np.int64]]:
    """Return all rows' labels, joined, and where each row's begin and end."""
    if pa.types.is_list(column.type):
        return as_numpy(column.values), as_numpy(column.offsets).astype(np.int64)
    return as_numpy(column), np.arange(len(column) + 1)


def _of_labels(table: pa.Table, column: str) -> NDArray[np.int32] | None:
    """Return a column that has a number beside each label, joined, if there is one."""
    if column not in table.column_names:
        return None
    return as_numpy(in_one(table[column]).values)


def _first_rows(table: pa.Table) -> NDArray[np.int64]:
    """Return the first row of every example, and the number of rows."""
    if "choice" not in table.column_names:
        return np.arange(len(table) + 1)
    starts = np.flatnonzero(as_numpy(in_one(table["choice"])) == 0)
    return np.append(starts, len(table))

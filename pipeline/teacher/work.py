"""What a capture has to compute: the rows and arrays that the store does not have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.architecture import Architecture
from pipeline.errors import SettingsError, StoreIncompleteError
from pipeline.store.manifest import Manifest, Segment
from pipeline.store.row_table import RowTable, read_row_table
from pipeline.store.spec import Arrays, SegmentSize, with_moments
from pipeline.text.tokens import Tokens

MAX_SEGMENT_ROWS = 8192
LARGEST_ARRAY_BYTES = 128 * 2**20


@dataclass(frozen=True)
class DistinctRows:
    """The rows of a token table, each content once, in the table's order."""

    keys: NDArray[np.void]
    splits: list[str]
    positions: NDArray[np.int64]
    """Where in its split each row is."""
    lengths: NDArray[np.int64]
    """Tokens of each row."""


def distinct_rows(tokens: Tokens) -> DistinctRows:
    """Return every row of every split, the first of each key."""
    splits = [name for name, split in tokens.splits.items() for _ in range(len(split))]
    keys = np.concatenate([split.keys for split in tokens.splits.values()])
    positions = np.concatenate([np.arange(len(split)) for split in tokens.splits.values()])
    lengths = np.concatenate([split.lengths for split in tokens.splits.values()])
    first = np.sort(np.unique(keys.view("S16"), return_index=True)[1])
    return DistinctRows(
        keys=keys[first],
        splits=[splits[index] for index in first],
        positions=positions[first],
        lengths=lengths[first],
    )


def choose_segment_rows(lengths: NDArray[np.int64], arrays: Arrays, teacher: Architecture) -> int:
    """Return how many rows make the largest array of a segment about 128 MiB."""
    size = size_of(lengths)
    largest = max(
        array.size_bytes(size, teacher, encoding) for array, encoding in arrays.items()
    ) / len(lengths)
    return int(np.clip(LARGEST_ARRAY_BYTES / largest, 1, MAX_SEGMENT_ROWS))


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield positions in batches of similar length.

    A batch, padded to its longest row, has at most `batch_tokens` tokens, or one row.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        longest = lengths[batch[0]] if batch else lengths[position]
        if batch and (len(batch) + 1) * longest > batch_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


@dataclass(frozen=True)
class Work:
    """Some rows, and the arrays to compute for them as one segment or part of one."""

    name: str
    """Of the segment."""
    rows: NDArray[np.int64]
    """Positions among the distinct rows."""
    arrays: Arrays
    segment: Segment | None
    """The committed segment to extend; None for a new one."""

    def table(self, rows: DistinctRows) -> RowTable:
        """Return the row table of the segment."""
        return RowTable(rows.keys[self.rows], rows.lengths[self.rows])

    def size_bytes(self, rows: DistinctRows, teacher: Architecture) -> int:
        """Return the size of the raw data that will be written."""
        size = size_of(rows.lengths[self.rows])
        arrays = with_moments(self.arrays)
        return sum(array.size_bytes(size, teacher, arrays[array]) for array in arrays)


def missing_work(
    store_dir: Path, manifest: Manifest, rows: DistinctRows, arrays: Arrays
) -> Iterator[Work]:
    """Yield what is missing: arrays of committed segments first, then new segments.

    Raises:
        SettingsError: an array is asked for in another encoding than it is stored in.
        StoreIncompleteError: a segment needs arrays, but not all of its rows are there.
    """
    position = {key.tobytes(): index for index, key in enumerate(rows.keys)}
    is_new = np.ones(len(rows.keys), dtype=bool)
    for segment in manifest.segments:
        table = read_row_table(store_dir, segment)
        keys = [key.tobytes() for key in table.keys]
        here = np.array([position[key] for key in keys if key in position], dtype=np.int64)
        is_new[here] = False
        _check_encodings(store_dir, segment, arrays)
        missing = {array: arrays[array] for array in arrays if array.name not in segment.arrays}
        if not missing or not len(here):
            continue
        if len(here) < len(keys):
            names = ", ".join(array.name for array in missing)
            raise StoreIncompleteError(
                f"{store_dir}: segment {segment.name} needs {names}, but "
                f"{len(keys) - len(here)} of its {len(keys)} rows are no longer in the token "
                "table or its augmentation. Restore them, or delete the store to capture again."
            )
        yield Work(segment.name, here, missing, segment)
    new = np.flatnonzero(is_new)
    n_rows = manifest.segment_rows
    for name, first in zip(manifest.free_names(), range(0, len(new), n_rows), strict=False):
        yield Work(name, new[first : first + n_rows], arrays, None)


def _check_encodings(store_dir: Path, segment: Segment, arrays: Arrays) -> None:
    for array, encoding in arrays.items():
        stored = segment.arrays.get(array.name)
        if stored is not None and stored.encoding != encoding:
            raise SettingsError(
                [
                    f"capture.signals.{array.signal}.encoding: {store_dir} holds {array.name} as "
                    f"{stored.encoding}, params.yaml asks for {encoding}. Restore "
                    f"{stored.encoding}, or delete the store to capture again."
                ]
            )


def size_of(lengths: NDArray[np.int64]) -> SegmentSize:
    """Return what array shapes follow from, for rows of these lengths."""
    return SegmentSize(len(lengths), int(lengths.sum()), int((lengths**2).sum()))

"""What a capture has to compute: the rows and arrays that the store does not have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import SettingsError, StoreIncompleteError
from pipeline.models.architecture import Architecture
from pipeline.signals.axis import SegmentSize
from pipeline.signals.cls import with_moments
from pipeline.signals.signal import Arrays
from pipeline.store.manifest import Manifest, Segment
from pipeline.store.row_table import RowTable, read_row_table
from pipeline.store.stored_rows import KeyIndex
from pipeline.text.tokens import Tokens

MAX_SEGMENT_ROWS = 8192
LARGEST_ARRAY_BYTES = 128 * 2**20
LARGEST_LOGITS_BYTES = 512 * 2**20
"""Of the logits of a whole vocabulary, in float32, that a batch may have at once."""

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True)
class DistinctRows:
    """The rows of a token table, each content once, in the table's order."""

    keys: NDArray[np.void]
    splits: list[str]
    positions: NDArray[np.int64]
    """Where in its split each row is."""
    lengths: NDArray[np.int64]
    """Tokens of each row."""
    n_targets: NDArray[np.int64] | None = None
    """Word pieces asked for of each row; None of a task that asks for none."""


def distinct_rows(tokens: Tokens) -> DistinctRows:
    """Return every row of every split, the first of each key."""
    splits = [name for name, split in tokens.splits.items() for _ in range(len(split))]
    keys = np.concatenate([split.keys for split in tokens.splits.values()])
    positions = np.concatenate([np.arange(len(split)) for split in tokens.splits.values()])
    lengths = np.concatenate([split.lengths for split in tokens.splits.values()])
    n_targets = np.concatenate([split.n_targets for split in tokens.splits.values()])
    has_targets = any(split.asks_for_pieces for split in tokens.splits.values())
    first = np.sort(np.unique(keys.view("S16"), return_index=True)[1])
    return DistinctRows(
        keys=keys[first],
        splits=[splits[index] for index in first],
        positions=positions[first],
        lengths=lengths[first],
        n_targets=n_targets[first] if has_targets else None,
    )


def choose_segment_rows(
    lengths: NDArray[np.int64],
    arrays: Arrays,
    teacher: Architecture,
    n_targets: NDArray[np.int64] | None = None,
) -> int:
    """Return how many rows make the largest array of a segment about 128 MiB."""
    size = SegmentSize.of(lengths, n_targets)
    largest = max(
        array.size_bytes(size, teacher, encoding) for array, encoding in arrays.items()
    ) / len(lengths)
    return int(np.clip(LARGEST_ARRAY_BYTES / max(largest, 1 / 1024), 1, MAX_SEGMENT_ROWS))


def most_targets(teacher: Architecture) -> int:
    """Return how many places may have logits of the teacher's whole vocabulary at once."""
    return max(1, LARGEST_LOGITS_BYTES // (4 * teacher.n_labels))


def batches_by_length(
    lengths: Sequence[int],
    batch_tokens: int,
    n_targets: Sequence[int] | NDArray[np.int64] | None = None,
    batch_targets: int = 0,
) -> Iterator[list[int]]:
    """Yield positions in batches of similar length.

    A batch, padded to its longest row, has at most `batch_tokens` tokens, or one row. Where
    rows have targets, it has no more of them than `batch_targets`, and its targets, padded to
    those of the row with the most, are no more than `batch_tokens` either.
    """
    targets = [0] * len(lengths) if n_targets is None else [int(count) for count in n_targets]
    batch: list[int] = []
    most, total = 0, 0
    for position in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        longest = lengths[batch[0]] if batch else lengths[position]
        most, total = max(most, targets[position]), total + targets[position]
        n_padded = (len(batch) + 1) * max(longest, most)
        if batch and (n_padded > batch_tokens or total > batch_targets):
            yield batch
            batch = []
            most = total = targets[position]
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
        n_targets = None if rows.n_targets is None else rows.n_targets[self.rows]
        return RowTable(rows.keys[self.rows], rows.lengths[self.rows], n_targets)

    def size_bytes(self, rows: DistinctRows, teacher: Architecture) -> int:
        """Return the size of the raw data that will be written."""
        size = self.table(rows).size()
        arrays = with_moments(self.arrays)
        return sum(array.size_bytes(size, teacher, arrays[array]) for array in arrays)


def count_rows(works: Iterable[Work]) -> int:
    """Return how many distinct rows have something to compute."""
    return len(np.unique(np.concatenate([work.rows for work in works] or [_NO_ROWS])))


def missing_work(
    store_dir: Path, manifest: Manifest, rows: DistinctRows, arrays: Arrays
) -> Iterator[Work]:
    """Yield what is missing: arrays of committed segments first, then new segments.

    Raises:
        SettingsError: an array is asked for in another encoding than it is stored in.
        StoreIncompleteError: a segment needs arrays, but not all of its rows are there.
    """
    index = KeyIndex(rows.keys)
    is_new = np.ones(len(rows.keys), dtype=bool)
    for segment in manifest.segments:
        found = index.find(read_row_table(store_dir, segment).keys)
        here = found[found >= 0]
        is_new[here] = False
        _check_encodings(store_dir, segment, arrays)
        missing = {array: arrays[array] for array in arrays if array.name not in segment.arrays}
        if not missing or not len(here):
            continue
        if len(here) < segment.n_rows:
            names = ", ".join(array.name for array in missing)
            raise StoreIncompleteError(
                f"{store_dir}: segment {segment.name} needs {names}, but "
                f"{segment.n_rows - len(here)} of its {segment.n_rows} rows are no longer in the "
                "token table or its augmentation. Restore them, or delete the store to capture "
                "again."
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
                f"capture.signals.{array.setting}.encoding: {store_dir} holds {array.name} as "
                f"{stored.encoding}, params.yaml asks for {encoding}. Restore "
                f"{stored.encoding}, or delete the store to capture again."
            )

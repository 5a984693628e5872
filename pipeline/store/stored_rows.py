"""Which rows a store has, and where each one's parts stand in the arrays of its segment.

Rows are numbered across segments in the store's order. Their keys and lengths are read
when they are first asked for.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import StoreDamagedError
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.store.key_index import KeyIndex
from pipeline.store.manifest import Manifest
from pipeline.store.row_table import RowTable, read_row_table
from pipeline.store.segment_size import Part, parts_of
from pipeline.store.spec import ArraySpec

_KEY = np.dtype(f"V{KEY_BYTES}")


@dataclass(frozen=True)
class Coverage:
    """Which of some examples a store has."""

    rows: NDArray[np.int64]
    """The store's row of each example, -1 where there is none."""

    @property
    def found(self) -> NDArray[np.int64]:
        """The positions of the examples that the store has."""
        return np.flatnonzero(self.rows >= 0)

    @property
    def missing(self) -> NDArray[np.int64]:
        """The positions of those that it lacks."""
        return np.flatnonzero(self.rows < 0)


class StoredRows:
    """The rows that a manifest names."""

    def __init__(self, store_dir: Path, manifest: Manifest) -> None:
        """Count the rows; none is read yet."""
        self._store_dir = store_dir
        self._manifest = manifest
        self.first_rows: NDArray[np.int64] = np.cumsum(
            [0, *(segment.n_rows for segment in manifest.segments)]
        )
        """(segment + 1,): segment i has the rows first_rows[i] to first_rows[i + 1]."""
        self._part_starts: dict[Part, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @cached_property
    def table(self) -> RowTable:
        """The rows of all segments; 0 targets each where the task asks for no word pieces."""
        tables = [read_row_table(self._store_dir, segment) for segment in self._manifest.segments]
        return RowTable(
            keys=np.concatenate([table.keys for table in tables] or [np.empty(0, _KEY)]),
            lengths=np.concatenate([table.lengths for table in tables] or [np.empty(0, np.int64)]),
            n_targets=np.concatenate(
                [_targets(table) for table in tables] or [np.empty(0, np.int64)]
            ),
        )

    @property
    def n_targets(self) -> NDArray[np.int64]:
        """(row,), the number of word pieces asked for of every row."""
        assert self.table.n_targets is not None
        return self.table.n_targets

    @cached_property
    def _index(self) -> KeyIndex:
        index = KeyIndex(self.table.keys)
        n_repeated = index.n_repeated()
        if n_repeated:
            raise StoreDamagedError(
                f"{self._store_dir} names {n_repeated:,} keys twice. Restore it with "
                "'dvc checkout'."
            )
        return index

    def coverage(self, keys: NDArray[np.void]) -> Coverage:
        """Say which keys there are rows of.

        Raises:
            StoreDamagedError: two rows have the same key.
        """
        return Coverage(self._index.find(keys))

    def segments_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position of the segment that each row is in."""
        return np.searchsorted(self.first_rows, rows, side="right") - 1

    def starts(self, part: Part) -> NDArray[np.int64]:
        """(row + 1,): how many such parts the rows before each have, across segments."""
        if part not in self._part_starts:
            counts = parts_of(part, self.table.lengths, self.n_targets)
            self._part_starts[part] = np.concatenate([[0], np.cumsum(counts)])
        return self._part_starts[part]

    def places(
        self, part: Part, width: int, rows: NDArray[np.int64], segments: NDArray[np.int64]
    ) -> tuple[list[slice], int]:
        """Return which elements of its segment's array each row has, and how many all have.

        `width` is the number of elements of a part.
        """
        starts = self.starts(part)
        before = starts[self.first_rows[segments]]
        begins = width * (starts[rows] - before)
        ends = width * (starts[rows + 1] - before)
        return list(map(slice, begins.tolist(), ends.tolist())), int((ends - begins).sum())

    def map_sides(
        self, array: ArraySpec, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many queries and how many keys each row has in an array of maps."""
        n_tokens, n_targets = self.table.lengths[rows], self.n_targets[rows]
        return array.sides(n_tokens, n_targets)


def _targets(table: RowTable) -> NDArray[np.int64]:
    return np.zeros_like(table.lengths) if table.n_targets is None else table.n_targets

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
from pipeline.signals.axis import Axis
from pipeline.store.manifest import Manifest
from pipeline.store.row_table import RowTable, read_row_table

_KEY = np.dtype(f"V{KEY_BYTES}")
_HALVES = np.dtype([("head", "<u8"), ("tail", "<u8")])


class KeyIndex:
    """Finds keys by their first 8 bytes; a key is a hash, so these all but identify it."""

    def __init__(self, keys: NDArray[np.void]) -> None:
        """Index `keys`, of 16 bytes each, by their positions."""
        self._keys = keys.view(_HALVES)
        heads = self._keys["head"]
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]
        begins = np.flatnonzero(np.diff(self._heads, prepend=~self._heads[:1]) != 0)
        run_lengths = np.diff(begins, append=len(keys))
        self._longest_run = int(run_lengths.max(initial=0))

    def n_repeated(self) -> int:
        """Return how many keys are there a second time."""
        if self._longest_run < 2:
            return 0
        return len(self._keys) - len(np.unique(self._keys.view("S16")))

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return each key's position, -1 where it is not there."""
        wanted = np.ascontiguousarray(keys).view(_HALVES)
        found = np.full(len(wanted), -1, dtype=np.int64)
        if not len(self._keys):
            return found
        places = np.searchsorted(self._heads, wanted["head"])
        for step in range(self._longest_run):
            positions = self._order[np.minimum(places + step, len(self._keys) - 1)]
            found = np.where(self._keys[positions] == wanted, positions, found)
        return found


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
        self._starts: dict[Axis, NDArray[np.int64]] = {}

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

    def starts(self, axis: Axis) -> NDArray[np.int64]:
        """(row + 1,): how many along an axis the rows before each have, across segments."""
        if axis not in self._starts:
            counts = axis.count(self.table.lengths, self.n_targets)
            self._starts[axis] = np.concatenate([[0], np.cumsum(counts)])
        return self._starts[axis]

    def places(
        self, axis: Axis, width: int, rows: NDArray[np.int64], segments: NDArray[np.int64]
    ) -> tuple[list[slice], int]:
        """Return which elements of its segment's array each row has, and how many all have.

        `width` is the number of elements of each row, token, ...
        """
        starts = self.starts(axis)
        before = starts[self.first_rows[segments]]
        begins = width * (starts[rows] - before)
        ends = width * (starts[rows + 1] - before)
        return list(map(slice, begins.tolist(), ends.tolist())), int((ends - begins).sum())

    def map_sides(self, axis: Axis, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return how many queries and how many keys the maps of each row have."""
        return axis.side_lengths(self.table.lengths[rows], self.n_targets[rows])


def _targets(table: RowTable) -> NDArray[np.int64]:
    return np.zeros_like(table.lengths) if table.n_targets is None else table.n_targets

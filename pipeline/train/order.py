"""The order in which a training sees its rows: a function of (seed, epoch) alone.

So it is the same for any number of processes, readers and parts of a batch, and
resuming a training is an index into it. The order of `shuffle: block` depends also on
where the rows are in the store and on how much of it the buffer holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Rows are sorted by length within pools of this many batches, which keeps batches random.
_POOL_BATCHES = 50

# Two windows fill the buffer: the one that is used and the one that is fetched meanwhile.
_BLOCKS_PER_WINDOW = 16


@dataclass(frozen=True)
class EpochOrder:
    """The batches of one epoch: every row once; only the last batch may be short."""

    batches: list[NDArray[np.int64]]
    """Rows of the split, batch by batch."""
    windows: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    """For `shuffle: block`, the rows that are read from this batch on, in the store's order."""

    def window_at(self, batch: int) -> list[NDArray[np.int64]] | None:
        """Return the window that a batch is in, and the next one; None without windows."""
        starts = sorted(self.windows)
        current = sum(start <= batch for start in starts) - 1
        return [self.windows[start] for start in starts[max(0, current) : current + 2]] or None


def global_order(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, *, group_by_length: bool
) -> EpochOrder:
    """Return all rows in random order, in batches of similar length where that is asked for."""
    generator = np.random.default_rng([seed, epoch])
    rows = generator.permutation(len(lengths))
    if not group_by_length:
        return EpochOrder(_cut(rows, batch_size))
    return EpochOrder(_grouped(rows, lengths, batch_size, generator))


def labelled_order(
    lengths: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    group_by_length: bool,
    is_labelled: NDArray[np.bool_],
) -> EpochOrder:
    """Return the labelled rows in the order that they would have if there were no others."""
    rows = np.flatnonzero(is_labelled)
    order = global_order(lengths[rows], batch_size, seed, epoch, group_by_length=group_by_length)
    return EpochOrder([rows[batch] for batch in order.batches])


def mixed_order(
    lengths: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    group_by_length: bool,
    is_labelled: NDArray[np.bool_],
    unlabelled_share: float,
) -> EpochOrder:
    """Return all labelled rows in random order, and in every batch a share of unlabelled ones.

    These are drawn without repetition until none is left, then anew. The last batch may be
    short of labelled rows.
    """
    generator = np.random.default_rng([seed, epoch])
    n_unlabelled = unlabelled_in_batch(batch_size, unlabelled_share)
    n_labelled = batch_size - n_unlabelled
    labelled = generator.permutation(np.flatnonzero(is_labelled))
    n_batches = -(-len(labelled) // n_labelled)
    others = np.flatnonzero(~is_labelled)
    n_rounds = -(-n_batches * n_unlabelled // len(others))
    unlabelled = np.concatenate([generator.permutation(others) for _ in range(n_rounds)])
    batches: list[NDArray[np.int64]] = []
    for first in range(0, n_batches, _POOL_BATCHES):
        stop = min(first + _POOL_BATCHES, n_batches)
        pools = [
            rows[first * size : stop * size]
            for rows, size in ((labelled, n_labelled), (unlabelled, n_unlabelled))
        ]
        if group_by_length:
            pools = [rows[np.argsort(lengths[rows], kind="stable")] for rows in pools]
        parts = zip(_cut(pools[0], n_labelled), _cut(pools[1], n_unlabelled), strict=True)
        batches += map(np.concatenate, parts)
    if group_by_length:
        batches = [batches[index] for index in generator.permutation(n_batches)]
    return EpochOrder(batches)


def unlabelled_in_batch(batch_size: int, unlabelled_share: float) -> int:
    """Return how many rows of a batch are unlabelled: the share, but at least one of each.

    A share of 0 is none.
    """
    if not unlabelled_share:
        return 0
    return min(max(1, round(batch_size * unlabelled_share)), batch_size - 1)


def block_order(
    lengths: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    group_by_length: bool,
    store_rows: NDArray[np.int64],
    row_bytes: NDArray[np.int64],
    buffer_bytes: int,
) -> EpochOrder:
    """Return blocks of neighbours in random order, and rows shuffled within some blocks.

    `store_rows` (row,) is where each row is in the store, `row_bytes` (row,) what is read
    of it there. A row that alone is larger than a block is a block of its own.
    """
    generator = np.random.default_rng([seed, epoch])
    by_place = np.argsort(store_rows, kind="stable")
    ends = np.cumsum(row_bytes[by_place])
    block_bytes = max(1, buffer_bytes // (2 * _BLOCKS_PER_WINDOW))
    numbers = (ends - row_bytes[by_place]) // block_bytes
    blocks = np.split(by_place, np.flatnonzero(np.diff(numbers)) + 1)
    blocks = [blocks[index] for index in generator.permutation(len(blocks))]
    batches: list[NDArray[np.int64]] = []
    windows = {}
    left_over = by_place[:0]
    for first in range(0, len(blocks), _BLOCKS_PER_WINDOW):
        window = np.concatenate(blocks[first : first + _BLOCKS_PER_WINDOW])
        is_last = first + _BLOCKS_PER_WINDOW >= len(blocks)
        rows = np.concatenate([left_over, generator.permutation(window)])
        n_used = len(rows) if is_last else len(rows) // batch_size * batch_size
        rows, left_over = rows[:n_used], rows[n_used:]
        if not n_used:
            continue
        windows[len(batches)] = window[np.argsort(store_rows[window], kind="stable")]
        if group_by_length:
            batches += _grouped(rows, lengths, batch_size, generator)
        else:
            batches += _cut(rows, batch_size)
    return EpochOrder(batches, windows)


def _cut(rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    return np.split(rows, range(batch_size, len(rows), batch_size))


def _grouped(
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_size: int,
    generator: np.random.Generator,
) -> list[NDArray[np.int64]]:
    pool = batch_size * _POOL_BATCHES
    batches = []
    for first in range(0, len(rows), pool):
        members = rows[first : first + pool]
        batches += _cut(members[np.argsort(lengths[members], kind="stable")], batch_size)
    return [batches[index] for index in generator.permutation(len(batches))]

"""The order of an epoch: every row once, the same wherever and whenever it is asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.train.order import EpochOrder, block_order, global_order

Order = list[NDArray[np.int64]]


def order_of(lengths: list[int], *, size: int, seed: int, epoch: int, grouped: bool) -> Order:
    return global_order(np.array(lengths), size, seed, epoch, group_by_length=grouped).batches


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=150),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(deadline=None)  # the machine may be busy
def test_every_row_comes_once(lengths: list[int], size: int, seed: int, grouped: bool) -> None:
    """Catches rows lost at the end of a pool, or a batch that is too large."""
    order = order_of(lengths, size=size, seed=seed, epoch=0, grouped=grouped)
    assert sorted(np.concatenate(order).tolist()) == list(range(len(lengths)))
    sizes = sorted(len(rows) for rows in order)
    assert sizes[1:] == [size] * (len(order) - 1) and 0 < sizes[0] <= size


@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_follows_from_seed_and_epoch(grouped: bool) -> None:
    """Catches an order that depends on what ran before: a resumed run would see other batches."""
    lengths = np.random.default_rng(0).integers(1, 30, 1000).tolist()  # several pools

    def order(seed: int, epoch: int) -> list[list[int]]:
        batches = order_of(lengths, size=8, seed=seed, epoch=epoch, grouped=grouped)
        return [rows.tolist() for rows in batches]

    first = order(1, 0)
    np.random.seed(3)  # the global state must not matter
    torch.manual_seed(3)
    assert order(1, 0) == first
    others = [order(1, 1), order(1, 2), order(2, 0)]
    assert all(other != first for other in others)
    assert others[0] != others[1]
    # Not only the order of the batches differs, but who is with whom.
    assert {frozenset(rows) for rows in others[0]}.isdisjoint(frozenset(rows) for rows in first)


def test_grouping_by_length_lowers_padding() -> None:
    """Catches an option without effect."""
    lengths = np.random.default_rng(0).integers(1, 101, 640)

    def n_padding(*, grouped: bool) -> int:
        order = global_order(lengths, 8, 0, 0, group_by_length=grouped).batches
        return sum(int(lengths[rows].max() * len(rows) - lengths[rows].sum()) for rows in order)

    # Random batches of 8 have 0.8 tokens of padding for each real one (100 * 8/9 over 50); in
    # pools of 400 rows a sorted batch spans 2 of the 100 lengths, which is 0.02.
    assert n_padding(grouped=False) > 0.7 * lengths.sum()
    assert n_padding(grouped=True) < 0.04 * lengths.sum()


def block_order_of(
    n_rows: int, *, size: int = 4, seed: int = 0, epoch: int = 0, buffer: int, grouped: bool
) -> tuple[EpochOrder, NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of rows that are anywhere in the store, their places and their bytes."""
    generator = np.random.default_rng(7)
    places = generator.permutation(3 * n_rows)[:n_rows]
    row_bytes = generator.integers(1, 40, n_rows)
    order = block_order(
        generator.integers(1, 20, n_rows),
        size,
        seed,
        epoch,
        group_by_length=grouped,
        store_rows=places,
        row_bytes=row_bytes,
        buffer_bytes=buffer,
    )
    return order, places, row_bytes


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5000), st.booleans())
@settings(deadline=None)  # the machine may be busy
def test_every_row_of_every_block_comes_once(
    n_rows: int, size: int, buffer: int, grouped: bool
) -> None:
    """Catches rows lost between two windows, short batches before the last, and a window that
    does not begin with the first batch."""
    order, _, _ = block_order_of(n_rows, size=size, buffer=buffer, grouped=grouped)
    assert sorted(np.concatenate(order.batches).tolist()) == list(range(n_rows))
    sizes = sorted(len(rows) for rows in order.batches)
    assert len(sizes) == -(-n_rows // size)
    assert sizes[1:] == [size] * (len(sizes) - 1)
    assert min(order.windows) == 0 and max(order.windows) < len(order.batches)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_window_is_read_in_order_and_fits_into_half_of_the_buffer(grouped: bool) -> None:
    """Catches reads that jump about on the disk, and a buffer that grows with the store."""
    order, places, row_bytes = block_order_of(5000, buffer=4000, grouped=grouped)
    starts = sorted(order.windows)
    assert len(starts) > 20
    for start, stop in zip(starts, [*starts[1:], len(order.batches)], strict=True):
        window = order.windows[start]
        assert (np.diff(places[window]) > 0).all()
        # A block ends with the row that fills it: 16 blocks may each be a row of 39 bytes over.
        assert row_bytes[window].sum() <= 2000 + 16 * 39
        used = np.concatenate(order.batches[start:stop])
        left_over = np.setdiff1d(used, window)
        assert len(left_over) < 4, "but for some of the window before, a window's own rows"
        fetched = order.window_at(start)
        assert fetched is not None
        assert np.array_equal(fetched[0], window)
        assert len(fetched) == (1 if start == starts[-1] else 2)
        assert np.array_equal((order.window_at(stop - 1) or [])[0], window)
        neighbours = np.diff(np.searchsorted(np.sort(places), places[window])) == 1
        assert np.count_nonzero(~neighbours) < 16, "no more than 16 runs"


def test_blocks_are_shuffled_anew_in_every_epoch() -> None:
    """Catches rows that meet the same others in every epoch, or an order that is not repeatable."""

    def batches(seed: int, epoch: int) -> list[list[int]]:
        order, _, _ = block_order_of(1000, seed=seed, epoch=epoch, buffer=4000, grouped=False)
        return [rows.tolist() for rows in order.batches]

    first = batches(1, 0)
    assert batches(1, 0) == first
    for other in (batches(1, 1), batches(2, 0)):
        together = {frozenset(rows) for rows in first} & {frozenset(rows) for rows in other}
        assert not together

"""Batches of tokens joined with the teacher's signals by key.

The order is a function of (seed, epoch) alone. Only the arrays that the objectives
need are read, and never padded: a signal with token axes stays one flat tensor.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from pipeline.objectives.objective import Needs, TeacherSignals
from pipeline.store.reader import StoredSignal, TeacherStore
from pipeline.store.spec import CLS, LOGITS, ArraySpec
from pipeline.text.padding import pad_rows
from pipeline.text.tokens import TokenSplit

# Rows are sorted by length within pools of this many batches, which keeps batches random.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """Some examples as the student sees them, and what the teacher said of them."""

    inputs: dict[str, Int[Tensor, "batch token"]]
    labels: Int[Tensor, " batch"]
    """-1 where a row is unlabelled."""
    signals: Mapping[ArraySpec, StoredSignal]
    rows: NDArray[np.int64]
    """Positions in the split."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; signals stay as they are stored."""
        return Batch(
            inputs={name: values.to(device) for name, values in self.inputs.items()},
            labels=self.labels.to(device),
            signals={array: signal.to(device) for array, signal in self.signals.items()},
            rows=self.rows,
        )

    def teacher(self) -> TeacherSignals:
        """Return the teacher's signals, decoded where the batch is."""
        decoded = {array: signal.decode() for array, signal in self.signals.items()}
        return TeacherSignals(
            logits=decoded.get(LOGITS),
            cls=dict(enumerate(decoded[CLS].unbind(1))) if CLS in decoded else {},
            attentions={
                array.layer: decoded[array] for array in decoded if array.signal == "attentions"
            },
        )


class JoinedSplit:
    """One split of a token table and its rows in a store."""

    def __init__(
        self,
        split: TokenSplit,
        store: TeacherStore,
        needs: Needs,
        *,
        pad_id: int,
        has_token_types: bool,
    ) -> None:
        """Find every row of the split in the store.

        Raises:
            StoreIncompleteError: saying how many are missing.
        """
        self.split = split
        self._store = store
        self._store_rows = store.find(split.keys)
        self._arrays = sorted(needs.teacher)
        self._pad_id = pad_id
        self._has_token_types = has_token_types

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the batch of these rows of the split, in this order, on the CPU."""
        store_rows = self._store_rows[rows]
        return Batch(
            inputs=pad_rows(
                [self.split.row(row) for row in rows],
                self._pad_id,
                has_token_types=self._has_token_types,
            ),
            labels=torch.from_numpy(self.split.labels[rows]),
            signals=self._store.read_many(self._arrays, store_rows),
            rows=rows,
        )

    def stream(self, order: list[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield the batches of `order`, reading one ahead in a thread."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = None
            for rows in order:
                coming, ready = reader.submit(self.read, rows), coming
                if ready is not None:
                    yield ready.result()
            if coming is not None:
                yield coming.result()


def epoch_order(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, *, group_by_length: bool
) -> list[NDArray[np.int64]]:
    """Return the rows of each batch of an epoch: every row once, the last batch may be short."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if not group_by_length:
        return np.split(order, range(batch_size, len(order), batch_size))
    pool = batch_size * _POOL_BATCHES
    batches = []
    for first in range(0, len(order), pool):
        rows = order[first : first + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += np.split(rows, range(batch_size, len(rows), batch_size))
    return [batches[index] for index in generator.permutation(len(batches))]

"""Signals of another row, for tests that must fail with them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.store.reader import TeacherStore
from pipeline.text.tokens import TokenSplit
from pipeline.train.batches import JoinedSplit


class ShiftedSplit(JoinedSplit):
    """A split whose rows have the signals of the one before among those of equal size."""

    def __init__(
        self,
        split: TokenSplit,
        store: TeacherStore,
        needs: Needs,
        inputs: Inputs,
    ) -> None:
        super().__init__(split, store, needs, inputs)
        rows: NDArray[np.int64] = self._store_rows
        self._store_rows = rows.copy()
        sizes = np.stack([split.lengths, split.n_targets])
        for size in np.unique(sizes, axis=1).T:
            members = (sizes == size[:, None]).all(0)
            self._store_rows[members] = np.roll(rows[members], 1)
